//! A route is a path with its variable segments named: `/users/123` counts as `/users/{n}`.
//!
//! The segments of a path are what stands between its slashes. Those given with `--route` come first: the first that matches
//! the whole path is its route. Otherwise each segment is judged for itself:
//!
//! | segment | becomes |
//! |---|---|
//! | digits only | `{n}` |
//! | 8-4-4-4-12 hexadecimal digits | `{uuid}` |
//! | a date: 4, 2 and 2 digits with `-` between | `{date}` |
//! | 8 or more hexadecimal digits, at least one of them 0 to 9 | `{hex}` |
//! | 16 or more letters and digits in a row, at least one of them a digit | `{token}` |
//! | longer than 64 bytes | `{token}` |
//! | one of these and an extension: a dot, a letter, and at most 4 letters or digits | the same with the extension: `{n}.json` |
//! | anything else | itself |
//!
//! After 12 segments the rest of the path is `{rest}`. So a route has at most 850 bytes. Case and percent-encoding are as sent.

use std::ops::Range;
use std::str::FromStr;

/// Segments that a route has at the most, beside `{rest}`; those of `--route` may have more.
const MAX_SEGMENTS: usize = 12;
/// Bytes of a segment that may stand for itself.
const MAX_LITERAL: usize = 64;
/// Bytes of an extension, without its dot.
const MAX_EXTENSION: usize = 5;
/// Bytes of a route that is given.
const MAX_GIVEN: usize = 850;

/// A segment of a route that is given.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// These bytes.
    Literal(Box<[u8]>),
    /// Any one segment that is not empty.
    Any,
}

/// A route that is given: `/users/{id}/orders`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    text: Box<str>,
    segments: Box<[Segment]>,
}

/// A route that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RouteError {
    /// It does not begin with a slash.
    #[error("route \"{0}\" does not begin with a slash: needed a path such as /users/{{id}}")]
    NoSlash(String),
    /// It has a query or a fragment, which no path has.
    #[error("route \"{0}\" has a ? or #: a route is a path, without query")]
    Query(String),
    /// A brace where none may be.
    #[error(
        "route \"{route}\" has segment \"{segment}\": {{name}} stands for a whole segment, its name letters, digits, _ and -"
    )]
    Segment {
        /// The whole route.
        route: String,
        /// The segment.
        segment: String,
    },
    /// It is too long.
    #[error("route \"{0}\" is longer than {MAX_GIVEN} bytes")]
    Long(String),
}

impl FromStr for Route {
    type Err = RouteError;

    fn from_str(text: &str) -> Result<Self, RouteError> {
        let path = text.strip_prefix('/').ok_or_else(|| RouteError::NoSlash(text.to_owned()))?;
        if text.len() > MAX_GIVEN {
            return Err(RouteError::Long(text.to_owned()));
        }
        if text.contains(['?', '#']) {
            return Err(RouteError::Query(text.to_owned()));
        }
        let segment = |segment: &str| match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) if is_name(name) => Ok(Segment::Any),
            None if !segment.contains(['{', '}']) => Ok(Segment::Literal(segment.as_bytes().into())),
            _ => Err(RouteError::Segment { route: text.to_owned(), segment: segment.to_owned() }),
        };
        Ok(Self { text: text.into(), segments: path.split('/').map(segment).collect::<Result<_, _>>()? })
    }
}

impl Route {
    /// Whether it is the route of this path, which begins with a slash.
    fn fits(&self, path: &[u8]) -> bool {
        let mut given = self.segments.iter();
        let fits = |segment: &[u8]| match given.next() {
            Some(Segment::Any) => !segment.is_empty(),
            Some(Segment::Literal(literal)) => **literal == *segment,
            None => false,
        };
        let all = path.strip_prefix(b"/").is_some_and(|path| segments(path).all(fits));
        all && given.next().is_none()
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// The routes of paths: those given, and the rule for all others.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    given: Vec<Route>,
}

impl Routes {
    /// These come first, in this order.
    #[must_use]
    pub const fn new(given: Vec<Route>) -> Self {
        Self { given }
    }

