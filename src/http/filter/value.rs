//! What a field holds in one row: a transaction, a TLS connection, or what the page and `picotap top` show of them.

use std::borrow::Cow;
use std::net::IpAddr;

use super::field::Field;

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// Nothing: it is not known, or there is none.
    Absent,
    /// A number: of microseconds, bytes or whatever the field's [`Kind`](super::field::Kind) says.
    Number(i64),
    /// A text.
    Text(Cow<'a, [u8]>),
    /// Several texts; none is as [`Absent`](Self::Absent).
    Texts(Vec<Cow<'a, [u8]>>),
    /// An address, with its port if it has one.
    Address(IpAddr, Option<u16>),
}

impl<'a> Value<'a> {
    /// A text, if there is one.
    pub(crate) fn text(text: Option<&'a [u8]>) -> Self {
        text.map_or(Self::Absent, |text| Self::Text(Cow::Borrowed(text)))
    }

    /// The same of one that is UTF-8.
    pub(crate) fn str(text: Option<&'a str>) -> Self {
        Self::text(text.map(str::as_bytes))
    }

    /// A number, if there is one; what no number of a capture reaches is the greatest.
    pub(crate) fn number(number: Option<impl TryInto<i64>>) -> Self {
        number.map_or(Self::Absent, |number| Self::Number(number.try_into().unwrap_or(i64::MAX)))
    }

    /// `true` or `false`.
    pub(crate) fn truth(truth: Option<bool>) -> Self {
        Self::str(truth.map(|truth| if truth { "true" } else { "false" }))
    }
}

/// A row that filters are for.
pub trait Row {
    /// What a field holds.
    fn value(&self, field: &Field) -> Value<'_>;

    /// Whether one of its texts has this, which is in lower case, in whatever case.
    fn has_word(&self, word: &str) -> bool;
}
