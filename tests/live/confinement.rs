//! What holds for a run however it was started: by root, with a file's capability, with an ambient one; and what it does with
//! the files that it is given.

use crate::support;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::capture::{Compression, Format, Order, file};
use support::message::Message;
use support::network::Network;
use support::program::{Outcome, finish, picotap, run, scratch, wait};
use support::scene::Scene;
use support::tool;
use support::workload::Workload;

/// The parser with a fault for every request with a certain header.
const PLANTED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/planted.wasm"));
const PROGRAM: &str = env!("CARGO_BIN_EXE_picotap");
/// nobody, without any group, keeping what is named behind it.
const AS_NOBODY: &[&str] = &["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

/// A live run that has reported that it is ready. Ends with the test, in any case.
struct Live(Option<Child>);

impl Live {
    /// Starts `arguments` in the server's namespace, with `directory` for the socket on which it reports that it is ready.
    fn start(network: &Network, directory: &Path, arguments: &[&str], stdout: Stdio) -> Self {
        let socket = directory.join("ready");
        fs::remove_file(&socket).ok();
        let manager = UnixDatagram::bind(&socket).unwrap();
        fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut command = Network::inside(&network.server, arguments[0]);
        command.args(&arguments[1..]).env("NOTIFY_SOCKET", &socket).env_remove("RUST_BACKTRACE");
        let mut live = Self(Some(command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap()));
        if manager.recv(&mut [0; 64]).is_err() {
            panic!("it is not ready: {}", live.stop().stderr);
        }
        live
    }

    fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    fn stop(&mut self) -> Outcome {
        let child = self.0.take().unwrap();
        kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
        finish(child)
    }

    /// A file in its directory in /proc.
    fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.id()).into()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// A directory that every user may enter and write to.
fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
    directory
}

/// The kernel's state of each thread of a run, and whether a crash would leave a core dump.
fn assert_confined(live: &Live, how: &str) {
    let mut seen = 0;
    for task in fs::read_dir(live.proc("task")).unwrap() {
        let status = match fs::read_to_string(task.unwrap().path().join("status")) {
            Ok(status) => status,
            // A thread of the start that has just ended: ENOENT before its file is opened, ESRCH after.
            Err(gone) if matches!(gone.raw_os_error(), Some(2 | 3)) => continue,
            Err(error) => panic!("{how}: {error}"),
        };
        seen += 1;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_else(|| panic!("{name} in {status}")).trim().to_owned()
        };
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(field(set), "0000000000000000", "{how}: {set}");
        }
        assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".to_owned(), "2".to_owned()), "{how}");
        assert_eq!(field("Uid"), "65534\t65534\t65534\t65534", "{how}");
    }
    assert!(seen > 5, "{how}: {seen} threads");
    let limits = fs::read_to_string(live.proc("limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{how}");
    // Of a process that cannot be dumped, root owns the memory in /proc.
    assert_eq!(fs::metadata(live.proc("mem")).unwrap().uid(), 0, "{how}: it can be dumped");
}

