//! Reloading puts another parser in charge while traffic is parsed, and opens the log anew.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use signal_hook::consts::{SIGHUP, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};

use super::shared::Shared;
use super::supervisor::Supervisor;
use crate::sandbox::engine::Engine;
use crate::sandbox::selftest::selftest;

/// What a reload needs.
pub struct Reloader {
    /// Compiles it.
    pub engine: Arc<Engine>,
    /// The parser's file; the built-in parser has none, and stays.
    pub file: Option<PathBuf>,
    /// Where it is put in charge.
    pub shared: Arc<Shared>,
    /// Who is told.
    pub supervisor: Arc<Supervisor>,
}

impl Reloader {
    /// Reads, checks and tests the parser's file, and puts it in charge. The old parser stays if anything is wrong.
    fn parser(&self) {
        let Some(file) = &self.file else { return };
        let name = file.display();
        let load = || -> Result<_, String> {
            let wasm = std::fs::read(file).map_err(|e| format!("cannot be read: {e}"))?;
            let parser = Arc::new(self.engine.load(&wasm).map_err(|e| e.to_string())?);
            if parser.sha256 == self.shared.parser().1.sha256 {
                return Ok(None);
            }
            selftest(&parser).map_err(|e| e.to_string())?;
            Ok(Some(parser))
        };
        match load() {
            Ok(None) => {}
            Ok(Some(parser)) => {
                eprintln!("picotap: parser {name} with SHA-256 {} takes over", parser.sha256);
                self.shared.swap(parser);
            }
            Err(reason) => {
                self.shared.count_swap(1);
                eprintln!("picotap: parser {name}: {reason}; the old one stays");
            }
        }
    }
}

/// Takes SIGHUP (open the log anew, reload the parser) and SIGUSR1 (print the ledger) in a thread of its own.
///
/// # Errors
/// What the system says.
pub fn on_signals(reloader: Reloader) -> std::io::Result<Handle> {
    let mut signals = Signals::new([SIGHUP, SIGUSR1])?;
    let handle = signals.handle();
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                reloader.supervisor.reloading();
                reloader.shared.reopen.store(true, Ordering::Relaxed);
                reloader.parser();
                reloader.supervisor.ready();
            } else {
                eprint!("{}", reloader.shared.ledger());
            }
        }
    })?;
    Ok(handle)
}
