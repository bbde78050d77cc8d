//! The privileges of a process that dropped them: a child started by root does so, and reports what it can still do.
#![expect(clippy::print_stdout, reason = "the child reports to its parent")]

use std::error::Error;
use std::io::{IoSlice, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::{Command, Output, exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, fs, thread};

use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, SockaddrIn, bind, connect, listen, send, sendmsg, sendto,
    socket,
};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use picotap::daemon::privileges::{DropPrivileges, drop_all, narrow};
use picotap::source::live::{Live, LiveConfig, Turn};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use wasmtime::{Config, Engine, Instance, Module, PoolingAllocationConfig, Store};

use crate::tool;

/// The exit code that a shell reports for a process killed by SIGSYS.
const BY_SIGSYS: i32 = 128 + 31;
const NOBODY: u32 = 65534;

/// Runs `child` below in a process of its own. `user` as for `--user`.
fn in_child(scenario: &str, user: Option<&str>, directory: &Path) -> Output {
    let mut command = Command::new(env::current_exe().expect("this program has a file"));
    command.args(["--exact", "privileges::child", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("PICOTAP_CHILD", scenario).env("PICOTAP_DIRECTORY", directory).env("RUST_BACKTRACE", "0");
    command.env_remove("PICOTAP_USER");
    if let Some(user) = user {
        command.env("PICOTAP_USER", user);
    }
    command.output().expect("the child runs")
}

/// A directory that the child may write, and nothing else.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    chown(directory.path(), Some(NOBODY), Some(NOBODY)).expect("root gives a directory away");
    directory
}

#[test]
#[ignore = "what the other tests of this file start"]
fn child() {
    let (Ok(scenario), Ok(directory)) = (env::var("PICOTAP_CHILD"), env::var("PICOTAP_DIRECTORY")) else { return };
    match alone() {
        ForkResult::Child => {
            // A panic must not unwind into the harness, which believes to be in its own process.
            let played = catch_unwind(|| scene(&scenario, directory));
            exit(i32::from(played.is_err()));
        }
        ForkResult::Parent { child } => match waitpid(child, None).expect("the child ends") {
            WaitStatus::Exited(_, code) => exit(code),
            WaitStatus::Signaled(_, signal, _) => exit(128 + signal as i32),
            other => panic!("{other:?}"),
        },
    }
}

/// A copy of this process with this thread only: the harness has another.
#[expect(unsafe_code, reason = "the harness leaves no other way to a process with one thread")]
fn alone() -> ForkResult {
    // SAFETY: the only other thread is the harness's, which waits for this one and holds no lock meanwhile.
    unsafe { fork() }.expect("a process more")
}

fn scene(scenario: &str, directory: String) {
    if scenario == "helper" {
        return helper(Path::new(&directory));
    }
    let mut live = Live::open(&LiveConfig { filter: "tcp".into(), ..LiveConfig::new("lo") }).expect("root may capture");
    let before = Sockets::open();
    let keep = DropPrivileges {
        user: Some(env::var("PICOTAP_USER").unwrap_or(NOBODY.to_string())).filter(|user| user != "default"),
        readable: vec!["/etc/hostname".into()],
        writable: vec![directory.clone().into()],
        make: None,
        terminal: false,
    };
    if scenario == "outer" {
        refuse_seccomp();
    }
    let report = drop_all(&keep, &[live.as_fd().as_raw_fd()]).unwrap_or_else(|e| panic!("{e}"));
    println!("report: {report}");
    match scenario {
        "work" => work(&before.listener, &mut live, Path::new(&directory)).unwrap_or_else(|e| panic!("{e}")),
        "status" => println!("{}", fs::read_to_string("/proc/self/status").expect("one's own status")),
        "exec" => panic!("{}", Command::new("/bin/true").exec()),
        "outer" => {}
        "unshare" => panic!("{:?}", unshare(CloneFlags::CLONE_NEWUSER)),
        "ptrace" => panic!("{}", ptrace()),
        "refused" => refused(),
        "network" => network(&before, &live),
        other => panic!("{other}"),
    }
}

/// What picotap does after the drop must still work.
fn work(listener: &TcpListener, live: &mut Live, directory: &Path) -> Result<(), Box<dyn Error>> {
    // Capture, its counters, and the state of interfaces.
    println!("listening on {}", listener.local_addr()?.port());
    let mut frames = 0;
    while frames == 0 {
        // The parent connects, since this process cannot.
        fs::write(directory.join("port"), listener.local_addr()?.port().to_string())?;
        let (mut peer, _) = listener.accept()?;
        peer.write_all(b"hello")?;
        while let Turn::Frames(more) = live.turn(|_| {})? {
            frames += more;
        }
    }
    assert!(live.stats().received > 0);
    for _ in 0..12 {
        assert!(matches!(live.turn(|_| {})?, Turn::Frames(_) | Turn::Idle), "the interface is seen to be up");
    }
    // Threads, files, rotation with compression.
    let path = directory.join("log");
    thread::Builder::new().name("export".into()).spawn(move || -> std::io::Result<()> {
        fs::write(&path, b"line\n")?;
        fs::rename(&path, path.with_extension("1"))?;
        let mut packed =
            flate2::write::GzEncoder::new(fs::File::create(path.with_extension("1.gz"))?, flate2::Compression::fast());
        packed.write_all(&fs::read(path.with_extension("1"))?)?;
        packed.finish()?.sync_all()?;
        fs::remove_file(path.with_extension("1"))
    })?;
    // A guest compiled, run, trapped twice (by signal), under both allocators.
    for pooled in [false, true] {
        let mut config = Config::new();
        config.epoch_interruption(true);
        if pooled {
            config.allocation_strategy(PoolingAllocationConfig::default());
        }
        let engine = Engine::new(&config)?;
        let text = r#"(module (memory 1) (data (i32.const 0) "x")
            (func (export "run") (param i32) (result i32) (i32.load8_u (local.get 0)))
            (func (export "trap") unreachable))"#;
        let module = Module::new(&engine, wat::parse_str(text)?)?;
        for _ in 0..3 {
            let mut store = Store::new(&engine, ());
            store.set_epoch_deadline(10);
            let instance = Instance::new(&mut store, &module, &[])?;
            let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
            assert_eq!(run.call(&mut store, 0)?, i32::from(b'x'));
            assert!(run.call(&mut store, 65536).is_err());
            assert!(instance.get_typed_func::<(), ()>(&mut store, "trap")?.call(&mut store, ()).is_err());
        }
    }
    println!("worked");
    Ok(())
}

