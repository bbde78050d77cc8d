//! Colours of the screen. Nothing depends on them alone: without colours, words and signs say the same.

use ratatui::style::{Color, Modifier, Style};

use super::row::{Field, Value};
use crate::view::Level;

/// Of titles.
pub(super) const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);
/// Of the row with the cursor.
pub(super) const CURSOR: Style = Style::new().add_modifier(Modifier::REVERSED);
/// Of what matters less.
pub(super) const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// A colour, if there are colours.
pub(super) fn colour(on: bool, colour: Color) -> Style {
    if on { Style::new().fg(colour) } else { Style::new() }
}

/// The style of a status.
pub(super) fn status(on: bool, status: Option<u16>, failed: bool) -> Style {
    match status {
        _ if failed => bad(on),
        Some(500..) => bad(on),
        Some(400..=499) => colour(on, Color::Yellow),
        Some(300..=399) => colour(on, Color::Cyan),
        Some(200..=299) => colour(on, Color::Green),
        _ => Style::new(),
    }
}

/// The style of what is wrong.
pub(super) fn bad(on: bool) -> Style {
    colour(on, Color::Red).add_modifier(Modifier::BOLD)
}

/// The style of a value in a column.
pub(super) fn value(on: bool, field: Field, value: &Value) -> Style {
    match (field, value) {
        (_, Value::Status(code, failed)) => status(on, *code, *failed),
        (_, Value::Level(Level::Warning)) => colour(on, Color::Yellow),
        (_, Value::Level(Level::Error)) => bad(on),
        (Field::Errors, Value::Tenths(1..)) => colour(on, Color::Red),
        (Field::ClientErrors, Value::Tenths(1..)) => colour(on, Color::Yellow),
        (Field::Method, _) => colour(on, Color::Cyan),
        _ => Style::new(),
    }
}
