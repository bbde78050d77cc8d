//! Loading of parser modules. One is compiled and tested in a thread of its own, so that the caller can stop waiting for it.

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

/// The parsers of a run.
#[derive(Debug)]
pub struct Parsers {
    /// The one in charge.
    pub parser: Arc<Parser>,
    /// A second one, and one in how many connections it sees.
    pub shadow: Option<(Arc<Parser>, u64)>,
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
    // The built-in parser passed its self-test when it was built: that is enough for files, not for a run of months.
    let test = live || config.guest.file.is_some();
    let Some(parser) = load(engine, config.guest.wasm.clone(), test, shutdown)? else { return Ok(None) };
    let Some(ShadowModule { wasm, sample }) = &config.shadow else { return Ok(Some(Parsers { parser, shadow: None })) };
    let second = load(engine, wasm.clone(), false, shutdown)?;
    Ok(second.map(|second| Parsers { parser, shadow: Some((second, *sample)) }))
}

/// Compiles a module and, with `test`, runs the self-test. Nothing if a stop is requested first: the thread is then abandoned,
/// and ends with the process.
///
/// # Errors
/// Why the parser is refused.
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
        // The caller may have stopped waiting.
        drop(done.send(parser));
    };
    let thread = Builder::new().name("load".into()).stack_size(STACK).spawn(body);
    let _abandoned = thread.map_err(|e| Failure::System("a thread cannot be started", e))?;
    loop {
        match result.recv_timeout(CHECK_EVERY) {
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