/// What an intruder would try first; each answers with an error, and the process lives.
/// What the helper process can do with its two capabilities, and what it cannot.
fn helper(directory: &Path) {
    let wanted = [caps::Capability::CAP_SYS_PTRACE, caps::Capability::CAP_DAC_READ_SEARCH];
    let narrowed = narrow(Some(&NOBODY.to_string()), &wanted, &[]).unwrap_or_else(|e| panic!("{e}"));
    println!("report: {narrowed}");
    // The harness waits, as root.
    let other = fs::read_dir(format!("/proc/{}/fd", nix::unistd::getppid()));
    let other = other.map(|files| files.flatten().all(|file| fs::read_link(file.path()).is_ok()));
    println!("files of root's process: {:?}", other.map_err(|e| e.kind()));
    let mut memory = fs::File::open("/proc/self/mem").expect("it may be opened");
    println!("memory at its place: {:?}", memory.seek(SeekFrom::Start(4096)).map_err(|e| e.raw_os_error()));
    println!("memory from its start: {:?}", memory.read(&mut [0; 8]).map_err(|e| e.raw_os_error()));
    println!("new file: {:?}", fs::write(directory.join("x"), b"x").map_err(|e| e.raw_os_error()));
    let write = fs::File::options().write(true).open("/dev/null");
    println!("writing: {:?}", write.map(drop).map_err(|e| e.raw_os_error()));
    println!("removing: {:?}", fs::remove_dir(directory).map_err(|e| e.raw_os_error()));
    println!("socket: {:?}", TcpListener::bind("127.0.0.1:0").map(drop).map_err(|e| e.raw_os_error()));
    println!("thread: {:?}", thread::Builder::new().spawn(|| ()).map(drop).map_err(|e| e.raw_os_error()));
    println!("process: {:?}", Command::new("/bin/true").spawn().map(drop).map_err(|e| e.raw_os_error()));
    println!("root: {:?}", nix::unistd::setuid(nix::unistd::Uid::from_raw(0)));
}

