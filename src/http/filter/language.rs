//! Filters as they are written, taken apart. [`super`] has the grammar.

use std::ops::Range;

use super::comparison::{Comparison, SIGNS, Sign, Written};
use super::field::{self, Field};
use super::value::Row;

/// Bytes of a filter at the most.
const LONGEST: usize = 4096;
/// Brackets in brackets, and negations of negations, at the most.
const DEEPEST: u32 = 32;

/// Where words may stand, which are looked for in all texts of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// In a box that filters as it is typed.
    Taken,
    /// On a command line a word is a mistake.
    Refused,
}

#[derive(Debug, Clone)]
pub(super) enum Expr {
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    Compare(Comparison),
    /// In lower case.
    Word(String),
}

impl Expr {
    pub(super) fn holds(&self, row: &(impl Row + ?Sized)) -> bool {
        match self {
            Self::Compare(comparison) => comparison.holds(row),
            Self::All(all) => all.iter().all(|expr| expr.holds(row)),
            Self::Any(any) => any.iter().any(|expr| expr.holds(row)),
            Self::Not(expr) => !expr.holds(row),
            Self::Word(word) => row.has_word(word),
        }
    }

    /// Takes every field that is compared.
    pub(super) fn fields<'a>(&'a self, take: &mut impl FnMut(&'a Field)) {
        match self {
            Self::Compare(comparison) => take(&comparison.field),
            Self::All(all) | Self::Any(all) => all.iter().for_each(|expr| expr.fields(take)),
            Self::Not(expr) => expr.fields(take),
            Self::Word(_) => {}
        }
    }
}

/// A filter that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filter \"{filter}\": {wrong}")]
pub struct FilterError {
    /// The whole filter.
    pub filter: String,
    /// What is wrong, and what was needed.
    pub wrong: String,
    /// Where: bytes of the filter.
    pub place: Range<usize>,
}

/// A term that must hold together with others: what it says, and as it is written.
pub(super) type Term = (Expr, String);

/// One expression of terms that must all hold.
fn together(mut terms: Vec<Term>) -> Expr {
    match terms.len() {
        1 => terms.remove(0).0,
        _ => Expr::All(terms.into_iter().map(|(expr, _)| expr).collect()),
    }
}

/// Reads a filter: terms that must all hold, none if it is empty.
pub(super) fn read(text: &str, words: Words) -> Result<Vec<Term>, FilterError> {
    let mut parser = Parser { text, at: 0, words, depth: 0 };
    let fail = |(place, wrong): Fault| FilterError { filter: text.to_owned(), wrong, place };
    if text.len() > LONGEST {
        return Err(fail((0..text.len(), format!("it is longer than {LONGEST} bytes"))));
    }
    let terms = parser.any().map_err(fail)?;
    match parser.peek() {
        None => Ok(terms),
        Some(_) => Err(fail((parser.at..parser.at + 1, "a \")\" without its \"(\"".to_owned()))),
    }
}

/// The place, and what is wrong there.
type Fault = (Range<usize>, String);

