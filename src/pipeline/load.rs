//! Loading a parser module: read, compiled and tested in a thread of its own, so that whoever waits for it hears a stop.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::run::{Config, Failure, ShadowModule};
use crate::daemon::shutdown::Shutdown;
use crate::sandbox::engine::{Engine, MAX_MODULE_BYTES, Parser};
use crate::sandbox::selftest::{SelfTestError, selftest};

/// How often the request to stop is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Stack of the thread: the compiler goes as deep as blocks are nested.
const STACK: usize = 8 << 20;

/// Reads a module file, or so much of it that it is seen to be too large.
///
/// # Errors
/// What the system says.
pub fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut wasm = Vec::new();
    File::open(path)?.take(MAX_MODULE_BYTES as u64 + 1).read_to_end(&mut wasm)?;
    Ok(wasm)
}

/// The parsers of a run.
#[derive(Debug)]
pub struct Parsers {
    /// The one in charge.
    pub parser: Arc<Parser>,
    /// A second one, and one in how many connections it sees.
    pub shadow: Option<(Arc<Parser>, u64)>,
}

/// Loads the parsers of a run. Nothing if a stop was asked for meanwhile.
///
/// # Errors
/// Why one of them is not taken.
pub fn parsers(
    engine: &Arc<Engine>,
    config: &Config,
    live: bool,
    shutdown: &Shutdown,
) -> Result<Option<Parsers>, Failure> {
    // The built-in parser passed its self-test when it was built: that is enough for a file, not for months.
    let test = live || config.guest.file.is_some();
    let Some(parser) = load(engine, config.guest.wasm.clone(), test, shutdown)? else { return Ok(None) };
    let Some(ShadowModule { wasm, sample }) = &config.shadow else { return Ok(Some(Parsers { parser, shadow: None })) };
    let second = load(engine, wasm.clone(), false, shutdown)?;
    Ok(second.map(|second| Parsers { parser, shadow: Some((second, *sample)) }))
}

/// Compiles a module, and with `test` lets it pass the self-test. Nothing if a stop was asked for before it was done: the
/// thread is left to itself then, and ends with the program.
///
/// # Errors
/// Why the parser is not taken.
pub fn load(
    engine: &Arc<Engine>,
    wasm: Vec<u8>,
    test: bool,
    shutdown: &Shutdown,
) -> Result<Option<Arc<Parser>>, Failure> {
    let (done, result) = bounded(1);
    let (engine, stop) = (Arc::clone(engine), shutdown.clone());
    let body = move || {
        let parser = engine.load(&wasm).map(Arc::new).map_err(Failure::Parser).and_then(|parser| {
            if test {
                selftest(&parser, &|| stop.asked())?;
            }
            Ok(parser)
        });
        // Whoever waited may have stopped.
        drop(done.send(parser));
    };
    let thread = Builder::new().name("load".into()).stack_size(STACK).spawn(body);
    let _left_to_itself = thread.map_err(|e| Failure::System("a thread cannot be started", e))?;
    loop {
        match result.recv_timeout(LOOK) {
            Ok(Err(Failure::SelfTest(SelfTestError::Stopped))) => return Ok(None),
            Ok(parser) => return parser.map(Some),
            Err(RecvTimeoutError::Timeout) if shutdown.asked() => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let defect = "it failed: this is a defect of picotap, please report it with the lines above";
                return Err(Failure::System("loading the parser", std::io::Error::other(defect)));
            }
        }
    }
}