fn refused() {
    let stack = prlimit();
    println!("core limit: {stack:?}");
    println!("dumpable: {:?}", nix::sys::prctl::set_dumpable(true));
    println!("process: {:?}", Command::new("/bin/true").spawn().map(drop).map_err(|e| e.raw_os_error()));
    println!("root: {:?}", nix::unistd::setuid(nix::unistd::Uid::from_raw(0)));
    println!("writable code: {:?}", writable_code());
    println!("shadow: {:?}", fs::read("/etc/shadow").map(drop).map_err(|e| e.kind()));
    println!("root's file: {:?}", fs::write("/etc/picotap", b"").map_err(|e| e.kind()));
    // Every user may write there, but landlock allows only another directory. On a kernel without landlock, this works.
    let elsewhere = env::temp_dir().join(format!("picotap-{}", std::process::id()));
    println!("elsewhere: {:?}", fs::write(&elsewhere, b"").map_err(|e| e.kind()));
    fs::remove_file(&elsewhere).ok();
    println!("signal to init: {:?}", nix::sys::signal::kill(nix::unistd::Pid::from_raw(1), None));
}

/// Sockets that were open before the drop.
struct Sockets {
    listener: TcpListener,
    /// Waits to be accepted.
    caller: TcpStream,
    tcp: OwnedFd,
    udp: UdpSocket,
}

impl Sockets {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        Self {
            caller: TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens"),
            listener,
            tcp: socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).expect("a socket"),
            udp: UdpSocket::bind("127.0.0.1:0").expect("a socket"),
        }
    }
}

/// As a service manager does whose unit does not name the call.
fn refuse_seccomp() {
    let machine = TargetArch::try_from(env::consts::ARCH).expect("an architecture with filters");
    let rules = [(libc::SYS_seccomp, vec![])].into_iter().collect();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, machine).expect("a filter");
    seccompiler::apply_filter(&BpfProgram::try_from(filter).expect("a program")).expect("the kernel takes it");
}

/// Every way to the network that there is, with new sockets and with old ones.
fn network(old: &Sockets, live: &Live) {
    use AddressFamily::{Inet, Inet6, Netlink, Packet, Unix};
    let end = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9);
    let to = SockaddrIn::from(end);
    let io = |result: std::io::Result<usize>| result.map_err(|e| e.raw_os_error());
    for (name, family, kind) in [
        ("tcp", Inet, SockType::Stream),
        ("tcp6", Inet6, SockType::Stream),
        ("udp", Inet, SockType::Datagram),
        ("raw", Inet, SockType::Raw),
        ("packet", Packet, SockType::Datagram),
        ("netlink", Netlink, SockType::Raw),
        ("unix", Unix, SockType::Stream),
        ("unix datagram", Unix, SockType::Datagram),
    ] {
        println!("new {name}: {:?}", socket(family, kind, SockFlag::empty(), None).map(drop));
    }
    println!("connect: {:?}", connect(old.tcp.as_raw_fd(), &to));
    println!("fast open: {:?}", sendto(old.tcp.as_raw_fd(), b"x", &to, MsgFlags::from_bits_retain(libc::MSG_FASTOPEN)));
    let fast_open = send(old.tcp.as_raw_fd(), b"x", MsgFlags::from_bits_retain(libc::MSG_FASTOPEN));
    println!("fast open without address: {fast_open:?}");
    println!("udp to address: {:?}", io(old.udp.send_to(b"x", end)));
    let message = [IoSlice::new(b"x")];
    for (name, socket) in [("udp", old.udp.as_raw_fd()), ("tcp", old.tcp.as_raw_fd())] {
        println!("{name} message: {:?}", sendmsg(socket, &message, &[], MsgFlags::empty(), Some(&to)));
    }
    println!("bind: {:?}", bind(old.tcp.as_raw_fd(), &to));
    println!("listen: {:?}", listen(&old.tcp, Backlog::MAXCONN));
    // A frame on the wire, by whatever sends on the packet socket, or by a second descriptor of it.
    let packet = live.as_fd();
    println!("frame written: {:?}", nix::unistd::write(packet, &[0; 60]));
    println!("frame gathered: {:?}", nix::sys::uio::writev(packet, &[IoSlice::new(&[0; 60])]));
    println!("frame sent: {:?}", send(packet.as_raw_fd(), &[0; 60], MsgFlags::empty()));
    println!("second packet socket: {:?}", packet.try_clone_to_owned().map(drop).map_err(|e| e.raw_os_error()));
    println!("second by dup: {:?}", nix::unistd::dup(packet).map(drop));
    let file = fs::File::open("/proc/self/status").expect("one's own status");
    println!("file sent: {:?}", nix::sys::sendfile::sendfile(packet, &file, None, 60));
    // What the endpoint does.
    let mut answered = [0; 3];
    let accepted = old.listener.accept().and_then(|(mut peer, _)| peer.write_all(b"yes"));
    println!("accepting: {:?}", accepted.and_then(|()| (&old.caller).read_exact(&mut answered)).map_err(|e| e.kind()));
    let (mut one, mut other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    one.write_all(b"yes").and_then(|()| other.read_exact(&mut answered)).expect("a pair works");
    println!("pair: {}", String::from_utf8_lossy(&answered));
}