#[test]
fn every_start_ends_without_privileges() {
    if !tool::has(&["root", "setpriv", "setcap"]) {
        return;
    }
    let Some(network) = Network::new("every_start_ends_without_privileges") else { return };
    let directory = open_directory();
    // Copies, within reach of everybody.
    let [log, plain, able] = ["log", "plain", "able"].map(|name| directory.path().join(name));
    for copy in [&plain, &able] {
        fs::copy(PROGRAM, copy).unwrap();
    }
    assert!(Command::new("setcap").arg("cap_net_raw+ep").arg(&able).status().unwrap().success());
    let (plain, able) = (plain.to_str().unwrap(), able.to_str().unwrap());
    let ambient = ["--inh-caps", "+net_raw", "--ambient-caps", "+net_raw", plain];
    let kept = directory.path().join("kept");
    let capture =
        ["-i", "wire1", "--no-metrics", "-o", log.to_str().unwrap(), "--quarantine-dir", kept.to_str().unwrap()];
    for (how, start, said) in [
        (
            "root",
            vec![PROGRAM, "--user", "65534:65534"],
            "running as nobody (uid 65534, gid 65534), no capabilities, no new",
        ),
        (
            "a file's capability",
            [AS_NOBODY, &[able]].concat(),
            "running as uid 65534 (uid 65534, gid 65534), no capabilities",
        ),
        (
            "an ambient capability",
            [AS_NOBODY, &ambient].concat(),
            "running as uid 65534 (uid 65534, gid 65534), no capabi",
        ),
    ] {
        let arguments = [&start[..], &capture].concat();
        let mut live = Live::start(&network, directory.path(), &arguments, Stdio::null());
        assert_confined(&live, how);
        let outcome = live.stop();
        assert_eq!(outcome.code, Some(0), "{how}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(said), "{how}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(" system calls allowed, files "), "{how}: {}", outcome.stderr);
        // Made by the user that it runs as, though only the log's directory may be written now.
        let made = fs::metadata(&kept).unwrap();
        assert_eq!((made.uid(), made.permissions().mode() & 0o7777), (65534, 0o700), "{how}");
        fs::remove_dir(&kept).unwrap();
        fs::remove_file(&log).unwrap();
    }
}

#[test]
fn what_it_was_started_with_is_closed_unless_it_is_named() {
    if !tool::has(&["root"]) {
        return;
    }
    let Some(network) = Network::new("what_it_was_started_with_is_closed_unless_it_is_named") else { return };
    let directory = open_directory();
    let (secret, log) = (directory.path().join("secret"), directory.path().join("log"));
    fs::write(&secret, "key").unwrap();
    let script = format!(
        "exec 7<{} 8>>{} 9>&2; exec {PROGRAM} -i wire1 --no-metrics --user 65534:65534 -o /dev/fd/8",
        secret.display(),
        log.display()
    );
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, Permissions::from_mode(0o666)).unwrap();
    let mut live = Live::start(&network, directory.path(), &["sh", "-c", &script], Stdio::null());
    let open: Vec<PathBuf> =
        fs::read_dir(live.proc("fd")).unwrap().filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect();
    assert!(!open.contains(&secret), "{open:?}");
    assert!(open.contains(&log), "{open:?}");
    let outcome = live.stop();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(" open descriptors closed that it was started with"), "{}", outcome.stderr);
}

#[test]
fn a_log_that_is_a_link_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (target, link) = (directory.path().join("target"), directory.path().join("link"));
    fs::write(&target, "theirs").unwrap();
    symlink(&target, &link).unwrap();
    for option in ["-o", "--metrics-file"] {
        let outcome = run(picotap().args(["-r", "fixtures/http.pcap", option]).arg(&link));
        assert_eq!(outcome.code, Some(1), "{option}: {}", outcome.stderr);
        assert!(
            outcome.stderr.contains("it is a symbolic link, which is not followed: name the file that it points to"),
            "{option}: {}",
            outcome.stderr
        );
    }
    // A link at the name where a rotation creates its new file.
    let log = directory.path().join("log");
    symlink(&target, directory.path().join("log.new")).unwrap();
    fs::write(&log, vec![b'\n'; 1 << 20]).unwrap();
    let outcome = run(picotap().args(["-r", "fixtures/http.pcap", "--rotate-size", "1", "-o"]).arg(&log));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(fs::symlink_metadata(&log).unwrap().is_file() && fs::metadata(&log).unwrap().len() < 1 << 20);
    assert_eq!(fs::read_to_string(&target).unwrap(), "theirs");
}

