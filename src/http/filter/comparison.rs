//! A comparison is a field, a sign and the values of which one must hold: `status>=500`, `host=*.example.com,localhost`.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::field::{Field, Kind};
use super::moment::moment;
use super::pattern::Pattern;
use super::value::{Row, Value};
use super::{without_port, without_user};
use crate::glob::Glob;
use crate::http::flags;
use crate::http::grpc::status_code;
use crate::http::network::Network;

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Is,
    IsNot,
    Below,
    AtMost,
    Above,
    AtLeast,
    Has,
    Fits,
    FitsNot,
}

/// The signs, longer ones first.
pub(super) const SIGNS: &[(&str, Sign)] = &[
    ("!=", Sign::IsNot),
    ("<=", Sign::AtMost),
    (">=", Sign::AtLeast),
    ("!~", Sign::FitsNot),
    ("=", Sign::Is),
    ("<", Sign::Below),
    (">", Sign::Above),
    (":", Sign::Has),
    ("~", Sign::Fits),
];

/// A value as it is written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) text: String,
    /// In quotes, `*` and `?` are themselves.
    pub(super) quoted: bool,
}

/// The greatest number that the page's language knows exactly.
const MOST: i64 = (1 << 53) - 1;

#[derive(Debug, Clone)]
pub(super) struct Comparison {
    pub(super) field: Field,
    negated: bool,
    test: Test,
}

/// What one value of the field must be.
#[derive(Debug, Clone)]
enum Test {
    Texts(Vec<Text>),
    Hosts(Vec<Text>),
    /// Has one of these, in lower case.
    Has(Vec<String>),
    Fits(Vec<Pattern>),
    /// Is in one of these; `None`: is not there.
    Numbers(Vec<Option<RangeInclusive<i64>>>),
    Networks(Vec<Network>),
}

#[derive(Debug, Clone)]
enum Text {
    Exact(Vec<u8>),
    Glob(Glob),
}

impl Text {
    fn new(written: &Written, lower: bool) -> Self {
        let text = if lower { written.text.to_ascii_lowercase() } else { written.text.clone() };
        let glob = !written.quoted && text.contains(['*', '?']);
        if glob { Self::Glob(Glob::new(text.as_bytes())) } else { Self::Exact(text.into_bytes()) }
    }

    fn fits(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact == text,
            Self::Glob(glob) => glob.fits(text),
        }
    }

    fn contains(&self, byte: u8) -> bool {
        match self {
            Self::Exact(exact) => exact.contains(&byte),
            Self::Glob(glob) => glob.contains(byte),
        }
    }

    /// Whether it is a host, in lower case, of which it takes only as much as it names itself.
    fn fits_host(&self, host: &[u8]) -> bool {
        let host = if self.contains(b'@') { host } else { without_user(host) };
        self.fits(if self.contains(b':') { host } else { without_port(host) })
    }
}

/// Why a value cannot be compared: the value's place among those written, and what was needed instead.
pub(super) type Wrong = (usize, String);

/// What each value says, or which one says nothing.
fn each<T>(written: &[Written], read: impl Fn(&Written) -> Result<T, String>) -> Result<Vec<T>, Wrong> {
    written.iter().enumerate().map(|(at, value)| read(value).map_err(|wrong| (at, wrong))).collect()
}