struct Parser<'a> {
    text: &'a str,
    at: usize,
    words: Words,
    depth: u32,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next sign behind blanks.
    fn peek(&mut self) -> Option<char> {
        let rest = self.rest().trim_start();
        self.at = self.text.len() - rest.len();
        rest.chars().next()
    }

    fn take(&mut self, sign: &str) -> bool {
        let is_next = self.rest().starts_with(sign);
        self.at += if is_next { sign.len() } else { 0 };
        is_next
    }

    /// A word of the language, which ends where a blank or a bracket is.
    fn keyword(&mut self, word: &str) -> bool {
        self.peek();
        let end = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"' | '\'');
        let rest = self.rest();
        let next = rest.get(..rest.find(end).unwrap_or(rest.len())).unwrap_or_default();
        let is_next = next.eq_ignore_ascii_case(word);
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    /// Alternatives: the terms of the only one, or one term of all of them.
    fn any(&mut self) -> Result<Vec<Term>, Fault> {
        let start = self.at;
        let first = self.all()?;
        let mut any = Vec::new();
        while self.keyword("or") {
            let end = self.at;
            let next = self.all()?;
            if next.is_empty() {
                return Err((end - 2..end, "nothing stands behind \"or\"".to_owned()));
            }
            any.push(together(next));
        }
        if any.is_empty() {
            return Ok(first);
        }
        if first.is_empty() {
            return Err((start..self.at, "nothing stands before \"or\"".to_owned()));
        }
        any.insert(0, together(first));
        let written = self.text.get(start..self.at).unwrap_or_default().trim().to_owned();
        Ok(vec![(Expr::Any(any), written)])
    }

    /// What must hold together, up to "or", ")" or the end.
    fn all(&mut self) -> Result<Vec<Term>, Fault> {
        let mut all: Vec<Term> = Vec::new();
        // Where the last "and" stands, if nothing has come behind it.
        let mut and = None;
        loop {
            let ends = matches!(self.peek(), None | Some(')'));
            let here = self.at;
            let or = !ends && self.keyword("or");
            if ends || or {
                self.at = here;
                return match and {
                    Some(place) => Err((place, "nothing stands behind \"and\"".to_owned())),
                    None => Ok(all),
                };
            }
            if self.keyword("and") {
                if and.is_some() || all.is_empty() {
                    return Err((here..here + 3, "nothing stands before \"and\"".to_owned()));
                }
                and = Some(here..self.at);
                continue;
            }
            let expr = self.one()?;
            and = None;
            all.push((expr, self.text.get(here..self.at).unwrap_or_default().trim_end().to_owned()));
        }
    }

    fn one(&mut self) -> Result<Expr, Fault> {
        self.peek();
        let start = self.at;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err((start..start + 1, format!("more than {DEEPEST} brackets or negations in each other")));
        }
        let expr = if self.keyword("not") || self.take("!") || self.take("-") {
            if matches!(self.peek(), None | Some(')')) {
                return Err((start..self.at, "nothing stands behind this".to_owned()));
            }
            Expr::Not(Box::new(self.one()?))
        } else if self.take("(") {
            let terms = self.any()?;
            if terms.is_empty() {
                return Err((start..self.at, "nothing stands in these brackets".to_owned()));
            }
            self.peek();
            if !self.take(")") {
                return Err((start..start + 1, "a \"(\" without its \")\"".to_owned()));
            }
            together(terms)
        } else {
            self.term()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    /// A comparison, or a word.
    fn term(&mut self) -> Result<Expr, Fault> {
        let (start, rest) = (self.at, self.rest());
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let name = rest.get(..rest.find(|c| !is_part(c)).unwrap_or(rest.len())).unwrap_or_default();
        self.at += name.len();
        let end = self.at;
        self.peek();
        let next = SIGNS.iter().find(|(sign, _)| self.rest().starts_with(sign));
        // A colon belongs to the word before it.
        let Some((sign, meaning)) = next.filter(|(_, sign)| *sign != Sign::Has || self.at == end) else {
            self.at = start;
            return self.word();
        };
        let Some(field) = Field::of(name) else {
            if *meaning == Sign::Has && self.words == Words::Taken && !name.is_empty() {
                self.at = start;
                return self.word();
            }
            return Err((start..end.max(start + usize::from(name.is_empty())), unknown(name)));
        };
        self.at += sign.len();
        let (values, places) = self.values(*meaning)?;
        Comparison::new(field, name, *meaning, &values)
            .map(Expr::Compare)
            .map_err(|(value, wrong)| (places.get(value).cloned().unwrap_or(start..end), wrong))
    }

    fn values(&mut self, sign: Sign) -> Result<(Vec<Written>, Vec<Range<usize>>), Fault> {
        let (mut values, mut places) = (Vec::new(), Vec::new());
        loop {
            if sign != Sign::Has || !values.is_empty() {
                self.peek();
            }
            let start = self.at;
            let value = self.value(true)?;
            if value.text.is_empty() && !value.quoted {
                let next = self.rest().chars().next().map(char::len_utf8);
                let before = self.text.get(..start).and_then(|text| text.chars().next_back()).map_or(0, char::len_utf8);
                let place = next.map_or(start - before..start, |length| start..start + length);
                return Err((place, "a value is missing here".to_owned()));
            }
            values.push(value);
            places.push(start..self.at);
            let end = self.at;
            self.peek();
            if !self.take(",") {
                self.at = end;
                return Ok((values, places));
            }
        }
    }

    /// A value in quotes, or up to a blank, a bracket that was not opened in it, or (`list`) a comma.
    fn value(&mut self, list: bool) -> Result<Written, Fault> {
        let (start, rest) = (self.at, self.rest());
        let mut signs = rest.char_indices();
        if let Some((_, quote @ ('"' | '\''))) = signs.next() {
            let mut text = String::new();
            while let Some((at, sign)) = signs.next() {
                let behind = rest.get(at + 1..).and_then(|rest| rest.chars().next());
                match (sign, behind) {
                    ('\\', Some(escaped @ ('"' | '\\'))) if quote == '"' => {
                        text.push(escaped);
                        signs.next();
                    }
                    (sign, _) if sign == quote => {
                        self.at = start + at + 1;
                        return Ok(Written { text, quoted: true });
                    }
                    (sign, _) => text.push(sign),
                }
            }
            self.at = self.text.len();
            return Err((start..self.at, "the closing quote is missing".to_owned()));
        }
        let mut open = 0_u32;
        let ends = |(_, sign): &(usize, char)| match sign {
            '(' => {
                open += 1;
                false
            }
            ')' if open == 0 => true,
            ')' => {
                open -= 1;
                false
            }
            ',' => list,
            other => other.is_whitespace(),
        };
        let end = rest.char_indices().find(ends).map_or(rest.len(), |(at, _)| at);
        self.at = start + end;
        Ok(Written { text: rest.get(..end).unwrap_or_default().to_owned(), quoted: false })
    }

    fn word(&mut self) -> Result<Expr, Fault> {
        let start = self.at;
        let word = self.value(false)?;
        if self.words == Words::Refused {
            let hint = if word.text.eq_ignore_ascii_case("and") { "" } else { ", for example status=5xx" };
            let wrong = format!("\"{}\" is no comparison: needed FIELD=VALUE{hint}", word.text);
            return Err((start..self.at, wrong));
        }
        Ok(Expr::Word(word.text.to_lowercase()))
    }
}

/// What is said of a name that is no field.
fn unknown(name: &str) -> String {
    let near = |known: &&str| strsim::osa_distance(known, &name.to_ascii_lowercase()) <= 2;
    let names = field::ALL.iter().map(|(_, name)| *name).chain(field::ALIASES.iter().map(|(name, _)| *name));
    let meant = names.filter(|known| known.len() > 3).find(near).map(|known| format!(" (did you mean {known}?)"));
    format!("\"{name}\" is no field{}: needed {}", meant.unwrap_or_default(), field::listed())
}
