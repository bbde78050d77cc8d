//! What a service manager receives and an orchestrator reads: readiness, health, reloads and the end.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::daemon::{Daemon, directory};
use crate::support::network::{Network, until};

/// A service manager of the test's own.
struct Manager(UnixDatagram);

impl Manager {
    /// Listens at `socket`, for so many seconds at a time.
    fn new(socket: &Path, seconds: u64) -> Self {
        let listens = UnixDatagram::bind(socket).unwrap();
        listens.set_read_timeout(Some(Duration::from_secs(seconds))).unwrap();
        Self(listens)
    }

    /// The next message that is no watchdog's.
    fn receives(&self) -> String {
        loop {
            let message = self.next();
            if message != "WATCHDOG=1\n" {
                return message;
            }
        }
    }

    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let count = self.0.recv(&mut bytes).expect("a message within twenty seconds");
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }
}

#[test]
fn a_service_manager_receives_the_state_of_the_run() {
    let Some(network) = Network::new("a_service_manager_receives_the_state_of_the_run") else { return };
    let directory = directory();
    let socket = directory.path().join("notify");
    let manager = Manager::new(&socket, 20);
    // Only root may say something there: the way to it is opened before privileges are given up.
    std::fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let environment = [("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "1000000")];
    let daemon = Daemon::start(&network, &directory.path().join("http.log"), &[], &environment);
    assert_eq!(manager.receives(), "READY=1\n");
    for _ in 0..3 {
        assert_eq!(manager.next(), "WATCHDOG=1\n", "it says that it is well, again and again");
    }

    daemon.signal(Signal::SIGHUP);
    let reloading = manager.receives();
    let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{reloading:?}"));
    assert!(time.trim_end().parse::<u64>().unwrap() > 0);
    assert_eq!(manager.receives(), "READY=1\n");

    // What was captured is still being parsed: it stops, and is not ready any more.
    let held = Held::by_name(daemon.id(), "sandbox-0");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(manager.receives(), "STOPPING=1\n");
    assert_eq!(daemon.get("/readyz"), (503, "stopping\n".to_owned()));
    assert_eq!(daemon.get("/healthz").0, 200);
    drop(held);
    daemon.end();
}

#[test]
fn readiness_follows_the_interface_and_health_does_not() {
    let Some(network) = Network::new("readiness_follows_the_interface_and_health_does_not") else { return };
    let network = network.serve();
    let directory = directory();
    let log = directory.path().join("http.log");
    let daemon = Daemon::start(&network, &log, &[], &[]);
    assert_eq!(daemon.get("/readyz"), (200, "ok\n".to_owned()));
    let link = |state: &str| {
        let arguments = ["-n", &network.server, "link", "set", "wire1", state];
        assert!(Command::new("ip").args(arguments).status().unwrap().success());
    };
    link("down");
    until("the interface is missed", || daemon.get("/readyz").0 == 503);
    assert_eq!(daemon.get("/readyz").1, "no interface delivers: down: wire1\n");
    assert_eq!(daemon.get("/healthz"), (200, "ok\n".to_owned()), "nothing that a restart would mend");
    assert!(daemon.sum("picotap_capture_interface_up") < 0.5);
    link("up");
    until("it is back", || daemon.get("/readyz").0 == 200);
    assert!(daemon.sum("picotap_capture_interface_up") > 0.5);
    until("the way is there again", || network.curl(&["http://10.99.0.2/short"]));
    until("it sees again", || daemon.transactions() >= 1);
    daemon.stop();
}

/// Holds one thread of another process, as a debugger would, until it is dropped.
struct Held(i32);

impl Held {
    fn by_name(process: u32, name: &str) -> Self {
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().map(|entry| entry.unwrap().path());
        let named = |path: &PathBuf| std::fs::read_to_string(path.join("comm")).unwrap().trim_end() == name;
        let thread: i32 =
            threads.into_iter().find(named).unwrap().file_name().unwrap().to_str().unwrap().parse().unwrap();
        for request in [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT] {
            assert_eq!(ptrace(request, thread), 0, "{}", std::io::Error::last_os_error());
        }
        Self(thread)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        ptrace(libc::PTRACE_DETACH, self.0);
    }
}

#[expect(unsafe_code, reason = "no safe binding holds a single thread")]
fn ptrace(request: libc::c_uint, thread: i32) -> libc::c_long {
    // SAFETY: none of the three requests takes a pointer.
    unsafe { libc::ptrace(request, thread, 0, 0) }
}

#[test]
#[ignore = "more than a minute: so long is patience with a thread"]
fn a_stuck_thread_is_unhealthy_and_the_watchdog_gets_no_more_notifications() {
    let Some(network) = Network::new("a_thread_that_is_stuck_is_ill_health") else { return };
    let directory = directory();
    let socket = directory.path().join("notify");
    let manager = Manager::new(&socket, 3);
    let environment = [("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "1000000")];
    let daemon = Daemon::start(&network, &directory.path().join("http.log"), &[], &environment);
    let held = Held::by_name(daemon.id(), "capture");
    let start = Instant::now();
    let mut bytes = [0; 4096];
    while manager.0.recv(&mut bytes).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(90), "it is said to be well");
    }
    assert!(start.elapsed() > Duration::from_secs(60), "a minute was not over");
    for page in ["/healthz", "/readyz"] {
        let (status, body) = daemon.get(page);
        assert!(status == 503 && body.starts_with("capture thread 0 has been stuck for 6"), "{page}: {status} {body}");
    }
    daemon.await_text("capture thread 0 has been stuck", 1);
    drop(held);
    until("it is well again", || daemon.get("/healthz").0 == 200 && daemon.get("/readyz").0 == 200);
    assert!(manager.0.recv(&mut bytes).is_ok());
    daemon.stop();
}

#[test]
fn a_daemon_that_cannot_begin_does_not_say_that_it_is_ready() {
    let Some(network) = Network::new("a_daemon_that_cannot_begin_does_not_say_that_it_is_ready") else { return };
    let directory = directory();
    let socket = directory.path().join("notify");
    let manager = Manager::new(&socket, 20);
    let guest = directory.path().join("guest.wasm");
    std::fs::write(&guest, b"not a module").unwrap();
    let mut command = Network::inside(&network.server, env!("CARGO_BIN_EXE_picotap"));
    command.args(["-i", "wire1", "--user", "65534:65534", "--guest"]).arg(&guest).env("NOTIFY_SOCKET", &socket);
    assert_eq!(command.output().unwrap().status.code(), Some(1));
    manager.0.set_nonblocking(true).unwrap();
    assert!(manager.0.recv(&mut [0; 64]).is_err(), "no notification");
}
