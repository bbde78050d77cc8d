//! Filters of transactions on the command line: what is wrong with one is pointed at.

use unicode_width::UnicodeWidthStr;

use crate::http::filter::{Filter, FilterError};

/// Reads a filter.
///
/// # Errors
/// What is wrong, with two lines more: the filter, and marks below the wrong word.
pub(super) fn filter(text: &str) -> Result<Filter, String> {
    text.parse().map_err(|error: FilterError| {
        let (before, word) = (text.get(..error.place.start), text.get(error.place.clone()));
        match (before, word) {
            // Control characters would move the marks.
            (Some(before), Some(word)) if !text.is_empty() && !text.contains(char::is_control) => {
                format!("{error}\n  {text}\n  {}{}", " ".repeat(before.width()), "^".repeat(word.width().max(1)))
            }
            _ => error.to_string(),
        }
    })
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
            ("status>=500 or (hots~'^a' and not path=/x)", "                ^^^^"),
            ("status=5xx GET", "           ^^^"),
            ("path~'^/('", "     ^^^^^"),
            ("client=10.0.0.7,10.0.0.0/33", "                ^^^^^^^^^^^"),
            ("duration>20", "         ^^"),
            ("(status=200", "^"),
            ("status=200)", "          ^"),
            ("status=200 or", "           ^^"),
            ("flags=rset", "      ^^^^"),
            ("status", "^^^^^^"),
            ("host=", "    ^"),
            ("status=404, 4x4,4", "            ^^^"),
            ("status=404,4", "           ^"),
            ("version=1.1,3", "            ^"),
            ("method=GET , , POST", "             ^"),
            ("grpc_status=OK,lost", "               ^^^^"),
            ("h\u{f6}st=a", "^^^^"),
        ] {
            let said = filter(text).expect_err(text);
            assert!(said.ends_with(&format!("\n  {text}\n  {marks}")), "{said}");
        }
        for text in ["", "a\nb=c", "\u{1b}[0m=1"] {
            assert!(!filter(text).expect_err(text).contains('^'), "{text:?}");
        }
        assert!(filter("status=5xx,none").is_ok());
    }
}
