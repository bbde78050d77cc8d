//! `picotap top`: the model of a run, shown in the terminal in which it was started.
//!
//! What is drawn is a function of the `State`, and so is what a key does; only [`Screen`] knows the terminal, and only
//! [`Notices`] standard error. A thread of its own shows both, since the others must not wait for a terminal.

mod colour;
mod column;
mod detail;
mod draw;
mod keys;
mod layout;
mod notices;
mod row;
mod screen;
mod show;
mod state;
mod text;
mod timeline;

pub use self::notices::Notices;
pub use self::screen::{Screen, ScreenError};
pub use self::show::{Display, Top};

#[cfg(test)]
mod tests;
