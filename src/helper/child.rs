//! What the helper process does: it confines itself, and then does its work until picotap closes its socket.

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::exit;
use std::sync::Arc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::SigSet;
use nix::unistd::{Pid, dup2_stdin, dup2_stdout, getppid};

use super::{Kind, MAX_MESSAGE, Needs, Sender, Work, receive};
use crate::clock::now;
use crate::daemon::privileges::{Narrowed, close_inherited, narrow};

/// Its name in lists of processes.
const NAME: &CStr = c"picotap-helper";
/// The most messages that are taken between two turns, so that work is done however many come.
const MESSAGES: usize = 256;
/// Exit code of an internal error (sysexits.h).
const EX_SOFTWARE: i32 = 70;

/// Does the work. Never returns: what the caller has on its stack is the other process's.
pub(super) fn run(socket: OwnedFd, works: Vec<Box<dyn Work>>, user: Option<&str>, parent: Pid) -> ! {
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let socket = Arc::new(socket);
        let sender = |kind| Sender { socket: Arc::clone(&socket), kind };
        match confine(&socket, &works, user, parent) {
            Ok(narrowed) => {
                let sign = if narrowed.missing.is_empty() && narrowed.calls.is_ok() { '+' } else { '?' };
                let sent = sender(Kind::Status).send(format!("{sign}{narrowed}").as_bytes());
                if sent {
                    work(&socket, works);
                }
            }
            // If it cannot be said, picotap says that the helper did not start.
            Err(error) => drop(sender(Kind::Status).send(format!("-{error}").as_bytes())),
        }
    }));
    // Without the destructors of the process that it was copied from, but with those of nothing else: it has nothing to write.
    exit(if ended.is_ok() { 0 } else { EX_SOFTWARE });
}

/// Gives up everything that the work does not need.
fn confine(
    socket: &OwnedFd,
    works: &[Box<dyn Work>],
    user: Option<&str>,
    parent: Pid,
) -> Result<Narrowed, Box<dyn std::error::Error>> {
    // A signal to all processes of a terminal or a service is for picotap, which ends the helper when it is done.
    SigSet::all().thread_block()?;
    prctl::set_name(NAME)?;
    let mut needs = Needs::default();
    for work in works {
        let Needs { capabilities, calls, descriptors } = work.needs();
        needs.capabilities.extend(capabilities);
        needs.calls.extend(calls);
        needs.descriptors.extend(descriptors);
    }
    needs.capabilities.sort_unstable_by_key(|capability| capability.index());
    needs.capabilities.dedup();
    needs.descriptors.push(socket.as_raw_fd());
    close_inherited(&needs.descriptors)?;
    // Whoever reads picotap's output waits for its end, not for the helper's.
    if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
    }
    let narrowed = narrow(user, &needs.capabilities, &needs.calls)?;
    // It ends with picotap from here on, unless picotap has ended by now.
    if getppid() == parent { Ok(narrowed) } else { Err("picotap has ended".into()) }
}

/// Works until the socket is closed.
fn work(socket: &Arc<OwnedFd>, works: Vec<Box<dyn Work>>) {
    let mut works: Vec<_> = works
        .into_iter()
        .map(|work| {
            let answers = Sender { socket: Arc::clone(socket), kind: work.kind() };
            (work, answers, now())
        })
        .collect();
    let mut buffer = [0; MAX_MESSAGE];
    loop {
        for (work, answers, due) in &mut works {
            if *due <= now() {
                *due = work.turn(now(), answers);
            }
        }
        let next = works.iter().map(|(_, _, due)| *due).min();
        let wait = next.map(|next| next.saturating_duration_since(now()));
        // A millisecond more than less: it does not turn without work.
        let timeout = wait.map(|wait| PollTimeout::try_from(wait.as_millis().saturating_add(1)));
        let timeout = timeout.unwrap_or(Ok(PollTimeout::NONE)).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => {}
            Err(_) => return,
        }
        for _ in 0..MESSAGES {
            let Ok(Some(message)) = receive(socket, &mut buffer) else { return };
            if let [kind, message @ ..] = message
                && let Some((work, answers, due)) = works.iter_mut().find(|(work, ..)| work.kind() as u8 == *kind)
            {
                work.message(message, now());
                *due = work.turn(now(), answers);
            }
            let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            if !matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1..)) {
                break;
            }
        }
    }
}
