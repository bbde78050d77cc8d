//! `--processes`: the names of the processes at both ends, live, in network namespaces that the test makes. The processes are known from who
//! started them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, command, directory, line_about, lines};
use crate::support::network::{Network, until};
use crate::support::tool::skip;

/// A client that stays: it connects, asks each time that it is told to, and says when it has the answer.
const CLIENT: &str = r#"
import ctypes, socket, sys
if len(sys.argv) > 3:
    ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[3]), 0, 0, 0)
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
peer = socket.socket(family)
peer.connect((sys.argv[1], int(sys.argv[2])))
print(peer.getsockname()[1], flush=True)
for line in sys.stdin:
    peer.sendall(b"GET %s HTTP/1.1\r\nHost: h\r\n\r\n" % line.strip().encode())
    got = b""
    while b"\r\n\r\n" not in got:
        got += peer.recv(65536)
    print("answered", flush=True)
"#;

/// A server of one process that answers any request, and says whether it has a connection.
const SERVER: &str = r#"
import socket, sys
listener = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("listens", flush=True)
while True:
    peer, _ = listener.accept()
    while True:
        got = peer.recv(65536)
        if not got:
            break
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
"#;

/// A program of Python in a namespace, spoken to by its standard input and output.
struct Script {
    child: Child,
    said: std::io::BufReader<std::process::ChildStdout>,
}

