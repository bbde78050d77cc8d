//! Key logs: the secrets in files go to the store that the workers share.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::run::Failure;
use super::shared::Shared;
use crate::source::{Captures, Secrets};
use crate::tls::keylog::KeyLog;
use crate::tls::keys::KeyStore;

/// Bytes read at once.
const PIECE: usize = 64 * 1024;

/// Reads key logs to their end. Gives what people should know of them.
///
/// # Errors
/// A file cannot be read.
pub(super) fn read(paths: &[PathBuf], store: &mut KeyStore) -> Result<Vec<String>, Failure> {
    let mut notices = Vec::new();
    for path in paths {
        let failed = |cause| Failure::KeyLog { path: path.clone(), cause };
        let mut file = File::open(path).map_err(failed)?;
        let mut log = KeyLog::new();
        let mut piece = Zeroizing::new(vec![0; PIECE]);
        loop {
            let length = match file.read(&mut piece) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            let bytes = piece.get(..length).unwrap_or_default();
            if length == 0 {
                break;
            }
            log.read(bytes, store);
        }
        log.finish(store);
        let counters = log.counters();
        let name = path.display();
        if let Some(line) = log.first_malformed() {
            let count = counters.malformed;
            notices.push(format!("{name}: {count} lines are no secrets, the first of them line {line}"));
        }
        if counters.rsa > 0 {
            let count = counters.rsa;
            notices.push(format!("{name}: {count} lines of the form RSA cannot be used: needed CLIENT_RANDOM"));
        }
        if counters.secrets == 0 {
            notices.push(format!("{name}: holds no secrets that open TLS"));
        }
    }
    Ok(notices)
}

/// Takes the secrets that capture files hold.
pub(super) fn follow(captures: &mut Captures, shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    let mut log = KeyLog::new();
    captures.on_secrets(Box::new(move |secrets| {
        shared.with_keys(|store| match secrets {
            Secrets::Piece(bytes) => log.read(bytes, store),
            Secrets::End => log.finish(store),
        });
    }));
}