#[test]
fn modes_do_not_hang_on_the_umask() {
    let mut scene = Scene::default();
    let mut poisoned = scene.connection();
    poisoned.open();
    poisoned.exchange(&Message::get("/poison").header("X-Poison", "trap"), &Message::ok(b"x"));
    scene.capture(&mut poisoned);
    let (capture, guest) = (scratch("umask.pcap"), scratch("umask.wasm"));
    let frames = scene.frames(&scene.packets);
    fs::write(&capture, file(&frames, Format::Pcap(Order::Little, false), Compression::None)).unwrap();
    fs::write(&guest, PLANTED).unwrap();
    for umask in ["000", "022", "077"] {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let script = format!(
            "umask {umask}; exec {PROGRAM} -r {} --guest {} -o {} --metrics-file {} --quarantine-dir {}",
            capture.display(),
            guest.display(),
            path("log"),
            path("metrics"),
            path("quarantine")
        );
        let outcome = run(Command::new("sh").args(["-c", &script]));
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let modes = ["log", "metrics", "quarantine"].map(|name| mode(&directory.path().join(name)));
        assert_eq!(modes, [0o640, 0o644, 0o700], "umask {umask}");
        let kept: Vec<_> = fs::read_dir(path("quarantine")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(
            kept.iter().map(|path| mode(path)).collect::<Vec<_>>(),
            [0o600],
            "umask {umask}: {}",
            outcome.stderr
        );
    }
}

/// Ends a run whose output nobody reads: within three seconds, and with every line either in the pipe or counted as lost.
fn assert_ends_stalled(child: &mut Child, transactions: impl Fn(&str) -> usize) {
    let start = Instant::now();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let code = wait(child);
    let took = start.elapsed();
    let (mut lines, mut said) = (Vec::new(), String::new());
    child.stdout.take().unwrap().read_to_end(&mut lines).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(took < Duration::from_secs(3), "{took:?}: {said}");
    assert_eq!(code, Some(1), "{said}");
    let prefix = "picotap: standard output: nothing was taken for 2 s while picotap was to end: ";
    let lost = said.lines().find_map(|line| line.strip_prefix(prefix)?.strip_suffix(" lines are lost"));
    let lost: usize = lost.unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    let read = lines.iter().filter(|byte| **byte == b'\n').count();
    assert!(lost > 0 && read > 0, "{lost} lost, {read} read");
    // Of the piece that was under way the pipe has taken some lines, of 300 bytes at the least.
    let all = transactions(&said);
    assert!((all..all + (16 << 10) / 300).contains(&(lost + read)), "{lost} lost, {read} read, {all} in all");
}

/// What the ledger calls by this name.
fn account(said: &str, name: &str) -> usize {
    let line = said.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    line.unwrap_or_else(|| panic!("{name} in {said}"))
}

#[test]
fn a_pipe_that_nobody_reads_does_not_hold_a_reader_of_files_up() {
    let capture = scratch("stalled.pcap");
    let load = Workload { connections: 200, each: 60, body: 10, seed: 7 };
    let mut written = std::io::BufWriter::new(fs::File::create(&capture).unwrap());
    load.write(&mut written).unwrap();
    written.flush().unwrap();
    let mut command = picotap();
    command.args(["--format", "json", "--stats", "-r"]).arg(&capture);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert!(child.try_wait().unwrap().is_none(), "it waits for its reader");
    assert_ends_stalled(&mut child, |said| account(said, "  transactions "));
}

#[test]
fn a_pipe_that_nobody_reads_does_not_hold_a_live_run_up() {
    let Some(network) = Network::new("a_pipe_that_nobody_reads_does_not_hold_a_live_run_up") else { return };
    let network = network.serve();
    let directory = open_directory();
    let arguments = [PROGRAM, "-i", "wire1", "--no-metrics", "--format", "json", "--stats"];
    let mut live = Live::start(&network, directory.path(), &arguments, Stdio::piped());
    network.ask("stalled", 400);
    std::thread::sleep(Duration::from_millis(700));
    assert_ends_stalled(live.child(), |said| account(said, "  transactions "));
}

#[test]
fn a_pipe_without_a_reader_is_waited_for_until_a_stop() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut command = picotap();
    command.args(["-r", "fixtures/http.pcap", "-o"]).arg(&pipe);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let start = Instant::now();
    let outcome = finish(child);
    assert!(start.elapsed() < Duration::from_secs(2), "{}", outcome.stderr);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("nobody reads this pipe; waiting for a reader"), "{}", outcome.stderr);
    // With one, all is as in a file.
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe).unwrap()
    });
    let outcome = run(picotap().args(["-r", "fixtures/http.pcap", "--format", "json", "-o"]).arg(&pipe));
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(reader.join().unwrap().lines().count() > 0);
}