impl Comparison {
    /// `name`: the field's as it is written.
    ///
    /// # Errors
    /// What is wrong with which value.
    pub(super) fn new(field: Field, name: &str, sign: Sign, written: &[Written]) -> Result<Self, Wrong> {
        let kind = field.kind();
        let negated = matches!(sign, Sign::IsNot | Sign::FitsNot);
        // The full name of a time has its unit.
        let micros = kind == Kind::Time && name.to_ascii_lowercase().ends_with("_us");
        let one = |text: &str| match micros && is_digits(text) {
            true => plain(text),
            false => single(kind, text),
        };
        let test = match sign {
            Sign::Fits | Sign::FitsNot => {
                if kind == Kind::Moment {
                    return Err((0, "ts is a time and no text: needed =, <, <=, > or >=".to_owned()));
                }
                Test::Fits(each(written, |value| {
                    let pattern = Pattern::new(&value.text, kind == Kind::Host);
                    pattern.map_err(|wrong| format!("this is no regular expression: {wrong}"))
                })?)
            }
            Sign::Below | Sign::AtMost | Sign::Above | Sign::AtLeast => {
                let ([value], true) = (written, is_number(kind)) else {
                    let text = field.text();
                    return Err(match is_number(kind) {
                        true => (1, format!("{text} is compared with one value by <, <=, > and >=")),
                        false => (0, format!("{text} is a text and has no order: needed =, !=, :, ~ or !~")),
                    });
                };
                let range = number(kind, &one, value, false).map_err(|needed| (0, needed))?.unwrap_or(0..=0);
                Test::Numbers(vec![Some(match sign {
                    Sign::Below => i64::MIN..=range.start().saturating_sub(1),
                    Sign::AtMost => i64::MIN..=*range.end(),
                    Sign::Above => range.end().saturating_add(1)..=i64::MAX,
                    _ => *range.start()..=i64::MAX,
                })])
            }
            Sign::Is | Sign::IsNot | Sign::Has if is_number(kind) => {
                Test::Numbers(each(written, |value| number(kind, &one, value, true))?)
            }
            Sign::Has if kind != Kind::Is => Test::Has(written.iter().map(|value| value.text.to_lowercase()).collect()),
            _ if kind == Kind::Address => {
                const NEEDED: &str =
                    "needed one (10.0.0.7, ::1), one with a port (10.0.0.7:80, [::1]:80) or a network (10.0.0.0/8)";
                let network = |text: &str| Network::new(text).ok_or_else(|| format!("this is no address: {NEEDED}"));
                Test::Networks(each(written, |value| network(&value.text))?)
            }
            _ => {
                let lower = matches!(kind, Kind::Host | Kind::Flags | Kind::Truth | Kind::Is);
                let texts = each(written, |value| known(kind, value).map(|()| Text::new(value, lower)))?;
                if kind == Kind::Host { Test::Hosts(texts) } else { Test::Texts(texts) }
            }
        };
        Ok(Self { field, negated, test })
    }

    /// Whether it holds for a row.
    pub(super) fn holds(&self, row: &(impl Row + ?Sized)) -> bool {
        let holds = match row.value(&self.field) {
            Value::Absent => self.absent(),
            Value::Texts(texts) if texts.is_empty() => self.absent(),
            Value::Number(number) => self.number(number),
            Value::Text(text) => self.text(&text),
            Value::Texts(texts) => texts.iter().any(|text| self.text(text)),
            Value::Address(ip, port) => self.address(ip, port),
        };
        holds != self.negated
    }

    /// `none`, or an empty text.
    fn absent(&self) -> bool {
        match &self.test {
            Test::Numbers(ranges) => ranges.contains(&None),
            Test::Texts(texts) | Test::Hosts(texts) => {
                texts.iter().any(|text| matches!(text, Text::Exact(exact) if exact.is_empty()))
            }
            _ => false,
        }
    }

    fn number(&self, number: i64) -> bool {
        match &self.test {
            Test::Numbers(ranges) => ranges.iter().flatten().any(|range| range.contains(&number)),
            _ => self.text(number.to_string().as_bytes()),
        }
    }

    fn address(&self, ip: IpAddr, port: Option<u16>) -> bool {
        match &self.test {
            Test::Networks(networks) => networks.iter().any(|network| network.has(ip, port)),
            // Words are looked for in what is shown.
            Test::Has(_) => match port {
                Some(port) => self.text(SocketAddr::new(ip, port).to_string().as_bytes()),
                None => self.text(ip.to_string().as_bytes()),
            },
            _ => self.text(ip.to_string().as_bytes()),
        }
    }

    fn text(&self, text: &[u8]) -> bool {
        match &self.test {
            Test::Texts(texts) => texts.iter().any(|wanted| wanted.fits(text)),
            Test::Hosts(hosts) => {
                let host = text.to_ascii_lowercase();
                hosts.iter().any(|wanted| wanted.fits_host(&host))
            }
            Test::Has(words) => {
                let text = String::from_utf8_lossy(text).to_lowercase();
                words.iter().any(|word| text.contains(word))
            }
            Test::Fits(patterns) => patterns.iter().any(|pattern| pattern.fits(text)),
            Test::Numbers(_) | Test::Networks(_) => false,
        }
    }
}

const fn is_number(kind: Kind) -> bool {
    matches!(kind, Kind::Number | Kind::Status | Kind::GrpcStatus | Kind::Size | Kind::Time | Kind::Moment)
}

