//! A run that reads its capture from a pipe, with parsers that can be exchanged.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::program::{picotap, scratch, wait};

pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    name: String,
    said: Arc<Mutex<String>>,
    readers: Vec<std::thread::JoinHandle<Vec<u8>>>,
}

impl Running {
    /// `modules`: the protocol and the module of each parser.
    pub(crate) fn start(name: &str, modules: &[(&str, &[u8])], args: &[&str]) -> Self {
        let mut command = picotap();
        command.args(["--pcap", "-", "--format", "json", "--stats"]);
        for (protocol, module) in modules {
            let file = Self::file(name, protocol);
            fs::write(&file, module).unwrap();
            command.arg("--guest").arg(format!("{protocol}={}", file.display()));
        }
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (mut out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let readers = vec![
            std::thread::spawn(move || {
                let mut bytes = vec![];
                out.read_to_end(&mut bytes).unwrap();
                bytes
            }),
            std::thread::spawn({
                let said = Arc::clone(&said);
                move || {
                    for line in BufReader::new(err).lines() {
                        *said.lock().unwrap() += &(line.unwrap() + "\n");
                    }
                    vec![]
                }
            }),
        ];
        Self { stdin: child.stdin.take(), child, name: name.to_owned(), said, readers }
    }

    /// The file of a protocol's parser.
    pub(crate) fn file(name: &str, protocol: &str) -> PathBuf {
        scratch(&format!("{name}-{protocol}.wasm"))
    }

    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Replaces the files of these modules, and sends the signal to load them.
    pub(crate) fn exchange(&self, modules: &[(&str, &[u8])]) {
        for (protocol, module) in modules {
            let file = Self::file(&self.name, protocol);
            let new = file.with_extension("new");
            fs::write(&new, module).unwrap();
            fs::rename(new, file).unwrap();
        }
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGHUP).unwrap();
    }

    /// What it has printed on standard error.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    pub(crate) fn times(&self, text: &str) -> usize {
        self.said().matches(text).count()
    }

    /// Waits until it has printed `text` so many times.
    pub(crate) fn await_text(&self, text: &str, times: usize) {
        let start = Instant::now();
        while self.times(text) < times {
            assert!(start.elapsed() < Duration::from_secs(120), "{text:?} was not printed: {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The lines, and what was printed on standard error.
    pub(crate) fn end(mut self) -> (Vec<String>, String) {
        drop(self.stdin.take());
        assert_eq!(wait(&mut self.child), Some(0));
        let out = self.readers.remove(0).join().unwrap();
        self.readers.remove(0).join().unwrap();
        let said = self.said();
        assert!(!said.contains("panicked at"), "{said}");
        assert!(said.contains("  balanced\n"), "{said}");
        (String::from_utf8(out).unwrap().lines().map(str::to_owned).collect(), said)
    }
}