#[expect(unsafe_code, reason = "no safe binding of this call, which fails")]
fn ptrace() -> std::io::Error {
    // SAFETY: PTRACE_TRACEME takes no pointer.
    unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
    std::io::Error::last_os_error()
}

/// The limit on core dumps, and an attempt to set it to what it is.
fn prlimit() -> (nix::Result<(u64, u64)>, nix::Result<()>) {
    let core = Resource::RLIMIT_CORE;
    (getrlimit(core), setrlimit(core, 0, 0))
}

#[expect(unsafe_code, reason = "no safe binding maps memory")]
fn writable_code() -> Option<i32> {
    let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    // SAFETY: a new mapping, of which nothing is used.
    let mapped =
        unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
    (mapped == libc::MAP_FAILED).then(|| std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} in {status}")).trim()
}

#[test]
fn no_capability_is_left_and_no_way_to_one() {
    if !tool::has(&["root"]) {
        return;
    }
    let output = in_child("status", None, directory().path());
    let status = String::from_utf8_lossy(&output.stdout);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(&status, set), "0000000000000000", "{set}");
    }
    assert_eq!(field(&status, "NoNewPrivs"), "1");
    assert_eq!((field(&status, "Seccomp"), field(&status, "Seccomp_filters")), ("2", "4"));
    assert_eq!(field(&status, "Uid"), "65534\t65534\t65534\t65534");
    assert_eq!(field(&status, "Gid"), "65534\t65534\t65534\t65534");
    assert_eq!(field(&status, "Groups"), "");
    assert!(status.contains("no capabilities, no new privileges, no core dumps, "), "{status}");
}

#[test]
fn root_becomes_an_ordinary_user_unasked() {
    if !tool::has(&["root"]) {
        return;
    }
    let output = in_child("status", Some("default"), directory().path());
    let status = String::from_utf8_lossy(&output.stdout);
    assert_ne!(field(&status, "Uid").split('\t').next(), Some("0"), "{status}");
    assert!(status.contains("report: running as picotap") || status.contains("report: running as nobody"), "{status}");
}

