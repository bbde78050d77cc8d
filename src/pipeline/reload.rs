//! Reloading puts another parser in charge while traffic is parsed, and opens the log anew.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::bounded;
use signal_hook::consts::{SIGHUP, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};

use super::load;
use super::run::Failure;
use super::sd_notify::Supervisor;
use super::shared::Shared;
use super::shutdown::Shutdown;
use crate::sandbox::engine::{Engine, sha256};

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
    /// The request to stop.
    pub shutdown: Shutdown,
}

impl Reloader {
    /// Reads, checks and tests the parser's file, and puts it in charge. The old parser stays if anything is wrong.
    fn parser(&self) {
        let Some(file) = &self.file else { return };
        let name = file.display();
        let load = || -> Result<_, String> {
            let wasm = load::read(file).map_err(|e| format!("cannot be read: {e}"))?;
            if sha256(&wasm) == self.shared.parser().1.sha256 {
                return Ok(None);
            }
            load::load(&self.engine, wasm, true, &self.shutdown).map_err(|failure| match failure {
                Failure::Parser(error) => error.to_string(),
                Failure::SelfTest(error) => error.to_string(),
                other => other.to_string(),
            })
        };
        match load() {
            Ok(None) => {}
            Ok(Some(_)) if self.shutdown.asked() => {}
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

/// Takes SIGHUP (open the log anew, reload the parser) and SIGUSR1 (print the ledger) in a thread of its own. Reloading has
/// another, since a module may take seconds to compile: signals are heard meanwhile, and a SIGHUP makes one more reload behind
/// the one under way.
///
/// # Errors
/// What the system says.
pub fn on_signals(reloader: Reloader) -> std::io::Result<Handle> {
    let mut signals = Signals::new([SIGHUP, SIGUSR1])?;
    let handle = signals.handle();
    let shared = Arc::clone(&reloader.shared);
    let (ask, asked) = bounded(1);
    std::thread::Builder::new().name("reload".into()).spawn(move || {
        for () in &asked {
            reloader.supervisor.reloading();
            reloader.parser();
            if !reloader.shutdown.asked() {
                reloader.supervisor.ready();
            }
        }
    })?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGHUP {
                shared.reopen.store(true, Ordering::Relaxed);
                // Where one waits already, it reads what is in the file now.
                let _waits = ask.try_send(());
            } else {
                eprint!("{}", shared.ledger());
            }
        }
    })?;
    Ok(handle)
}
