//! The program under test, run as a person would run it.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::line::normal;

#[derive(Debug, Clone)]
pub struct Outcome {
    /// Exit code, or nothing if a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Outcome {
    pub fn lines(&self) -> Vec<String> {
        String::from_utf8(self.stdout.clone()).unwrap().lines().map(str::to_owned).collect()
    }

    /// A figure of the ledger; 0 if it is not there.
    pub fn figure(&self, name: &str) -> u64 {
        let figure = |line: &str| line.trim_start().strip_prefix(name)?.trim().parse().ok();
        self.stderr.lines().find_map(figure).unwrap_or(0)
    }

    /// Lines in order of time, connection and number on it.
    pub fn sorted(&self) -> Vec<String> {
        sorted(self.lines())
    }
}

pub fn sorted(lines: Vec<String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.iter().map(|line| normal(line)).collect();
    lines.sort_by_cached_key(|line| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        (text("ts"), text("conn"), value["seq"].as_u64(), line.clone())
    });
    lines
}

pub fn picotap() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_picotap"));
    command.stdin(Stdio::null()).env_remove("RUST_BACKTRACE");
    command
}

/// Runs to the end, which must come within a minute.
pub fn run(command: &mut Command) -> Outcome {
    finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts"))
}

/// Waits for the end of a program whose output is piped.
pub fn finish(mut child: Child) -> Outcome {
    fn drain(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<Vec<u8>> {
        std::thread::spawn(move || {
            let mut bytes = vec![];
            if let Some(mut pipe) = pipe {
                pipe.read_to_end(&mut bytes).unwrap();
            }
            bytes
        })
    }
    let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let code = wait(&mut child);
    let stderr = String::from_utf8_lossy(&err.join().unwrap()).into_owned();
    assert!(!stderr.contains("panicked at"), "the program panicked: {stderr}");
    Outcome { code, stdout: out.join().unwrap(), stderr }
}

/// Waits at most a minute (a program that hangs is ended, and the test fails).
pub fn wait(child: &mut Child) -> Option<i32> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if start.elapsed() > Duration::from_secs(if cfg!(debug_assertions) { 120 } else { 60 }) {
            child.kill().unwrap();
            panic!("the program did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reads one capture file with `--format json`.
pub fn read(path: &Path, args: &[&str]) -> Outcome {
    run(picotap().arg("--pcap").arg(path).args(["--format", "json"]).args(args))
}

/// A path for the files that a test leaves when it fails: a capture there opens in Wireshark.
pub fn scratch(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(directory).unwrap();
    directory.join(name)
}

/// Compares line by line, and prints the path of the capture if they differ.
pub fn assert_lines(expected: &[String], actual: &[String], capture: &Path) {
    if expected == actual {
        return;
    }
    let mut report = format!("{} does not give what it should\n", capture.display());
    for line in expected.iter().filter(|line| !actual.contains(line)).take(5) {
        report += &format!("missing  {line}\n");
    }
    for line in actual.iter().filter(|line| !expected.contains(line)).take(5) {
        report += &format!("unwanted {line}\n");
    }
    panic!("{report}{} lines expected, {} given", expected.len(), actual.len());
}