#[test]
fn what_picotap_does_still_works() {
    if !tool::has(&["root"]) {
        return;
    }
    let directory = directory();
    let port = directory.path().join("port");
    // The child waits for a connection.
    let done = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&done);
    let caller = thread::spawn(move || {
        while !ended.load(Ordering::Relaxed) {
            if let Some(port) = fs::read_to_string(&port).ok().and_then(|text| text.parse::<u16>().ok())
                && let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port))
            {
                stream.read_to_string(&mut String::new()).ok();
            }
            thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    let output = in_child("work", None, directory.path());
    done.store(true, Ordering::Relaxed);
    caller.join().expect("the caller ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("worked"), "{output:?}");
    let packed = fs::metadata(directory.path().join("log.1.gz")).expect("rotated and packed");
    assert_eq!((packed.uid(), packed.gid()), (NOBODY, NOBODY), "made as the user that was become");
}

#[test]
fn what_an_intruder_would_try_is_refused() {
    if !tool::has(&["root"]) {
        return;
    }
    let output = in_child("refused", None, directory().path());
    let said = String::from_utf8_lossy(&output.stdout);
    for line in [
        "core limit: (Ok((0, 0)), Err(EPERM))",
        "dumpable: Err(EPERM)",
        "process: Err(Some(1))",
        "root: Err(EPERM)",
        "writable code: Some(1)",
        "shadow: Err(PermissionDenied)",
        "root's file: Err(PermissionDenied)",
        "signal to init: Err(EPERM)",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let elsewhere =
        if said.contains("files restricted to") { "elsewhere: Err(PermissionDenied)" } else { "elsewhere: Ok" };
    assert!(said.contains(elsewhere), "{said}");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_helper_reads_what_others_have_open_and_does_nothing_else() {
    if !tool::has(&["root"]) {
        return;
    }
    let directory = directory();
    let output = in_child("helper", None, directory.path());
    let said = String::from_utf8_lossy(&output.stdout);
    for line in [
        "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH,",
        "files of root's process: Ok(true)",
        "memory at its place: Err(Some(1))",
        // There is nothing (EIO).
        "memory from its start: Err(Some(5))",
        "new file: Err(Some(1))",
        "writing: Err(Some(1))",
        "removing: Err(Some(1))",
        "socket: Err(Some(1))",
        "thread: Err(Some(1))",
        "process: Err(Some(1))",
        "root: Err(EPERM)",
    ] {
        assert!(said.contains(line), "{line}: {said} {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(directory.path().is_dir());
}

#[test]
fn what_cannot_be_done_is_reported() {
    if !tool::has(&["root"]) {
        return;
    }
    let output = in_child("outer", None, directory().path());
    let said = String::from_utf8_lossy(&output.stdout);
    let text = "system calls not filtered (the filter that it was started under refuses seccomp), files ";
    assert!(said.contains(text), "{said}");
}

#[test]
fn no_way_leads_to_the_network() {
    if !tool::has(&["root"]) {
        return;
    }
    let directory = directory();
    let output = in_child("network", None, directory.path());
    let said = String::from_utf8_lossy(&output.stdout);
    let (new, old): (Vec<&str>, Vec<&str>) =
        said.lines().skip_while(|line| !line.starts_with("new tcp")).partition(|line| line.starts_with("new "));
    assert!(new.len() == 8 && new.iter().all(|line| line.ends_with(": Err(EPERM)")), "{said}");
    let (works, refused): (Vec<&str>, Vec<&str>) =
        old.iter().partition(|line| line.starts_with("accepting: ") || line.starts_with("pair: "));
    assert_eq!(works, ["accepting: Ok(())", "pair: yes"], "{said}");
    let is_refused = |line: &&str| line.ends_with(": Err(EPERM)") || line.ends_with(": Err(Some(1))");
    assert!(refused.iter().filter(|line| line.contains(": ")).all(is_refused), "{said}");
    assert!(refused.iter().filter(|line| is_refused(line)).count() == 14, "{said}");
}

#[test]
fn what_only_an_intruder_would_do_ends_the_process() {
    if !tool::has(&["root"]) {
        return;
    }
    for scenario in ["exec", "unshare", "ptrace"] {
        let output = in_child(scenario, None, directory().path());
        assert_eq!(output.status.code(), Some(BY_SIGSYS), "{scenario}: {output:?}");
    }
}

#[test]
fn root_is_no_user_to_drop_to() {
    if !tool::has(&["root"]) {
        return;
    }
    let output = in_child("status", Some("root"), directory().path());
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("user root: that is root, which gives nothing up"), "{said}");
}