/// Refuses a text that the field never has.
fn known(kind: Kind, Written { text, quoted }: &Written) -> Result<(), String> {
    if !quoted && text.contains(['*', '?']) && !matches!(kind, Kind::Truth | Kind::Is) {
        return Ok(());
    }
    let lower = text.to_ascii_lowercase();
    let good = match kind {
        Kind::Version => {
            let minor = text.strip_prefix("1.").filter(|minor| minor.len() == 1);
            text == "2" || minor.is_some_and(|minor| minor.bytes().all(|byte| byte.is_ascii_digit()))
        }
        Kind::Flags => flags::ALL.iter().any(|(_, name, _)| *name == lower),
        Kind::Truth => lower == "true" || lower == "false",
        Kind::Is => lower == "failed",
        _ => true,
    };
    match kind {
        _ if good => Ok(()),
        Kind::Version => Err("this is no version: needed 1.0 to 1.9, or 2".to_owned()),
        Kind::Truth => Err("needed true or false".to_owned()),
        Kind::Is => Err("only is:failed is known".to_owned()),
        _ => {
            let names: Vec<&str> = flags::ALL.iter().map(|(_, name, _)| *name).collect();
            Err(format!("there is no such flag: needed {}", names.join(", ")))
        }
    }
}

/// Numbers that a value stands for; `None`: that there is none. `several`: a range, a class or `none` may be written.
fn number(
    kind: Kind,
    one: &impl Fn(&str) -> Option<i64>,
    written: &Written,
    several: bool,
) -> Result<Option<RangeInclusive<i64>>, String> {
    let text = written.text.as_str();
    if several && text == "none" {
        return Ok(None);
    }
    let read = || {
        if kind == Kind::Moment {
            return moment(text).map(|(first, last)| first..=last);
        }
        let class = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX"));
        if let Some(class) = class.filter(|_| several && kind == Kind::Status) {
            let first = class.parse::<i64>().ok().filter(|class| (1..=9).contains(class) && text.len() == 3)? * 100;
            return Some(first..=first + 99);
        }
        match text.split_once('-').filter(|_| several) {
            Some((first, last)) => Some(one(first)?..=one(last)?).filter(|range| !range.is_empty()),
            None => one(text).map(|number| number..=number),
        }
    };
    read().map(Some).ok_or_else(|| {
        let needed = match (kind, several) {
            (Kind::Status, true) => "a code (404), a class (4xx), a range (500-599) or none",
            (Kind::Status, false) => "a code (404)",
            (Kind::GrpcStatus, true) => "a code (5), a name (NOT_FOUND), a range (1-16) or none",
            (Kind::GrpcStatus, false) => "a code (5) or a name (NOT_FOUND)",
            (Kind::Time, _) => "a time with its unit (250us, 10ms, 1.5s, 2m, 1h)",
            (Kind::Size, _) => "a size (4096, 4kB, 1.5MB, 4KiB)",
            (Kind::Moment, _) => "a time as in the log or its beginning (2026-01-02, 2026-01-02T03:04:05.5Z)",
            _ => "a number",
        };
        format!("needed {needed}")
    })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn plain(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number| is_digits(text) && *number <= MOST)
}

/// One number.
fn single(kind: Kind, text: &str) -> Option<i64> {
    match kind {
        Kind::Status => {
            text.parse().ok().filter(|code| (100..=999).contains(code) && text.len() == 3 && is_digits(text))
        }
        Kind::GrpcStatus => {
            let number = || text.parse::<u16>().ok().filter(|_| is_digits(text));
            status_code(text).or_else(number).map(i64::from)
        }
        Kind::Time => scaled(text, |unit| {
            Some(match unit {
                "us" | "\u{b5}s" | "\u{3bc}s" => 1,
                "ms" => 1_000,
                "s" => 1_000_000,
                "m" | "min" => 60_000_000,
                "h" => 3_600_000_000,
                _ => return None,
            })
        }),
        Kind::Size => scaled(text, |unit| {
            Some(match unit.to_ascii_lowercase().as_str() {
                "" | "b" => 1,
                "kb" => 1_000,
                "mb" => 1_000_000,
                "gb" => 1_000_000_000,
                "kib" => 1 << 10,
                "mib" => 1 << 20,
                "gib" => 1 << 30,
                _ => return None,
            })
        }),
        _ => plain(text),
    }
}

/// A decimal number with a unit, which must be a whole number of the smallest.
fn scaled(text: &str, unit: impl Fn(&str) -> Option<i64>) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, name) = text.split_at_checked(end)?;
    let scale = i128::from(unit(name)?);
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_digits = |text: &str| (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(decimals) {
        return None;
    }
    let divisor = 10_i128.checked_pow(u32::try_from(decimals.len()).ok()?)?;
    let parts = decimals.parse::<i128>().ok()?.checked_mul(scale)?;
    if parts % divisor != 0 {
        return None;
    }
    let total = whole.parse::<i128>().ok()?.checked_mul(scale)? + parts / divisor;
    i64::try_from(total).ok().filter(|total| *total <= MOST)
}