    /// Appends the route of a path to the text that the path stands in, and says where the route is: where the path is, if that
    /// is its own route. `target`: where the path stands; its query may follow it.
    pub(crate) fn append(&self, text: &mut Vec<u8>, target: Range<usize>) -> Range<usize> {
        let route = text.len();
        if let Some(given) = self.given(text.get(target.clone()).unwrap_or_default()) {
            text.extend_from_slice(given.text.as_bytes());
            return route..text.len();
        }
        // Where the bytes begin that are not copied yet, and the segment.
        let (mut rest, mut start) = (target.start, target.start);
        // `*` of OPTIONS, and what no client should send, begins without a slash.
        let mut segments = usize::from(text.get(start).is_some_and(|first| *first != b'/'));
        while let Some(left) = text.get(start..target.end) {
            if segments > MAX_SEGMENTS {
                text.extend_from_within(rest..start);
                text.extend_from_slice(b"{rest}");
                return route..text.len();
            }
            let (segment, kinds) = first_segment(left);
            let end = start + segment.len();
            let more = left.get(segment.len()) == Some(&b'/');
            if let Some((name, extension)) = stands_for(segment, kinds) {
                text.extend_from_within(rest..start);
                text.extend_from_slice(name);
                rest = end - extension;
            }
            start = end;
            if !more {
                break;
            }
            (start, segments) = (end + 1, segments + 1);
        }
        if text.len() == route {
            return target.start..start;
        }
        text.extend_from_within(rest..start);
        route..text.len()
    }

    fn given(&self, target: &[u8]) -> Option<&Route> {
        if self.given.is_empty() {
            return None;
        }
        let path = target.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
        self.given.iter().find(|given| given.fits(path))
    }
}

fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

/// Kinds of bytes: those that end a segment, digits, and all others.
const END: u8 = 1;
const DIGIT: u8 = 2;
const OTHER: u8 = 4;

/// The kind of each byte.
#[expect(clippy::indexing_slicing, reason = "evaluated at compile time, where an index beyond the end is an error")]
static KINDS: [u8; 256] = {
    let mut kinds = [OTHER; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        let kind = match byte {
            b'/' | b'?' | b'#' => END,
            b'0'..=b'9' => DIGIT,
            _ => OTHER,
        };
        kinds[byte as usize] = kind;
        byte += 1;
    }
    kinds
};

/// What stands before the next slash, query or fragment, and which kinds of bytes it has.
fn first_segment(path: &[u8]) -> (&[u8], u8) {
    let (mut len, mut kinds) = (0, 0);
    for byte in path {
        let kind = KINDS.get(usize::from(*byte)).copied().unwrap_or(OTHER);
        if kind == END {
            break;
        }
        (len, kinds) = (len + 1, kinds | kind);
    }
    (path.get(..len).unwrap_or(path), kinds)
}

/// What a segment with these kinds of bytes stands for, and length of the extension that it keeps; `None` for itself.
fn stands_for(segment: &[u8], kinds: u8) -> Option<(&'static [u8], usize)> {
    // Most segments are words or numbers, which this tells from all that the rule names but for long ones.
    if kinds & DIGIT == 0 && segment.len() <= MAX_LITERAL {
        return None;
    }
    if kinds == DIGIT {
        return Some((b"{n}", 0));
    }
    if let Some(name) = name(segment) {
        return Some((name, 0));
    }
    let dot = segment.iter().rposition(|byte| *byte == b'.').unwrap_or(segment.len());
    let (stem, extension) = segment.split_at(dot);
    if is_extension(extension)
        && let Some(name) = name(stem)
    {
        return Some((name, extension.len()));
    }
    (segment.len() > MAX_LITERAL).then_some((b"{token}", 0))
}

/// What a segment stands for by itself.
fn name(segment: &[u8]) -> Option<&'static [u8]> {
    const DATE: &[u8] = b"0000-00-00";
    let digits = segment.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let is_hex = || segment.iter().all(u8::is_ascii_hexdigit);
    match segment.len() {
        len if len == digits => Some(b"{n}"),
        len if len >= 8 && is_hex() => Some(b"{hex}"),
        36 if is_uuid(segment) => Some(b"{uuid}"),
        10 if digits == 8 && segment.iter().zip(DATE).all(|(byte, like)| (*byte == b'-') == (*like == b'-')) => {
            Some(b"{date}")
        }
        len if len >= 16 && has_token(segment) => Some(b"{token}"),
        _ => None,
    }
}

