//! A tap gives the transactions on a network interface to a program, as they are completed.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use thiserror::Error;
use zeroize::Zeroizing;

use crate::clock::wall_clock;
use crate::http::{Settings, Transaction};
use crate::inline::Inline;
use crate::pipeline::key_logs::{KeyLogFile, PIECE};
use crate::pipeline::processes;
use crate::sandbox::engine::LoadError;
use crate::sandbox::fault::Fault;
use crate::source::live::{Live, LiveConfig, LiveError, LiveStats, MOST_INTERFACES, Stopper, Turn};
use crate::stream::InterfaceNames;

/// So many megabytes of a key log are read when it is opened, and the rest with the frames: no more secrets are kept anyway.
const LOOKS: usize = 64;

/// Why nothing can be captured.
#[derive(Debug, Error)]
pub enum TapError {
    /// The interface cannot be opened, or is lost for good.
    #[error("{0}")]
    Live(#[from] LiveError),
    /// A key log cannot be opened.
    #[error("{}: cannot be read: {cause}", path.display())]
    KeyLog {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// Processes cannot be looked for.
    #[error("processes: {0}")]
    Processes(std::io::Error),
    /// The parser cannot be loaded.
    #[error("parser: {0}")]
    Parser(#[from] LoadError),
    /// The sandbox cannot be started.
    #[error("sandbox: {0}")]
    Sandbox(#[from] Fault),
}

/// Captures from an interface, in the thread that calls [`Tap::run`].
///
/// It is only that: no log, no metrics, no signals, and no privileges dropped. Opening takes CAP_NET_RAW; a program that
/// drops its privileges does so between [`Tap::live`] and [`Tap::run`]. Secrets are redacted as picotap does it by default.
/// If the parser fails on a connection (in HTTP/2 three times), the rest of that connection is ignored. While an interface
/// is down or away, the tap waits for it to come back. TLS is decrypted with the secrets of key logs: see [`Tap::key_log`].
///
/// ```no_run
/// use std::ops::ControlFlow;
///
/// # fn main() -> Result<(), picotap::TapError> {
/// let mut errors = 0;
/// picotap::Tap::live("eth0")?.run(|transaction| {
///     errors += u32::from(transaction.status >= 500);
///     if errors < 10 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
/// })?;
/// # Ok(())
/// # }
/// ```
pub struct Tap {
    live: Live,
    inline: Inline,
    interfaces: InterfaceNames,
    key_logs: Vec<KeyLogFile>,
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").field("interface", &self.live.interface()).finish_non_exhaustive()
    }
}

/// How a [`Tap`] is opened. By default it captures everything that passes the interface, in promiscuous mode.
#[derive(Debug, Clone)]
pub struct TapOptions {
    source: LiveConfig,
    settings: Settings,
    /// Unless said otherwise: with `any`.
    drop_duplicates: Option<bool>,
}

impl TapOptions {
    /// Captures only what this expression in the language of pcap-filter(7) chooses.
    #[must_use]
    pub fn filter(mut self, expression: impl Into<String>) -> Self {
        self.source.filter = expression.into();
        self
    }

    /// Captures so many bytes of each packet. What is cut off is missing from bodies and heads.
    #[must_use]
    pub const fn snaplen(mut self, bytes: u32) -> Self {
        self.source.snaplen = bytes;
        self
    }

    /// Whether the interface also takes packets for other hosts.
    #[must_use]
    pub const fn promiscuous(mut self, promiscuous: bool) -> Self {
        self.source.promiscuous = promiscuous;
        self
    }

    /// Whether a connection that is captured again, on another interface or in a tunnel, is left out: by default with `any`.
    #[must_use]
    pub const fn drop_duplicates(mut self, drop: bool) -> Self {
        self.drop_duplicates = Some(drop);
        self
    }

    /// What transactions keep.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Opens the interface. Packets are captured from here on, and wait in the kernel's buffer for [`Tap::run`].
    ///
    /// # Errors
    /// See [`TapError`].
    pub fn open(self) -> Result<Tap, TapError> {
        let mut live = Live::open(&self.source)?;
        let any = live.interface() == "any";
        let interfaces = InterfaceNames::new(vec![live.interface().to_owned()], if any { MOST_INTERFACES } else { 0 });
        live.name_interfaces(&interfaces)?;
        let inline = Inline::new::<TapError>(self.settings, self.drop_duplicates.unwrap_or(any))?;
        Ok(Tap { live, inline, interfaces, key_logs: Vec::new() })
    }
}

impl Tap {
    /// Opens an interface with the default options: its name, its number in the list, or `any`.
    ///
    /// # Errors
    /// See [`TapError`].
    pub fn live(interface: impl Into<String>) -> Result<Self, TapError> {
        Self::options(interface).open()
    }

    /// Options to open an interface with.
    pub fn options(interface: impl Into<String>) -> TapOptions {
        TapOptions { source: LiveConfig::new(interface), settings: Settings::default(), drop_duplicates: None }
    }

    /// Decrypts TLS with the secrets in this file too, a key log as browsers and curl write it (`SSLKEYLOGFILE`), or a named pipe
    /// with the same. To be called any number of times. The file is opened here, and may be empty: while [`Tap::run`] runs, what is
    /// added to it is read. Secrets may come 200 ms after the packets, but nothing waits any more when the tap ends. Of them 64 MiB are kept; lines that are none are skipped, and
    /// a file that cannot be read any more gives no further ones.
    ///
    /// ```no_run
    /// use std::ops::ControlFlow;
    ///
    /// # fn main() -> Result<(), picotap::TapError> {
    /// picotap::Tap::live("eth0")?.key_log("/run/keys.txt")?.run(|transaction| {
    ///     println!("{}", transaction.secured.as_ref().map_or("in the clear", |_| "decrypted"));
    ///     ControlFlow::Continue(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TapError::KeyLog`]: it is not there, may not be read, or is neither a file nor a pipe.
    pub fn key_log(mut self, path: impl AsRef<Path>) -> Result<Self, TapError> {
        let path = path.as_ref();
        let failed = |cause| TapError::KeyLog { path: path.to_path_buf(), cause };
        let mut file = KeyLogFile::open(path, true).map_err(failed)?;
        let (keys, mut piece) = (self.inline.keys(), Zeroizing::new(vec![0; PIECE]));
        for _ in 0..LOOKS {
            let (more, _) = file.look(&mut piece, |bytes, log| log.read(bytes, &mut keys.lock())).map_err(failed)?;
            if !more {
                break;
            }
        }
        self.key_logs.push(file);
        self.inline.expect_keys();
        Ok(self)
    }

    /// Names the processes at both ends of connections, as far as they run on this host and are known:
    /// [`Transaction::client_process`] and [`Transaction::server_process`]. A thread looks for them, which ends with the tap, and keeps the rights
    /// that the caller has now: with CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH it knows those of all users, else those of the caller's
    /// own. Nothing waits for it, so that the first transactions of a client may have no name; with CAP_BPF and CAP_PERFMON (or as root) the kernel tells
    /// who connects. It takes at most a twentieth of a core.
    ///
    /// ```no_run
    /// use std::ops::ControlFlow;
    ///
    /// # fn main() -> Result<(), picotap::TapError> {
    /// picotap::Tap::live("lo")?.processes()?.run(|transaction| {
    ///     let server = transaction.server_process().map(|process| String::from_utf8_lossy(&process.command));
    ///     println!("{}", server.unwrap_or("unknown".into()));
    ///     ControlFlow::Continue(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`TapError::Processes`]: a thread cannot be started.
    pub fn processes(mut self) -> Result<Self, TapError> {
        self.inline.name_processes(processes::in_thread().map_err(TapError::Processes)?);
        Ok(self)
    }

    /// Names of the interfaces, by the number in [`Transaction::interface`]: with `any` of each that a packet has passed.
    #[must_use]
    pub fn interfaces(&self) -> InterfaceNames {
        self.interfaces.clone()
    }

    /// A handle that ends [`Tap::run`] from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.live.stopper()
    }

    /// Captures, and calls `each` for every transaction in the order in which they are completed. While `each` works nothing
    /// is captured, and the kernel drops packets once its buffer is full. Returns what the kernel counted.
    ///
    /// It ends at once when `each` returns [`ControlFlow::Break`]; what was captured and not given is dropped. After
    /// [`Stopper::stop`] it gives what was captured until then, transactions without their end included, and ends.
    ///
    /// # Errors
    /// [`TapError::Live`], if the interface is lost for good, after what was captured has been given.
    pub fn run(self, mut each: impl FnMut(&Transaction) -> ControlFlow<()>) -> Result<LiveStats, TapError> {
        let Self { mut live, mut inline, mut key_logs, .. } = self;
        let (over, keys) = (Cell::new(false), inline.keys());
        let mut piece = Zeroizing::new(vec![0; PIECE]);
        let mut out = |transaction: Transaction| {
            if !over.get() {
                over.set(each(&transaction).is_break());
            }
        };
        let mut ended = Ok(());
        while !over.get() {
            let turn = live.turn(|frame| {
                if !over.get() {
                    inline.frame(&frame, &mut out);
                }
            });
            key_logs.retain_mut(|file| {
                let looked = file.look(&mut piece, |bytes, log| log.read(bytes, &mut keys.lock()));
                looked.is_ok()
            });
            match turn {
                _ if over.get() => break,
                Ok(Turn::Frames(_)) => inline.parse(&mut out),
                // Otherwise ends and timers would wait for the next frame.
                Ok(Turn::Idle | Turn::Lost(_) | Turn::Back) => inline.tick(wall_clock(), &mut out),
                Ok(Turn::Stopped) => {
                    inline.finish(&mut out);
                    break;
                }
                Err(error) => {
                    inline.finish(&mut out);
                    ended = Err(error);
                    break;
                }
            }
        }
        ended?;
        Ok(live.stats())
    }
}
