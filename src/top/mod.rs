//! `picotap top`: the model of a run, shown in the terminal in which it was started.
//!
//! [`draw`] is a function of the [`State`](state::State), and so is what a key does; the terminal itself is known only to
//! `terminal`.

mod colour;
mod column;
mod detail;
mod draw;
mod keys;
mod layout;
mod row;
mod state;
mod text;
mod timeline;

#[cfg(test)]
mod tests;
