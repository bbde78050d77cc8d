//! The thread that shows the model of a run, and takes keys.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::crossterm::style::force_color_output;

use super::draw::draw;
use super::keys::Request;
use super::notices::Notices;
use super::screen::Screen;
use super::state::State;
use crate::clock::now;
use crate::daemon::shutdown::{Shutdown, Why};
use crate::daemon::signals::{self, JobControl};
use crate::view::Snapshot;

/// Time between two snapshots.
const EVERY: Duration = Duration::from_secs(1);
/// Time between two looks at signals and the size of the terminal.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the thread may take to leave once it is to: a terminal that takes nothing keeps it for ever.
const PATIENCE: Duration = Duration::from_secs(2);
/// Messages that are shown.
const NOTICES: usize = 8;

/// Where a run is shown.
#[derive(Debug, Clone)]
pub struct Display {
    /// The terminal.
    pub screen: Screen,
    /// What is printed meanwhile.
    pub notices: Notices,
    /// Whether colours are used.
    pub colour: bool,
}

/// The thread that shows a run.
#[derive(Debug)]
pub struct Top {
    thread: JoinHandle<()>,
    ended: Arc<AtomicBool>,
    leave: Arc<AtomicBool>,
    shutdown: Shutdown,
}

impl Top {
    /// Takes the terminal and starts the thread. A person who leaves asks for the run to stop.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(
        display: &Display,
        snapshot: impl Fn() -> Snapshot + Send + 'static,
        shutdown: &Shutdown,
    ) -> io::Result<Self> {
        let (ended, leave) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let show = Show {
            display: display.clone(),
            snapshot: Box::new(snapshot),
            job_control: signals::take_job_control()?,
            ended: Arc::clone(&ended),
            leave: Arc::clone(&leave),
            shutdown: shutdown.clone(),
        };
        // The library heeds NO_COLOR by itself, which --color always overrides.
        force_color_output(display.colour);
        display.screen.enter()?;
        let thread = Builder::new().name("top".into()).spawn(move || {
            // Whatever happens to the thread, the terminal is given back and the run ends.
            let _leave = Leave { screen: show.display.screen.clone(), shutdown: show.shutdown.clone() };
            // A terminal that is gone is left, as one that is not wanted any more.
            let _gone = show.run();
        })?;
        Ok(Self { thread, ended, leave, shutdown: shutdown.clone() })
    }

    /// Everything is counted. If the result is to stay, waits until the person leaves or a signal asks for it. A panic of the
    /// thread has been printed by its hook.
    pub fn end(&self, stays: bool) {
        self.ended.store(true, Ordering::Release);
        self.leave.store(!stays, Ordering::Release);
        let mut since = None;
        while !self.thread.is_finished() {
            if (!stays || wants_end(&self.shutdown)) && since.get_or_insert_with(now).elapsed() > PATIENCE {
                return;
            }
            thread::sleep(LOOK_EVERY / 10);
        }
    }
}

/// Whether the screen is to be left: not when as much was captured as was asked for.
fn wants_end(shutdown: &Shutdown) -> bool {
    shutdown.is_urgent() || shutdown.why() == Some(Why::Closed)
}

struct Leave {
    screen: Screen,
    shutdown: Shutdown,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.screen.leave_for_good();
        self.shutdown.ask(Why::Signal);
    }
}

struct Show {
    display: Display,
    snapshot: Box<dyn Fn() -> Snapshot + Send>,
    job_control: JobControl,
    ended: Arc<AtomicBool>,
    leave: Arc<AtomicBool>,
    shutdown: Shutdown,
}

impl Show {
    fn run(&self) -> io::Result<()> {
        let screen = &self.display.screen;
        let mut state = State::new(self.display.colour);
        let (mut due, mut draws, mut anew, mut returns) = (now(), true, true, false);
        while !self.leave.load(Ordering::Acquire) && !wants_end(&self.shutdown) {
            if self.job_control.is_to_wait() {
                self.suspend();
                returns = true;
            }
            returns |= self.job_control.goes_on();
            if !screen.is_in_foreground() {
                // To read there, or to set modes, would stop the process.
                returns = true;
                thread::sleep(LOOK_EVERY);
                continue;
            }
            if std::mem::take(&mut returns) {
                // The shell has changed the terminal meanwhile.
                screen.enter()?;
                anew = true;
            }
            let ended = self.ended.load(Ordering::Acquire);
            if now() >= due || ended != state.ended {
                state.ended = ended;
                state.show(Arc::new((self.snapshot)()));
                state.notices = self.display.notices.last(NOTICES);
                due = now() + EVERY;
                draws = true;
            }
            let size = Screen::size()?;
            anew |= size != state.size;
            if draws || anew {
                state.resize(size);
                screen.draw(size, std::mem::take(&mut anew), |frame| draw(frame, &state))?;
                draws = false;
            }
            // What is typed may be for the shell, which has taken the terminal meanwhile.
            if screen.wait(LOOK_EVERY)? && screen.is_in_foreground() {
                draws = true;
                match self.keys(&mut state, &mut anew)? {
                    Request::Quit => return Ok(()),
                    Request::Suspend => {
                        self.suspend();
                        returns = true;
                    }
                    Request::Draw => {}
                }
            }
        }
        Ok(())
    }

    /// Takes the keys that have been typed. The first that is not only for the state is returned at once.
    fn keys(&self, state: &mut State, anew: &mut bool) -> io::Result<Request> {
        while event::poll(Duration::ZERO)? {
            let Event::Key(key) = event::read()? else { continue };
            *anew |= key.code == KeyCode::Char('l') && key.modifiers.contains(KeyModifiers::CONTROL);
            let request = state.key(key);
            if request != Request::Draw {
                return Ok(request);
            }
        }
        Ok(Request::Draw)
    }

    /// Waits in the background, with the terminal as it was.
    fn suspend(&self) {
        self.display.screen.leave();
        signals::wait_in_background();
        self.job_control.goes_on();
    }
}
