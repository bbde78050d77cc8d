//! Signals and what they ask for: a stop, a reload, or a print of the counters.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;

use nix::sys::signal::{Signal, raise};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGUSR1};
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

/// Takes SIGINT and SIGTERM as requests to stop, and SIGHUP, which says that the terminal is gone. A further one of the first
/// two ends the process at once if it is `allowed`: not while the terminal is taken.
///
/// # Errors
/// What the system says.
pub fn take_stop_in_terminal(shutdown: &Shutdown, allowed: &Arc<AtomicBool>) -> io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, ENDED_AT_ONCE, Arc::clone(allowed))?;
    }
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register_usize(signal, shutdown.number(), usize::try_from(signal).unwrap_or(0))?;
        flag::register(signal, shutdown.signal())?;
    }
    Ok(())
}

/// What a shell asks of a program in its terminal.
#[derive(Debug)]
pub struct JobControl {
    wait: Arc<AtomicBool>,
    go_on: Arc<AtomicBool>,
}

impl JobControl {
    /// Whether it was asked to wait in the background since the last call.
    #[must_use]
    pub fn is_to_wait(&self) -> bool {
        self.wait.swap(false, Ordering::Relaxed)
    }

    /// Whether it was told to go on since the last call.
    pub fn goes_on(&self) -> bool {
        self.go_on.swap(false, Ordering::Relaxed)
    }
}

/// Takes SIGTSTP, which would stop the process before the terminal is as it was, and SIGCONT.
///
/// # Errors
/// What the system says.
pub fn take_job_control() -> io::Result<JobControl> {
    let taken = JobControl { wait: Arc::default(), go_on: Arc::default() };
    flag::register(SIGTSTP, Arc::clone(&taken.wait))?;
    flag::register(SIGCONT, Arc::clone(&taken.go_on))?;
    Ok(taken)
}

/// Stops the whole process until it is told to go on.
pub fn wait_in_background() {
    // It takes no arguments that could be wrong.
    let _raised = raise(Signal::SIGSTOP);
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
