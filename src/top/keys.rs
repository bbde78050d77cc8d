//! What a key does: a function of the state.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::state::{List, Mode, PANES, State};

/// Characters of a filter at the most.
const MAX_FILTER: usize = 256;

/// What the program is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// Show the state.
    Draw,
    /// Stop the run and leave.
    Quit,
    /// Wait in the background until the shell says to go on.
    Suspend,
}

/// The keys and what they do, for the help.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("1 to 6, Tab, Shift-Tab", "show a pane"),
    ("up, down, j, k", "move the cursor"),
    ("PgUp, PgDn, Home, End", "move it by a page, to the first or last row"),
    ("Enter", "open: host > routes > transactions > all fields"),
    ("Esc, Backspace", "end the filter; go back to where it was opened"),
    ("s, >, <", "sort by the next, the next, the previous column"),
    ("r", "reverse the order"),
    ("/", "filter: words, host=api*, status>=500, or, not, ()"),
    ("p, Space", "pause the screen or go on; counting goes on"),
    ("Ctrl-L", "draw the screen anew"),
    ("Ctrl-Z", "wait in the background until fg"),
    ("?", "this list"),
    ("q, Ctrl-C", "leave"),
];

impl State {
    /// Takes a key.
    pub(super) fn key(&mut self, key: KeyEvent) -> Request {
        if key.kind == KeyEventKind::Release {
            return Request::Draw;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c') => return Request::Quit,
                KeyCode::Char('z') => return Request::Suspend,
                // Backspace, as some terminals send it.
                KeyCode::Char('h') => return self.plain_key(KeyCode::Backspace),
                KeyCode::Char('u') if self.mode == Mode::Filter => self.view_mut().edit(String::clear),
                _ => {}
            }
            self.settle();
            return Request::Draw;
        }
        self.plain_key(key.code)
    }

    fn plain_key(&mut self, code: KeyCode) -> Request {
        match self.mode {
            Mode::Help => {
                self.mode = Mode::Keys;
                return if code == KeyCode::Char('q') { Request::Quit } else { Request::Draw };
            }
            Mode::Filter => self.filter_key(code),
            Mode::Keys => return self.command(code),
        }
        Request::Draw
    }

    fn filter_key(&mut self, code: KeyCode) {
        let view = self.view_mut();
        match code {
            KeyCode::Enter => self.mode = Mode::Keys,
            KeyCode::Esc => {
                view.edit(String::clear);
                self.mode = Mode::Keys;
            }
            KeyCode::Backspace if view.filter.is_empty() => self.mode = Mode::Keys,
            KeyCode::Backspace => view.edit(|filter| {
                filter.pop();
            }),
            KeyCode::Char(character) if view.filter.chars().count() < MAX_FILTER => {
                view.edit(|filter| filter.push(character));
            }
            KeyCode::Up | KeyCode::Down | KeyCode::PageUp | KeyCode::PageDown | KeyCode::Home | KeyCode::End => {
                self.move_cursor(code);
                return;
            }
            _ => {}
        }
        self.select(0);
    }

    fn command(&mut self, code: KeyCode) -> Request {
        match code {
            KeyCode::Char('q') => return Request::Quit,
            KeyCode::Char('?') | KeyCode::F(1) => self.mode = Mode::Help,
            KeyCode::Char('/') if !matches!(self.view().list, List::Transaction(_)) => self.mode = Mode::Filter,
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Char('s' | '>') => self.sort_by_next(1),
            KeyCode::Char('<') => self.sort_by_next(-1),
            KeyCode::Char('r') => {
                let view = self.view_mut();
                view.descending = !view.descending;
                self.settle();
            }
            KeyCode::Char(digit @ '1'..='7') => {
                self.show_pane(usize::try_from(u32::from(digit) - u32::from('1')).unwrap_or(0));
            }
            KeyCode::Tab => self.show_pane((self.pane + 1) % PANES.len()),
            KeyCode::BackTab => self.show_pane((self.pane + PANES.len() - 1) % PANES.len()),
            KeyCode::Enter | KeyCode::Right => self.open(),
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => self.back(),
            other => self.move_cursor(other),
        }
        Request::Draw
    }

    fn move_cursor(&mut self, code: KeyCode) {
        let (selected, page) = (self.view().selected, self.page());
        let row = match code {
            KeyCode::Up | KeyCode::Char('k') => selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => selected + 1,
            KeyCode::PageUp => selected.saturating_sub(page),
            KeyCode::PageDown => selected + page,
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => usize::MAX,
            _ => return,
        };
        self.select(row);
    }
}
