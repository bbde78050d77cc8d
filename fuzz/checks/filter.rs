//! What must hold of any text as a filter: no panic, and errors that have a place in the text; what the command line takes the boxes take
//! too, and both mean the same; `not`, `and` and `or` are those of logic, whatever the row.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use picotap::http::filter::field::{Field, Kind};
use picotap::http::filter::{Filter, Row, Value};

/// A row whose fields follow from a number: each may be absent.
struct Any(u8);

const TEXTS: [&[u8]; 4] = [b"", b"/a/b?c=d", b"EXAMPLE.com:80", b"\xff\x00\xc3\xa9"];

impl Row for Any {
    fn value(&self, field: &Field) -> Value<'_> {
        let number = usize::from(self.0) + field.text().len();
        let text = TEXTS.get(number % 4).copied().unwrap_or_default();
        match field.kind() {
            _ if number.is_multiple_of(5) => Value::Absent,
            Kind::Flags => Value::Texts(vec![Cow::Borrowed(b"gap"), Cow::Borrowed(text)]),
            Kind::Text if number.is_multiple_of(3) => Value::Texts(vec![Cow::Borrowed(text), Cow::Borrowed(b"x")]),
            Kind::Text | Kind::Host | Kind::Version | Kind::Truth | Kind::Is => Value::Text(Cow::Borrowed(text)),
            Kind::Address => Value::Address(IpAddr::V4(Ipv4Addr::from(u32::from(self.0) << 24 | 1)), Some(80)),
            _ => Value::Number(i64::from(self.0) * 100 - 1),
        }
    }

    fn has_word(&self, word: &str) -> bool {
        word.len() % 2 == usize::from(self.0) % 2
    }
}

fn rows() -> impl Iterator<Item = Any> {
    (0..8).map(|number| Any(number * 31))
}

/// The input is the filter. One that is no UTF-8 is refused where arguments are read.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let typed = match Filter::typed(text) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(text.parse::<Filter>().is_err());
            assert!(error.place.start <= error.place.end && error.place.end <= text.len() + 1, "{:?}", error.place);
            assert!(!error.wrong.is_empty());
            return;
        }
    };
    let (all, none) = (typed.for_table(|_| true), typed.for_table(|_| false));
    assert!(all.1.is_empty() && (none.1.is_empty() == typed.fields().is_empty()));
    for row in rows() {
        let fits = typed.fits(&row);
        assert_eq!(all.0.fits(&row), fits);
        if let Ok(filter) = text.parse::<Filter>() {
            assert_eq!(filter.fits(&row), fits);
        }
        // What is too long or too deep with more around it is refused.
        for (form, wanted) in [
            (format!("not ({text})"), !fits),
            (format!("({text}) or ({text})"), fits),
            (format!("({text}) and not ({text})"), false),
        ] {
            if let (false, Ok(filter)) = (text.trim().is_empty(), Filter::typed(&form)) {
                assert_eq!(filter.fits(&row), wanted, "{form}");
            }
        }
    }
}
