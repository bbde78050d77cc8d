//! A reload replaces the parser while traffic is parsed, and reopens the log.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::bounded;
use signal_hook::iterator::Handle;

use super::load;
use super::run::Failure;
use super::shared::Shared;
use crate::daemon::sd_notify::Supervisor;
use crate::daemon::shutdown::Shutdown;
use crate::daemon::signals;
use crate::sandbox::engine::{Engine, sha256};

/// Replaces the parser when a signal asks for it.
pub(super) struct Reloader {
    /// Compiles the module.
    pub(super) engine: Arc<Engine>,
    /// The module's file; the built-in parser has none, and stays.
    pub(super) file: Option<PathBuf>,
    /// Where the workers find the parser in charge.
    pub(super) shared: Arc<Shared>,
    /// The service manager, which is notified.
    pub(super) supervisor: Arc<Supervisor>,
    /// The request to stop.
    pub(super) shutdown: Shutdown,
}

impl Reloader {
    /// Reads, checks and tests the module's file, and puts it in charge. If anything is wrong, the old parser stays.
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

    /// Takes SIGHUP (reopen the log, reload the parser) and SIGUSR1 (print the ledger). Reloading has a thread of its own,
    /// since a module may take seconds to compile: signals are taken meanwhile, and a SIGHUP causes one more reload after
    /// the one in progress.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn start(self) -> std::io::Result<Handle> {
        let (hangup, user1) = (Arc::clone(&self.shared), Arc::clone(&self.shared));
        let (request, requests) = bounded(1);
        std::thread::Builder::new().name("reload".into()).spawn(move || {
            for () in &requests {
                self.supervisor.reloading();
                self.parser();
                if !self.shutdown.asked() {
                    self.supervisor.ready();
                }
            }
        })?;
        let on_hangup = move || {
            hangup.reopen.store(true, Ordering::Relaxed);
            // Where a request waits already, its reload will read what is in the file now.
            let _waits = request.try_send(());
        };
        signals::take_others(on_hangup, move || eprint!("{}", user1.ledger()))
    }
}
