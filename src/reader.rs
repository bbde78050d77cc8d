//! A reader gives the transactions of a capture file to a program, one after the other.

use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::http::{Settings, Transaction};
use crate::inline::Inline;
use crate::sandbox::engine::LoadError;
use crate::sandbox::fault::Fault;
use crate::source::{self, Captures, Secrets, read_key_log};
use crate::tls::keylog::KeyLog;

/// Why there is no transaction.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read, or is damaged. What was good has been given.
    #[error("{0}")]
    Capture(#[from] source::Error),
    /// A key log cannot be read.
    #[error("{}: cannot be read: {cause}", path.display())]
    KeyLog {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// The parser cannot be loaded.
    #[error("parser: {0}")]
    Parser(#[from] LoadError),
    /// The sandbox cannot be started.
    #[error("sandbox: {0}")]
    Sandbox(#[from] Fault),
}

/// Reads one capture file (pcap or pcapng, plain, gzip or zstd), in this thread and without a log, metrics or signals.
///
/// It is an iterator of transactions, in the order in which they were completed. Secrets are redacted as picotap does it by
/// default. If the parser fails on a connection (in HTTP/2 three times), the rest of that connection is ignored.
///
/// TLS is decrypted with the secrets that a pcapng file holds, and with those of a key log: see [`Reader::key_log`].
///
/// ```
/// # fn main() -> Result<(), picotap::ReadError> {
/// for transaction in picotap::Reader::open("fixtures/http.pcap")? {
///     let transaction = transaction?;
///     let target = transaction.target().unwrap_or_default();
///     println!("{} {}", transaction.status, String::from_utf8_lossy(target));
/// }
/// # Ok(())
/// # }
/// ```
pub struct Reader {
    captures: Captures,
    inline: Inline,
    /// Transactions that were completed and not given yet.
    done: VecDeque<Transaction>,
    /// What is wrong with the file, to be given after what was good.
    failed: Option<source::Error>,
    /// Nothing more comes of the file.
    ended: bool,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("inline", &self.inline).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens a capture file.
    ///
    /// # Errors
    /// If the sandbox cannot be started. What is wrong with the file is an item of the iterator.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ReadError> {
        Self::with(path, Settings::default())
    }

    /// The same, with a choice of what transactions keep.
    ///
    /// # Errors
    /// See [`Reader::open`].
    pub fn with(path: impl AsRef<Path>, settings: Settings) -> Result<Self, ReadError> {
        let mut captures = Captures::open(&[path.as_ref().to_path_buf()], None);
        let inline = Inline::new::<ReadError>(settings, false)?;
        let (keys, mut log) = (inline.keys(), KeyLog::new());
        captures.on_secrets(Box::new(move |secrets| match secrets {
            Secrets::Piece(bytes) => log.read(bytes, &mut keys.lock()),
            Secrets::End => log.finish(&mut keys.lock()),
        }));
        Ok(Self { captures, inline, done: VecDeque::new(), failed: None, ended: false })
    }

    /// Decrypts TLS with the secrets in this file too, a key log as browsers and curl write it (`SSLKEYLOGFILE`). To be called
    /// before the first transaction is taken, any number of times. Of the secrets 64 MiB are kept; lines that are none are skipped.
    ///
    /// ```
    /// # fn main() -> Result<(), picotap::ReadError> {
    /// let reader = picotap::Reader::open("fixtures/tls/https.pcap")?.key_log("fixtures/tls/https/keys.txt")?;
    /// let ciphers = reader.filter_map(|transaction| transaction.ok()?.secured.as_ref()?.cipher);
    /// assert!(ciphers.count() > 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ReadError::KeyLog`].
    pub fn key_log(self, path: impl AsRef<Path>) -> Result<Self, ReadError> {
        let failed = |cause| ReadError::KeyLog { path: path.as_ref().to_path_buf(), cause };
        let mut file = File::open(path.as_ref()).map_err(failed)?;
        let mut log = KeyLog::new();
        let keys = self.inline.keys();
        read_key_log(&mut file, |bytes| log.read(bytes, &mut keys.lock())).map_err(failed)?;
        log.finish(&mut keys.lock());
        Ok(self)
    }

    /// Takes frames until something can be given.
    fn read(&mut self) {
        let Self { captures, inline, done, failed, ended } = self;
        while done.is_empty() && failed.is_none() && !*ended {
            let mut out = |transaction| done.push_back(transaction);
            match captures.next_frame() {
                Ok(Some(frame)) => inline.frame(&frame, &mut out),
                Ok(None) => {
                    *ended = true;
                    inline.finish(&mut out);
                }
                Err(error) => {
                    *failed = Some(error);
                    inline.parse(&mut out);
                }
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Transaction, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(transaction) = self.done.pop_front() {
                return Some(Ok(transaction));
            }
            if let Some(error) = self.failed.take() {
                return Some(Err(error.into()));
            }
            if self.ended {
                return None;
            }
            self.read();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_the_first_item() {
        let mut reader = Reader::open("/nonexistent/x.pcap").unwrap();
        let error = reader.next().unwrap().unwrap_err();
        assert!(error.to_string().contains("/nonexistent/x.pcap"), "{error}");
        assert!(reader.next().is_none());
    }

    #[test]
    fn every_transaction_of_a_file_is_given() {
        let all: Vec<Transaction> = Reader::open("fixtures/http.pcap").unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(all.len(), 43);
        assert_eq!((all[0].status, all[0].target()), (200, Some(&b"/"[..])));
        let targets: std::collections::BTreeSet<_> = all.iter().filter_map(Transaction::target).collect();
        assert!(targets.contains(&b"/large.bin"[..]), "bodies are skipped and counted");
        assert!(all.iter().any(|transaction| transaction.status == 404));
    }

    #[test]
    fn what_is_wrong_comes_after_what_was_good() {
        let whole = std::fs::read("fixtures/http.pcap").unwrap();
        let mut cut = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut cut, &whole[..whole.len() - 3]).unwrap();
        let items: Vec<_> = Reader::open(cut.path()).unwrap().collect();
        let wrong = items.iter().position(Result::is_err).unwrap();
        // What is still open at the end is given as it is.
        assert!(wrong >= 40, "item {wrong} of {}", items.len());
        assert_eq!(items.iter().filter(|item| item.is_err()).count(), 1);
    }
}
