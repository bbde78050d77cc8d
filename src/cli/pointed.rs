//! Filters of transactions on the command line: what is wrong with one is pointed at.

use unicode_width::UnicodeWidthStr;

use crate::http::filter::{Filter, FilterError};

/// Reads a filter.
///
/// # Errors
/// What is wrong; where it is one word, with two lines more: the filter, and marks below that word.
pub(super) fn filter(text: &str) -> Result<Filter, String> {
    text.parse().map_err(|error: FilterError| match place(text, &error) {
        // Control characters would move the marks.
        Some((before, word)) if !text.contains(char::is_control) => {
            format!("{error}\n  {text}\n  {}{}", " ".repeat(before.width()), "^".repeat(word.width().max(1)))
        }
        _ => error.to_string(),
    })
}

/// The wrong word, and what stands in front of it.
fn place<'a>(text: &'a str, error: &'a FilterError) -> Option<(&'a str, &'a str)> {
    let (word, from) = match error {
        FilterError::Key { key, .. } => (key, 0),
        FilterError::Status { status: word, .. }
        | FilterError::Version { version: word, .. }
        | FilterError::GrpcStatus { status: word, .. } => (word, text.find('=')? + 1),
        FilterError::NoSign(_) | FilterError::Empty(_) => return None,
    };
    let mut start = from;
    for part in text.get(from..)?.split([',', '=']) {
        if part.trim_end_matches('!').trim() == word {
            return Some((text.get(..start + (part.len() - part.trim_start().len()))?, word));
        }
        start += part.len() + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wrong_word_is_pointed_at() {
        for (text, marks) in [
            ("stauts=500", "^^^^^^"),
            (" stauts !=500", " ^^^^^^"),
            ("=500", "^"),
            ("status=404, 4x4,4", "            ^^^"),
            ("status=404,4", "           ^"),
            ("version=1.1,3", "            ^"),
            ("grpc_status=OK,lost", "               ^^^^"),
            ("h\u{f6}st=a", "^^^^"),
        ] {
            let said = filter(text).expect_err(text);
            assert!(said.ends_with(&format!("\n  {text}\n  {marks}")), "{said}");
        }
        for text in ["status", "host=", "a\nb=c", "\u{1b}[0m=1"] {
            assert_eq!(filter(text).expect_err(text).lines().count(), 1 + text.matches('\n').count(), "{text:?}");
        }
        assert!(filter("status=5xx,none").is_ok());
    }
}