fn is_uuid(segment: &[u8]) -> bool {
    segment.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

fn has_token(segment: &[u8]) -> bool {
    segment.split(|byte| !byte.is_ascii_alphanumeric()).any(|run| run.len() >= 16 && run.iter().any(u8::is_ascii_digit))
}

/// Whether this, with its dot, is an extension.
fn is_extension(text: &[u8]) -> bool {
    match text {
        [b'.', first, rest @ ..] => {
            first.is_ascii_alphabetic() && rest.len() < MAX_EXTENSION && rest.iter().all(u8::is_ascii_alphanumeric)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(given: &[&str], path: &str) -> String {
        let routes = Routes::new(given.iter().map(|text| text.parse().unwrap()).collect());
        let mut text = format!("GET{path}?a=/1/#/2 HTTP").into_bytes();
        let range = routes.append(&mut text, 3..3 + path.len() + 8);
        String::from_utf8(text[range].to_vec()).unwrap()
    }

    #[test]
    fn each_row_of_the_table() {
        let long = "a".repeat(65);
        let twelve = "/a".repeat(12);
        for (path, wanted) in [
            ("/", "/"),
            ("*", "*"),
            ("", ""),
            ("users/1", "users/{n}"),
            ("/users", "/users"),
            ("/users/", "/users/"),
            ("/users/123/orders/0", "/users/{n}/orders/{n}"),
            ("/v2/users//1", "/v2/users//{n}"),
            ("/9f3c2A41", "/{hex}"),
            ("/9f3c2a4", "/9f3c2a4"),
            ("/deadbeef/facade00", "/deadbeef/{hex}"),
            ("/123e4567-e89b-12d3-a456-426614174000", "/{uuid}"),
            ("/123e4567-e89b-12d3-a456-42661417400g", "/123e4567-e89b-12d3-a456-42661417400g"),
            ("/2026-11-26", "/{date}"),
            ("/2026-11-2x/20-6-11-26", "/2026-11-2x/20-6-11-26"),
            ("/eyJhbGciOiJIUzI1NiJ9.e30.abc-def", "/{token}"),
            ("/abcdefghijklmnop/abcdefghijklmno1", "/abcdefghijklmnop/{token}"),
            ("/how-to-write-a-page-in-2026", "/how-to-write-a-page-in-2026"),
            ("/img/17.png", "/img/{n}.png"),
            ("/img/17.tar.gz", "/img/17.tar.gz"),
            ("/img/17.", "/img/17."),
            ("/1.5", "/1.5"),
            ("/main.9f3c2a41.js", "/main.9f3c2a41.js"),
            (&format!("/{long}"), "/{token}"),
            (&twelve, &twelve),
            (&format!("{twelve}/1/2"), &format!("{twelve}/{{rest}}")),
        ] {
            assert_eq!(route(&[], path), wanted, "{path}");
        }
    }

    #[test]
    fn a_route_that_is_given_comes_first() {
        let given = ["/users/me", "/users/{id}", "/{any}/{of}/x", "/"];
        for (path, wanted) in [
            ("/users/me", "/users/me"),
            ("/users/1", "/users/{id}"),
            ("/users/", "/users/"),
            ("/users/1/", "/users/{n}/"),
            ("/users/1/x", "/{any}/{of}/x"),
            ("/", "/"),
            ("/users", "/users"),
        ] {
            assert_eq!(route(&given, path), wanted, "{path}");
        }
    }

    #[test]
    fn a_route_that_cannot_be_read_says_why() {
        let error = |text: &str| text.parse::<Route>().unwrap_err().to_string();
        assert!(error("users/{id}").contains("does not begin with a slash"));
        assert!(error("/users?id={id}").contains("without query"));
        for text in ["/users/x{id}", "/users/{}", "/{a b}", "/}"] {
            assert!(error(text).contains("stands for a whole segment"), "{text}");
        }
        assert!(error(&"/a".repeat(500)).contains("longer than 850 bytes"));
    }

    proptest! {
        #[test]
        fn routes_are_short_and_have_as_many_segments(path in "(/[-a-f0-9.{}%A-Z]{0,70}){0,20}") {
            let out = route(&[], &path);
            prop_assert!(out.len() <= MAX_GIVEN);
            prop_assert_eq!(out.split('/').count(), path.split('/').count().min(MAX_SEGMENTS + 2));
        }

        #[test]
        fn a_route_is_its_own_route(path in "(/([a-z]{1,9}|[0-9]{1,9}|[a-f0-9]{8,40})(\\.html)?){1,12}") {
            let once = route(&[], &path);
            prop_assert_eq!(route(&[], &once), once);
        }
    }
}
