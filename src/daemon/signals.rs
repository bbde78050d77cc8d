//! Signals and what they ask for: a stop, a reload, or a print of the counters.

use std::io;
use std::thread::Builder;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};

use super::shutdown::Shutdown;

/// Exit code of a process that the second SIGINT or SIGTERM ends: as a shell reports one that died of SIGINT.
const ENDED_AT_ONCE: i32 = 130;

/// Takes SIGINT and SIGTERM from here on: the first requests a stop, the second ends the process at once.
///
/// # Errors
/// What the system says.
pub fn take_stop(shutdown: &Shutdown) -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, ENDED_AT_ONCE, shutdown.signal())?;
        flag::register_usize(signal, shutdown.number(), usize::try_from(signal).unwrap_or(0))?;
        flag::register(signal, shutdown.signal())?;
    }
    Ok(())
}

/// Takes SIGHUP and SIGUSR1 from here on, in a thread of its own, until the handle is closed. What it calls must not wait:
/// signals wait meanwhile.
///
/// # Errors
/// What the system says.
pub fn take_others(
    mut on_hangup: impl FnMut() + Send + 'static,
    mut on_user1: impl FnMut() + Send + 'static,
) -> io::Result<Handle> {
    let mut signals = Signals::new([SIGHUP, SIGUSR1])?;
    let handle = signals.handle();
    Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGHUP { on_hangup() } else { on_user1() }
        }
    })?;
    Ok(handle)
}
