//! The thread of picotap's own process that takes what the helper says, and learns that it has ended.

use std::io;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::{Helper, Kind, MAX_MESSAGE, receive};

/// How often it is asked whether the helper has ended, and the time between.
const WAITS: u32 = 100;
const WAIT: Duration = Duration::from_millis(10);

/// Takes the messages of one kind, and at last that no more come.
pub type Taker = (Kind, Box<dyn FnMut(Option<&[u8]>) + Send>);

impl Helper {
    /// Starts the thread that takes what the helper says until it ends. `without`: what is missing from then on, for people.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn follow(self, mut takers: Vec<Taker>, without: String) -> io::Result<JoinHandle<()>> {
        Builder::new().name("helper".to_owned()).spawn(move || {
            let mut buffer = [0; MAX_MESSAGE];
            while let Ok(Some(message)) = receive(&self.socket, &mut buffer) {
                if let [kind, message @ ..] = message
                    && let Some((_, take)) = takers.iter_mut().find(|(of, _)| *of as u8 == *kind)
                {
                    take(Some(message));
                }
            }
            takers.iter_mut().for_each(|(_, take)| take(None));
            if self.stopping.load(Ordering::Acquire) {
                // It has nothing to do any more, and ends at once.
                end(self.child);
                return;
            }
            self.ended.fetch_add(1, Ordering::Relaxed);
            eprintln!(
                "picotap: the helper process ({}) {}: {without}; everything else goes on",
                self.child,
                how(self.child).unwrap_or_else(|| "is gone".to_owned())
            );
        })
    }
}

/// How it ended; none if it has not. It has closed its socket, or this process has, so it takes no time, unless the kernel holds it.
fn how(child: Pid) -> Option<String> {
    for _ in 0..WAITS {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, 0)) => return Some("ended".to_owned()),
            Ok(WaitStatus::Exited(_, code)) => return Some(format!("failed with exit code {code}")),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Some(format!("was ended by {signal}")),
            Err(Errno::EINTR) => {}
            Ok(_) => std::thread::sleep(WAIT),
            Err(_) => break,
        }
    }
    None
}

/// Sees to it that it has ended, and leaves no entry in the table of processes. Its socket is closed; if it does not notice, it is killed.
pub(super) fn end(child: Pid) {
    if how(child).is_none() && kill(child, Signal::SIGKILL).is_ok() {
        drop(how(child));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    #[test]
    #[expect(clippy::zombie_processes, reason = "it is waited for, by its number")]
    fn one_that_does_not_end_is_killed_and_one_that_has_leaves_nothing() {
        for command in [["sleep", "1000"], ["sleep", "0"]] {
            let child = Command::new(command[0]).arg(command[1]).spawn().expect("sleep");
            let child = Pid::from_raw(child.id().cast_signed());
            end(child);
            assert!(!Path::new(&format!("/proc/{child}")).exists(), "{command:?}");
        }
    }
}
