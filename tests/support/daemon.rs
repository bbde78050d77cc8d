//! A daemon is picotap running on the server's end of a network, started as root and living on as nobody, with its log in
//! a directory of that user and its endpoint in the namespace.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::network::{Network, until};
use super::program::wait;

/// Whom the daemon becomes.
pub const NOBODY: u32 = 65534;
pub const ENDPOINT: &str = "127.0.0.1:9464";

pub struct Daemon<'a> {
    network: &'a Network,
    child: Child,
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// A directory that the daemon may write.
pub fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    directory
}

/// The whole lines of a log, each of them JSON.
pub fn lines(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is torn");
    for line in text.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line:?} is torn");
    }
    text.lines().map(str::to_owned).collect()
}

/// The line about this target, once it is there.
pub fn line_about(log: &Path, target: &str) -> serde_json::Value {
    let found = || {
        let values = lines(log).into_iter().map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap());
        values.into_iter().find(|value| value["target"] == target)
    };
    until(&format!("a line about {target}"), || found().is_some());
    found().unwrap()
}

/// The children of a process.
pub fn children(id: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    text.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// The command of a process, as the kernel has it.
pub fn command(id: u32) -> String {
    std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap().trim_end_matches('\n').to_owned()
}

impl<'a> Daemon<'a> {
    /// Starts picotap on wire1, and waits until it reports that it is ready.
    pub fn start(network: &'a Network, log: &Path, args: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_program(network, Path::new(env!("CARGO_BIN_EXE_picotap")), log, args, environment)
    }

    /// The same with another build of it.
    pub fn start_program(
        network: &'a Network,
        program: &Path,
        log: &Path,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = Network::inside(&network.server, program);
        command.args(["-i", "wire1", "--format", "json", "--user", "65534:65534", "--stats", "-o"]).arg(log);
        command.args(args).envs(environment.iter().copied()).env_remove("RUST_BACKTRACE");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (stderr, text) = (child.stderr.take().unwrap(), Arc::clone(&said));
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                *text.lock().unwrap() += &(line.unwrap() + "\n");
            }
        });
        let mut daemon = Self { network, child, said, reader: Some(reader) };
        until("picotap is ready", || {
            assert!(daemon.child.try_wait().unwrap().is_none(), "it has ended: {}", daemon.said());
            let (status, body) = daemon.get("/readyz");
            assert!(matches!(status, 0 | 200) || body == "starting\n", "{status} {body}");
            status == 200
        });
        daemon
    }

    /// `ip netns exec` has become picotap itself.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its helper process.
    pub fn helper(&self) -> u32 {
        let children = children(self.id());
        let [helper] = children[..] else { panic!("{children:?}") };
        assert_eq!(command(helper), "picotap-helper");
        helper
    }

    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has printed this so many times.
    pub fn await_text(&self, text: &str, times: usize) {
        until(&format!("it says {text:?}"), || self.said().matches(text).count() >= times);
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Status and body of a page; 0 while nobody answers.
    pub fn get(&self, path: &str) -> (u16, String) {
        get(self.network, ENDPOINT, path, &[])
    }

    /// Every sample of a scrape, by name and labels as they are printed.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200, "{text}");
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
            .collect()
    }

    /// The sum of all samples whose name, or name and labels, begin so.
    pub fn sum(&self, name: &str) -> f64 {
        self.metrics().iter().filter(|(key, _)| key.starts_with(name)).map(|(_, value)| value).sum()
    }

    /// Transactions that it has counted.
    pub fn transactions(&self) -> usize {
        self.sum("http_server_request_duration_seconds_count") as usize
    }

    /// Stops it cleanly. Returns what it printed.
    pub fn stop(self) -> String {
        self.signal(Signal::SIGTERM);
        self.end()
    }

    /// Waits for a clean end. Returns what it printed.
    pub fn end(mut self) -> String {
        assert_eq!(wait(&mut self.child), Some(0), "{}", self.said());
        self.reader.take().unwrap().join().unwrap();
        let said = self.said();
        assert!(!said.contains("panicked at") && said.contains("  balanced\n"), "{said}");
        said
    }

    /// Ends it as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // A test that failed; otherwise it is gone already.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            println!("picotap said: {}", self.said());
        }
    }
}

/// Status and body of a page in the server's namespace; 0 while nobody answers.
pub fn get(network: &Network, address: &str, path: &str, options: &[&str]) -> (u16, String) {
    let mut command = Network::inside(&network.server, "curl");
    command.args(["-sS", "-g", "-m", "20", "--noproxy", "*", "-w", "\n%{http_code}"]).args(options);
    let output = command.arg(format!("http://{address}{path}")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
    (status.parse().unwrap_or(0), body.to_owned())
}