impl Script {
    fn start(network: &Network, namespace: &str, name: &str, text: &str, arguments: &[&str]) -> Self {
        let file = network.file(name, text);
        // By a path of the system: what a version manager puts in front would be another process.
        let mut command = Network::inside(namespace, python());
        command.arg(file).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = std::io::BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// `ip netns exec` has become the program itself.
    fn id(&self) -> u32 {
        self.child.id()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut self.said, &mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn ask(&mut self, target: &str) {
        use std::io::Write;
        writeln!(self.child.stdin.as_mut().unwrap(), "{target}").unwrap();
        assert_eq!(self.line(), "answered", "{target}");
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn python() -> PathBuf {
    ["/usr/bin/python3", "/usr/local/bin/python3"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
        .unwrap_or("python3".into())
}

/// Asks until a line has what is wanted: at first a look may have been before the connection.
fn asked_until(client: &mut Script, log: &Path, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    for number in 0..100 {
        let target = format!("/{name}&{number}");
        client.ask(&target);
        let line = line_about(log, &target);
        if wanted(&line) {
            return line;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{name}: not in a hundred lines");
}

#[test]
fn both_ends_are_named_in_whatever_namespace_they_are() {
    let Some(network) = Network::new("both_ends_are_named").map(Network::serve) else { return };
    let directory = directory();
    let log = directory.path().join("log");
    let daemon = Daemon::start(&network, &log, &["--processes"], &[]);
    daemon.await_text("helper process running as", 1);
    // nginx's master and its worker both hold the listening socket: known before any connection is.
    until("who listens is known", || daemon.sum("picotap_process_listeners") > 0.0);
    assert!(network.curl(&["http://10.99.0.2/short?first"]));
    let line = line_about(&log, "/short?first");
    assert_eq!(line["server_process"]["command"], "nginx", "{line}");
    for (address, name) in [("10.99.0.2", "short?four"), ("fd99::2", "short?six")] {
        let mut client = Script::start(&network, &network.client, "client.py", CLIENT, &[address, "80"]);
        client.line();
        let line = asked_until(&mut client, &log, name, |line| {
            line["client_process"].is_object() && line["server_process"]["pid"].is_u64()
        });
        assert_eq!(line["client_process"], json!({"command": command(client.id()), "pid": client.id()}), "{line}");
        // Only the worker has accepted it.
        let worker = line["server_process"]["pid"].as_u64().expect("one process holds the connection");
        assert_eq!(line["server_process"]["command"], "nginx");
        let parent = fs::read_to_string(format!("/proc/{worker}/stat")).unwrap();
        let parent = parent.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().to_owned();
        assert_eq!(command(parent.parse().unwrap()), "nginx", "the worker is the master's child");
    }
    assert!(daemon.sum("picotap_process_lookups_total{outcome=\"found\"}") >= 4.0);
    daemon.stop();
}

#[test]
fn the_helper_has_two_capabilities_and_no_way_to_write() {
    let Some(network) = Network::new("the_helper_has_two_capabilities").map(Network::serve) else { return };
    let directory = directory();
    let daemon = Daemon::start(&network, &directory.path().join("log"), &["--processes"], &[]);
    let helper = daemon.helper();
    let status = |id: u32| fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}"));
        line.split_once(':').unwrap().1.trim().to_owned()
    };
    let (own, other) = (status(daemon.id()), status(helper));
    // CAP_DAC_READ_SEARCH is bit 2, CAP_SYS_PTRACE bit 19.
    let wanted = format!("{:016x}", 1_u64 << 2 | 1 << 19);
    for (name, in_own, in_other) in [
        ("CapEff", "0000000000000000", wanted.as_str()),
        ("CapPrm", "0000000000000000", &wanted),
        ("CapBnd", "0000000000000000", "0000000000000000"),
        ("CapAmb", "0000000000000000", "0000000000000000"),
        ("NoNewPrivs", "1", "1"),
        ("Seccomp", "2", "2"),
        ("Threads", &field(&own, "Threads"), "1"),
    ] {
        assert_eq!((field(&own, name).as_str(), field(&other, name).as_str()), (in_own, in_other), "{name}");
    }
    assert!(field(&other, "Uid").split_whitespace().all(|id| id == "65534"));
    // Its standard input and output are nobody's; its errors go where picotap's go; one socket; and what it looks at just now.
    let files =
        fs::read_dir(format!("/proc/{helper}/fd")).unwrap().map(|entry| fs::read_link(entry.unwrap().path()).unwrap());
    let mut files: Vec<String> = files.map(|path| path.to_string_lossy().into_owned()).collect();
    files.retain(|path| path != "/dev/null" && !path.starts_with("pipe:") && !path.starts_with("/proc"));
    assert!(files.len() == 1 && files[0].starts_with("socket:"), "{files:?}");
    daemon.stop();
    until("the helper is gone", || !Path::new(&format!("/proc/{helper}")).exists());
}

#[test]
fn if_the_helper_dies_the_run_says_so_once_and_goes_on() {
    let Some(network) = Network::new("if_the_helper_dies").map(Network::serve) else { return };
    let directory = directory();
    let log = directory.path().join("log");
    let daemon = Daemon::start(&network, &log, &["--processes"], &[]);
    until("who listens is known", || daemon.sum("picotap_process_listeners") > 0.0);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon.helper() as i32), Signal::SIGKILL).unwrap();
    // Where the kernel tells who connects it still does.
    let connects = !daemon.said().contains("the kernel does not tell who connects");
    let clients = "of processes only those are named that connect, by command and pid";
    let without = if connects { clients } else { "processes are named no more" };
    daemon.await_text(&format!("was ended by SIGKILL: {without}; everything else goes on"), 1);
    assert!(network.curl(&["http://10.99.0.2/short?after"]));
    let line = line_about(&log, "/short?after");
    assert!(line.get("server_process").is_none(), "nobody says any more who listens: {line}");
    assert_eq!(line.get("client_process").is_some(), connects, "{line}");
    assert_eq!(daemon.metrics()["picotap_helper_ended_total"], 1.0);
    assert_eq!(daemon.stop().matches("the helper process").count(), 1);
}

#[test]
fn if_picotap_is_killed_so_is_the_helper() {
    let Some(network) = Network::new("if_picotap_is_killed").map(Network::serve) else { return };
    let directory = directory();
    let daemon = Daemon::start(&network, &directory.path().join("log"), &["--processes"], &[]);
    let helper = daemon.helper();
    daemon.kill();
    until("the helper is gone", || !Path::new(&format!("/proc/{helper}")).exists());
}

#[test]
fn a_process_may_call_itself_anything() {
    let Some(network) = Network::new("a_process_may_call_itself_anything").map(Network::serve) else { return };
    let directory = directory();
    let log = directory.path().join("log");
    let daemon = Daemon::start(&network, &log, &["--processes"], &[]);
    // A newline, a quote, a backslash, what is no UTF-8, an escape of terminals, brackets as `stat` has them.
    let name = b"a\n\"\\\xff\x1b[2J) R 1";
    let hexadecimal: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut client = Script::start(&network, &network.client, "client.py", CLIENT, &["10.99.0.2", "80", &hexadecimal]);
    client.line();
    let line = asked_until(&mut client, &log, "short?", |line| line["client_process"].is_object());
    assert_eq!(line["client_process"]["pid"], client.id());
    assert_eq!(line["client_process"]["command"], "a\n\"\\\\xff\u{1b}[2J) R 1");
    assert!(lines(&log).iter().all(|line| !line.contains('\u{1b}')));
    daemon.stop();
}

#[test]
fn a_server_that_another_replaces_is_not_named_for_it() {
    let Some(network) = Network::new("a_server_that_another_replaces").map(Network::serve) else { return };
    let directory = directory();
    let log = directory.path().join("log");
    let daemon = Daemon::start(&network, &log, &["--processes"], &[]);
    for round in 0..2 {
        let mut server = Script::start(&network, &network.server, "server.py", SERVER, &["8080"]);
        assert_eq!(server.line(), "listens");
        let mut client = Script::start(&network, &network.client, "client.py", CLIENT, &["10.99.0.2", "8080"]);
        client.line();
        let of_this = |line: &Value| line["server_process"]["pid"] == server.id();
        let line = asked_until(&mut client, &log, &format!("round?{round}"), of_this);
        assert_eq!(line["server_process"]["command"], command(server.id()), "{line}");
        drop(client);
    }
    daemon.stop();
}

/// A cgroup of the test's own, in whatever hierarchy, which it takes away again.
struct Cgroup(Vec<PathBuf>);

impl Cgroup {
    /// Nothing where none may be made.
    fn make(parts: &[&str]) -> Option<Self> {
        let roots = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup"];
        let root = roots.into_iter().map(Path::new).find(|root| root.join("cgroup.procs").is_file())?;
        let mut made = Self(Vec::new());
        let mut path = root.to_path_buf();
        for part in parts {
            path.push(part);
            fs::create_dir(&path).ok()?;
            made.0.push(path.clone());
        }
        Some(made)
    }

    fn enter(&self, id: u32) -> bool {
        fs::write(self.0.last().unwrap().join("cgroup.procs"), id.to_string()).is_ok()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            drop(fs::remove_dir(path));
        }
    }
}

/// A container of a pod, as far as the names of cgroups say.
struct Container {
    cgroup: Cgroup,
    id: String,
    pod: String,
}

impl Container {
    /// Nothing where no cgroups may be made. `number`: each test has its own.
    fn make(number: u64) -> Option<Self> {
        let own = u64::from(std::process::id());
        let pod = format!("{number:08x}-6a4d-4a51-8d2e-{own:012x}");
        let id = format!("{:064x}", number << 32 | own);
        let slice = format!("kubepods-burstable-pod{}.slice", pod.replace('-', "_"));
        let cgroup = Cgroup::make(&[&slice, &format!("cri-containerd-{id}.scope")])?;
        Some(Self { cgroup, id, pod })
    }

    fn enter(&self, process: u32) -> bool {
        self.cgroup.enter(process)
    }

    /// What is to be told of a process in it.
    fn process(&self, id: u32) -> Value {
        json!({"command": command(id), "pid": id, "container": self.id, "pod": self.pod})
    }
}

#[test]
fn a_process_in_a_container_s_cgroup_has_container_and_pod() {
    const TEST: &str = "a_process_in_a_container";
    let Some(network) = Network::new(TEST).map(Network::serve) else { return };
    let directory = directory();
    let log = directory.path().join("log");
    let Some(container) = Container::make(1) else { return skip(TEST, "no right to make cgroups") };
    let mut server = Script::start(&network, &network.server, "server.py", SERVER, &["8080"]);
    assert_eq!(server.line(), "listens");
    if !container.enter(server.id()) {
        return skip(TEST, "no right to move processes between cgroups");
    }
    let filter = format!("server_process.container={}", container.id);
    let daemon = Daemon::start(&network, &log, &["--processes", "--filter", &filter], &[]);
    let mut client = Script::start(&network, &network.client, "client.py", CLIENT, &["10.99.0.2", "8080"]);
    client.line();
    let mut line = None;
    until("the container is known", || {
        client.ask("/contained");
        std::thread::sleep(Duration::from_millis(50));
        line = lines(&log).last().map(|line| serde_json::from_str::<Value>(line).unwrap());
        line.is_some()
    });
    assert_eq!(line.unwrap()["server_process"], container.process(server.id()));
    daemon.stop();
    drop((client, server));
}

/// Asks each of its targets on a connection of its own, which is over at once.
const SHORT: &str = "
import http.client, sys
print('begins', flush=True)
for target in sys.stdin:
    connection = http.client.HTTPConnection('10.99.0.2', 80)
    connection.request('GET', target.strip())
    connection.getresponse().read()
    connection.close()
    print('answered', flush=True)
";

#[test]
fn a_client_whose_connections_are_over_at_once_gets_container_and_pod() {
    const TEST: &str = "a_client_in_a_container";
    let Some(network) = Network::new(TEST).map(Network::serve) else { return };
    let directory = directory();
    let log = directory.path().join("log");
    let Some(container) = Container::make(2) else { return skip(TEST, "no right to make cgroups") };
    let daemon = Daemon::start(&network, &log, &["--processes"], &[]);
    if daemon.said().contains("the kernel does not tell who connects") {
        return skip(TEST, "the kernel takes no BPF");
    }
    let mut client = Script::start(&network, &network.client, "short.py", SHORT, &[]);
    assert_eq!(client.line(), "begins");
    if !container.enter(client.id()) {
        return skip(TEST, "no right to move processes between cgroups");
    }
    let whole = container.process(client.id());
    let mut known = false;
    let mut number = 0;
    until("the container is known", || {
        number += 1;
        client.ask(&format!("/short?{number}"));
        let line = line_about(&log, &format!("/short?{number}"));
        // The kernel has told the number at once; container and pod are there when the helper has looked.
        assert!(line["client_process"]["pid"] == client.id(), "{line}");
        known = line["client_process"] == whole;
        known
    });
    assert!(known);
    daemon.stop();
    drop(client);
}

#[test]
fn a_client_that_thinks_first_is_known_with_its_first_request() {
    let Some(network) = Network::new("a_client_that_thinks_first").map(Network::serve) else { return };
    let directory = directory();
    let log = directory.path().join("log");
    let daemon = Daemon::start(&network, &log, &["--processes"], &[]);
    let mut client = Script::start(&network, &network.client, "client.py", CLIENT, &["10.99.0.2", "80"]);
    client.line();
    until("it was looked for", || daemon.sum("picotap_process_lookups_total{outcome=\"found\"}") >= 2.0);
    client.ask("/short?thought");
    let line = line_about(&log, "/short?thought");
    assert_eq!((&line["seq"], &line["client_process"]["pid"]), (&1.into(), &client.id().into()), "{line}");
    daemon.stop();
}

#[test]
fn the_clients_of_the_shortest_connections_are_known_where_the_kernel_tells_them() {
    const TEST: &str = "the_clients_of_the_shortest_connections";
    let Some(network) = Network::new(TEST).map(Network::serve) else { return };
    let directory = directory();
    let log = directory.path().join("log");
    let daemon = Daemon::start(&network, &log, &["--processes"], &[]);
    if daemon.said().contains("the kernel does not tell who connects") {
        return skip(TEST, "the kernel takes no BPF");
    }
    let mut clients = Vec::new();
    for (number, address) in (0..30).zip(["10.99.0.2", "[fd99::2]"].into_iter().cycle()) {
        let mut curl = Network::inside(&network.client, "curl");
        curl.args(["-sS", "-g", "-o", "/dev/null", &format!("http://{address}/short?curl{number}")]);
        let mut child = curl.spawn().unwrap();
        clients.push(child.id());
        assert!(child.wait().unwrap().success());
    }
    for (number, id) in clients.into_iter().enumerate() {
        let line = line_about(&log, &format!("/short?curl{number}"));
        let client = &line["client_process"];
        assert_eq!((&client["command"], &client["pid"]), (&"curl".into(), &id.into()), "{line}");
    }
    assert!(daemon.metrics()["picotap_process_connects_total{result=\"seen\"}"] >= 30.0);
    daemon.stop();
}

#[test]
fn without_the_rights_there_is_one_line_and_the_run_goes_on() {
    let Some(network) = Network::new("without_the_rights").map(Network::serve) else { return };
    let Some(setpriv) = crate::support::tool::need("without_the_rights", "setpriv") else { return };
    let directory = directory();
    let log = directory.path().join("log");
    let mut command = Network::inside(&network.server, setpriv);
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--inh-caps=-all,+net_raw",
        "--ambient-caps=-all,+net_raw",
    ]);
    command.args([
        "--bounding-set=-all,+net_raw",
        env!("CARGO_BIN_EXE_picotap"),
        "-i",
        "wire1",
        "--format",
        "json",
        "--processes",
    ]);
    command.args(["--no-metrics", "-q", "-o"]).arg(&log).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    until("it has begun or ended", || fs::metadata(&log).is_ok() || child.try_wait().unwrap().is_some());
    if child.try_wait().unwrap().is_some() {
        skip("without_the_rights", "no right to give CAP_NET_RAW to another user");
        return;
    }
    std::thread::sleep(Duration::from_millis(500));
    assert!(network.curl(&["http://10.99.0.2/short?a"]));
    let line = line_about(&log, "/short?a");
    assert!(line.get("server_process").is_none() && line.get("client_process").is_none(), "{line}");
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let said = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert!(!said.contains("who connects"), "with -q: {said}");
    let about: Vec<&str> = said.lines().filter(|line| line.contains("helper")).collect();
    assert_eq!(about.len(), 1, "{said}");
    assert!(
        about[0].contains("running as uid 65534, no capabilities, ")
            && about[0]
                .contains("without CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE it knows only the processes of its own user"),
        "{said}"
    );
}
