//! The open inputs of a run. They are opened before privileges are dropped, since afterwards no interface can be opened.

use std::os::fd::{AsFd, AsRawFd, RawFd};

use super::run::{Config, Failure, Input};
use crate::clock::wall_clock;
use crate::daemon::shutdown::Shutdown;
use crate::source::live::{Live, LiveError, MOST_INTERFACES};
use crate::source::{Captures, Filter, Polled};
use crate::stream::InterfaceNames;

/// The inputs of a run.
pub(super) enum Opened {
    /// Capture files, one after the other, or standard input, or a pipe.
    Files(Box<Captures>),
    /// Interfaces, each with its members of a fan-out group.
    Live(Vec<Live>),
}

impl Opened {
    /// Opens the inputs that the configuration names.
    ///
    /// # Errors
    /// An interface or standard input cannot be opened. What is wrong with a file shows when it is read.
    pub(super) fn new(config: &Config, shutdown: &Shutdown) -> Result<Self, Failure> {
        let filter = config.filter.as_deref().map(Filter::new);
        let files = match &config.input {
            Input::Live(sources) => {
                let mut opened = sources.iter().map(Live::open).collect::<Result<Vec<_>, _>>()?;
                if opened.len() > 1 {
                    // Until the last member of a fan-out group has joined, a connection's frames may change from one to another.
                    let now = wall_clock();
                    opened.iter_mut().for_each(|source| source.start_at(now));
                }
                return Ok(Self::Live(opened));
            }
            Input::Files(files) => files,
        };
        let [path] = files.as_slice() else { return Ok(Self::Files(Box::new(Captures::open(files, filter)))) };
        let stop = shutdown.clone();
        let stopped = move || stop.asked();
        let is_pipe = || {
            use std::os::unix::fs::FileTypeExt;
            std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
        };
        let (name, polled) = if path.as_os_str() == "-" {
            ("standard input".to_owned(), Polled::stdin(stopped))
        } else if is_pipe() {
            (path.display().to_string(), Polled::pipe(path, stopped))
        } else {
            return Ok(Self::Files(Box::new(Captures::open(files, filter))));
        };
        let polled = polled.map_err(|e| Failure::System("standard input cannot be read", e))?;
        match Captures::from_reader(&name, Box::new(polled), filter) {
            Ok(captures) => Ok(Self::Files(Box::new(captures))),
            // Stopped before the first byte.
            Err(_) if shutdown.asked() => Ok(Self::Files(Box::new(Captures::open(&[], None)))),
            Err(error) => Err(error.into()),
        }
    }

    /// Names of the interfaces, by the number that their frames carry. Several sources may share one, and `any` adds the names
    /// of those on which it captures.
    ///
    /// # Errors
    /// What the system refuses.
    pub(super) fn name_interfaces(&mut self) -> Result<InterfaceNames, LiveError> {
        let Self::Live(sources) = self else { return Ok(InterfaceNames::default()) };
        let mut names: Vec<(u32, String)> =
            sources.iter().map(|source| (source.index(), source.interface().to_owned())).collect();
        names.sort();
        names.dedup();
        let names: Vec<String> = names.into_iter().map(|(_, name)| name).collect();
        let more = if names.iter().any(|name| name == "any") { MOST_INTERFACES } else { 0 };
        let names = InterfaceNames::new(names, more);
        sources.iter_mut().try_for_each(|source| source.name_interfaces(&names))?;
        Ok(names)
    }

    /// The packet sockets: frames are received on them, and none may be sent.
    pub(super) fn packet_sockets(&self) -> Vec<RawFd> {
        match self {
            Self::Files(_) => Vec::new(),
            Self::Live(sources) => sources.iter().map(|source| source.as_fd().as_raw_fd()).collect(),
        }
    }
}
