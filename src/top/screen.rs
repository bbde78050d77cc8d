//! The screen: the terminal in which picotap was started, taken and given back as it was.

use std::fs::File;
use std::io::{self, IsTerminal, Stdout, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::{Pid, getpgrp, tcgetpgrp};
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::style::ResetColor;
use ratatui::crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, window_size};
use ratatui::crossterm::{execute, queue};
use ratatui::layout::Rect;
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};
use thiserror::Error;

/// How long another thread waits for one that draws, before it gives the terminal back all the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why there is no screen.
#[derive(Debug, Error)]
pub enum ScreenError {
    /// Standard output goes elsewhere.
    #[error("top: standard output is no terminal: needed one to draw on (picotap without top prints lines)")]
    NoTerminal,
    /// Nothing can be typed.
    #[error("top: there is no terminal to read keys from: {0}")]
    NoKeys(io::Error),
    /// It is one that cannot do what is needed.
    #[error("top: TERM is \"dumb\": needed a terminal that can move its cursor")]
    Dumb,
}

/// The terminal. Clones share it. It is given back when the last of them is dropped, if it was not before.
#[derive(Debug, Clone)]
pub struct Screen(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Where keys come from.
    keys: OwnedFd,
    /// The process group, which a shell puts into the foreground and into the background.
    group: Pid,
    drawing: Mutex<Drawing>,
    /// Whether it is given back for good.
    left: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Drawing {
    /// Its modes before it was taken; none while it is not.
    before: Option<Termios>,
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Checks that there is a terminal, which stays as it is until [`enter`](Self::enter).
    ///
    /// # Errors
    /// See [`ScreenError`].
    pub fn new() -> Result<Self, ScreenError> {
        if !io::stdout().is_terminal() {
            return Err(ScreenError::NoTerminal);
        }
        if std::env::var_os("TERM").is_some_and(|name| name == "dumb") {
            return Err(ScreenError::Dumb);
        }
        // Standard input may be the capture file.
        let keys = match io::stdin().is_terminal() {
            true => io::stdin().as_fd().try_clone_to_owned(),
            false => File::options().read(true).write(true).open("/dev/tty").map(OwnedFd::from),
        };
        let keys = keys.map_err(ScreenError::NoKeys)?;
        let terminal = terminal((0, 0)).map_err(ScreenError::NoKeys)?;
        let drawing = Mutex::new(Drawing { before: None, terminal });
        Ok(Self(Arc::new(Shared { keys, group: getpgrp(), drawing, left: Arc::default() })))
    }

    /// Whether the terminal is for this process: not while the shell has it, which has put the process into the background.
    pub(super) fn is_in_foreground(&self) -> bool {
        // One that no shell controls has no foreground.
        tcgetpgrp(&self.0.keys).map_or(true, |group| group == self.0.group)
    }

    /// Whether the terminal was given back for good: from then on a signal may end the process at once.
    #[must_use]
    pub fn left(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0.left)
    }

    /// Takes the terminal: keys come at once and unseen, and what was on the screen is kept aside.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn enter(&self) -> io::Result<()> {
        let Some(mut drawing) = self.0.lock() else { return Ok(()) };
        if self.0.left.load(Ordering::Acquire) {
            return Ok(());
        }
        let before = match drawing.before.take() {
            Some(before) => before,
            None => tcgetattr(&self.0.keys)?,
        };
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&self.0.keys, SetArg::TCSANOW, &raw)?;
        drawing.before = Some(before);
        execute!(io::stdout(), EnterAlternateScreen, Hide)
    }

    /// Gives the terminal back as it was.
    pub(super) fn leave(&self) {
        self.0.leave();
    }

    /// Gives the terminal back as it was, for good.
    pub fn leave_for_good(&self) {
        self.0.leave();
        self.0.left.store(true, Ordering::Release);
    }

    /// Its size: columns and rows.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn size() -> io::Result<(u16, u16)> {
        window_size().map(|size| (size.columns, size.rows))
    }

    /// Draws. `anew`: everything, whatever is on the screen.
    ///
    /// # Errors
    /// What the system says: the terminal is gone.
    pub(super) fn draw(&self, size: (u16, u16), anew: bool, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let Some(mut drawing) = self.0.lock() else { return Ok(()) };
        if drawing.before.is_none() {
            return Ok(());
        }
        if anew {
            // Its own way to clear asks the terminal where the cursor is, and waits for the answer.
            execute!(io::stdout(), Clear(ClearType::All))?;
            drawing.terminal = terminal(size)?;
        }
        drawing.terminal.draw(draw)?;
        Ok(())
    }

    /// Waits for a key. Whether there is one.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn wait(&self, time: Duration) -> io::Result<bool> {
        let mut polled = [PollFd::new(self.0.keys.as_fd(), PollFlags::POLLIN)];
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
        match poll(&mut polled, time) {
            // A signal: the caller looks at what it asks for.
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Ok(false),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let events = polled.first().and_then(PollFd::revents).unwrap_or(PollFlags::empty());
        // The library that reads keys would read the end over and over.
        match events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
            true => Err(io::ErrorKind::BrokenPipe.into()),
            false => Ok(events.contains(PollFlags::POLLIN)),
        }
    }
}

fn terminal((columns, rows): (u16, u16)) -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
    let viewport = Viewport::Fixed(Rect::new(0, 0, columns, rows));
    Terminal::with_options(CrosstermBackend::new(io::stdout()), TerminalOptions { viewport })
}

impl Shared {
    /// The right to draw; none if a thread that draws has been stuck for a while.
    fn lock(&self) -> Option<MutexGuard<'_, Drawing>> {
        const STEP: Duration = Duration::from_millis(10);
        for _ in 0..PATIENCE.as_millis() / STEP.as_millis() {
            match self.drawing.try_lock() {
                Ok(drawing) => return Some(drawing),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => thread::sleep(STEP),
            }
        }
        None
    }

    fn leave(&self) {
        // Stuck: the terminal takes nothing, so there is nothing to give back but its modes, which the thread has.
        let Some(mut drawing) = self.lock() else { return };
        let Some(before) = drawing.before.take() else { return };
        // A terminal that is gone takes nothing back.
        let mut out = io::stdout();
        let _gone = queue!(out, ResetColor, Show, LeaveAlternateScreen).and_then(|()| out.flush());
        let _gone = tcsetattr(&self.keys, SetArg::TCSANOW, &before);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.leave();
    }
}
