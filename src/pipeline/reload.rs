//! A reload replaces the parser while traffic is parsed, and reopens the log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::bounded;
use signal_hook::iterator::Handle;

use super::load;
use super::shared::Shared;
use crate::daemon::sd_notify::Supervisor;
use crate::daemon::shutdown::Shutdown;
use crate::daemon::signals;
use crate::sandbox::engine::{Engine, Parser, sha256};
use crate::sandbox::protocol::Protocol;

/// Replaces the parser when a signal asks for it.
pub(super) struct Reloader {
    /// Compiles modules.
    pub(super) engine: Arc<Engine>,
    /// The file of each protocol's parser; the built-in parser has none, and stays.
    pub(super) files: Vec<(Protocol, PathBuf)>,
    /// Where they are put in charge.
    pub(super) shared: Arc<Shared>,
    /// The service manager.
    pub(super) supervisor: Arc<Supervisor>,
    /// The request to stop.
    pub(super) shutdown: Shutdown,
}

impl Reloader {
    /// Puts the parsers in charge whose files have changed, each for itself: where one is refused, its old parser stays.
    fn parsers(&self) {
        for (protocol, file) in &self.files {
            let name = format!("{protocol} parser {}", file.display());
            match self.changed(*protocol, file) {
                _ if self.shutdown.asked() => return,
                Ok(None) => {}
                Ok(Some(parser)) => {
                    eprintln!("picotap: {name} with SHA-256 {} takes over", parser.sha256);
                    self.shared.swap(parser);
                }
                Err(reason) => {
                    self.shared.count_swap(1);
                    eprintln!("picotap: {name}: {reason}; the old one stays");
                }
            }
        }
    }

    /// Reads, checks and tests a parser's file. Nothing if it is the one in charge, or a stop was asked for.
    fn changed(&self, protocol: Protocol, file: &Path) -> Result<Option<Arc<Parser>>, String> {
        let wasm = load::read(file).map_err(|e| format!("cannot be read: {e}"))?;
        if self.shared.parser(protocol).is_some_and(|parser| parser.sha256 == sha256(&wasm)) {
            return Ok(None);
        }
        load::load(&self.engine, wasm, Some(protocol), true, &self.shutdown).map_err(|refusal| refusal.to_string())
    }

    /// Takes SIGHUP (reopen the log, reload the parsers) and SIGUSR1 (print the ledger). Reloading has a thread of its own,
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
                self.parsers();
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
