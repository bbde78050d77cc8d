//! Loading of parser modules. One is compiled and tested in a thread of its own, so that the caller can stop waiting for it.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use thiserror::Error;

use super::run::{Config, Failure};
use crate::daemon::shutdown::Shutdown;
use crate::sandbox::engine::{Engine, LoadError, MAX_MODULE_BYTES, Parser};
use crate::sandbox::protocol::Protocol;
use crate::sandbox::selftest::{SelfTestError, selftest};

/// Time between two checks of the request to stop.
const CHECK_EVERY: Duration = Duration::from_millis(20);
/// Stack of the thread: the compiler's recursion is as deep as blocks are nested.
const STACK: usize = 8 << 20;

/// Reads a module file, but not more of it than shows that it is too large.
///
/// # Errors
/// If it cannot be opened or read.
pub fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut wasm = Vec::new();
    File::open(path)?.take(MAX_MODULE_BYTES as u64 + 1).read_to_end(&mut wasm)?;
    Ok(wasm)
}

/// Why a parser is not taken.
#[derive(Debug, Error)]
pub enum Refusal {
    /// It is no module that can be run here.
    #[error("{0}")]
    Load(#[from] LoadError),
    /// It does not pass its self-test.
    #[error("{0}")]
    SelfTest(#[from] SelfTestError),
    /// It is for another protocol than the one that it is given for.
    #[error(
        "it parses {had} and is given for {needed}: needed a module whose pico_protocol is {needed}, or --guest {had}=FILE"
    )]
    Protocol {
        /// The protocol that it is given for.
        needed: Protocol,
        /// Its own.
        had: Protocol,
    },
    /// It is to be compared with a parser that there is not.
    #[error("it parses {0}, and there is no parser for {0} to compare it with: needed --guest {0}=FILE")]
    NotInUse(Protocol),
    /// The system refuses something.
    #[error("{0}: {1}")]
    System(&'static str, std::io::Error),
}

/// The parsers of a run.
#[derive(Debug)]
pub struct Parsers {
    /// Those in charge, one for each protocol. Connections start with the first.
    pub parsers: Vec<Arc<Parser>>,
    /// A second one for one of these protocols.
    pub second: Option<Second>,
}

/// A second parser, and what it is compared with.
#[derive(Debug)]
pub struct Second {
    /// Its protocol.
    pub protocol: Protocol,
    /// The parsers in charge, with this one in the place of the one for its protocol.
    pub parsers: Vec<Arc<Parser>>,
    /// It sees one in so many connections.
    pub sample: u64,
}

/// Loads the parsers of a run. Nothing if a stop is requested meanwhile.
///
/// # Errors
/// Why one of them is refused.
pub fn parsers(
    engine: &Arc<Engine>,
    config: &Config,
    live: bool,
    shutdown: &Shutdown,
) -> Result<Option<Parsers>, Failure> {
    let mut parsers = Vec::new();
    for module in config.guests.iter() {
        // The built-in parser passed its self-test when it was built: that is enough for a file, not for months.
        let test = live || module.file.is_some();
        let loaded = load(engine, module.wasm.clone(), Some(module.protocol), test, shutdown);
        let refused = |cause| Failure::Parser { parser: module.to_string(), cause };
        let Some(parser) = loaded.map_err(refused)? else { return Ok(None) };
        parsers.push(parser);
    }
    let Some(module) = &config.shadow else { return Ok(Some(Parsers { parsers, second: None })) };
    let refused = |cause| Failure::Parser { parser: module.to_string(), cause };
    let loaded = load(engine, module.wasm.clone(), None, false, shutdown).map_err(refused)?;
    let Some(second) = loaded else { return Ok(None) };
    let second = beside(&parsers, second, module.sample).map_err(refused)?;
    Ok(Some(Parsers { parsers, second: Some(second) }))
}

/// The set of parsers in which `second` is the one for its protocol.
fn beside(parsers: &[Arc<Parser>], second: Arc<Parser>, sample: u64) -> Result<Second, Refusal> {
    let protocol = second.format.protocol;
    let mut parsers = parsers.to_vec();
    let first = parsers.iter_mut().find(|parser| parser.format.protocol == protocol);
    *first.ok_or(Refusal::NotInUse(protocol))? = second;
    Ok(Second { protocol, parsers, sample })
}

/// Compiles a module, checks that it is for `protocol`, if one is given, and with `test` lets it pass the self-test. Nothing if
/// a stop was asked for before it was done: the thread is left to itself then, and ends with the program.
///
/// # Errors
/// Why the parser is refused.
pub fn load(
    engine: &Arc<Engine>,
    wasm: Vec<u8>,
    protocol: Option<Protocol>,
    test: bool,
    shutdown: &Shutdown,
) -> Result<Option<Arc<Parser>>, Refusal> {
    let (done, result) = bounded(1);
    let (engine, stop) = (Arc::clone(engine), shutdown.clone());
    let body = move || {
        // The caller may have stopped waiting.
        drop(done.send(checked(&engine, &wasm, protocol, test, &|| stop.asked())));
    };
    let thread = Builder::new().name("load".into()).stack_size(STACK).spawn(body);
    let _abandoned = thread.map_err(|e| Refusal::System("a thread cannot be started", e))?;
    loop {
        match result.recv_timeout(CHECK_EVERY) {
            Ok(Err(Refusal::SelfTest(SelfTestError::Stopped))) => return Ok(None),
            Ok(parser) => return parser.map(Some),
            Err(RecvTimeoutError::Timeout) if shutdown.asked() => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let defect = "it failed: this is a defect of picotap, please report it with the lines above";
                return Err(Refusal::System("loading the parser", std::io::Error::other(defect)));
            }
        }
    }
}

fn checked(
    engine: &Engine,
    wasm: &[u8],
    protocol: Option<Protocol>,
    test: bool,
    stop: &dyn Fn() -> bool,
) -> Result<Arc<Parser>, Refusal> {
    let parser = Arc::new(engine.load(wasm)?);
    let had = parser.format.protocol;
    if let Some(needed) = protocol.filter(|needed| *needed != had) {
        return Err(Refusal::Protocol { needed, had });
    }
    if test {
        selftest(&parser, stop)?;
    }
    Ok(parser)
}
