//! A selection says which transactions are logged. Metrics count all of them.
//!
//! `--filter` takes `KEY=PATTERNS` or `KEY!=PATTERNS`. Of several patterns, separated by commas, one must match:
//!
//! - `method=GET,POST`: case matters
//! - `status=200,4xx,500-599`, and `none` for a transaction without response
//! - `host=*.example.com`: without regard to case, without user information, and without port unless the pattern has
//!   one
//! - `path=/api/*`: the target without query
//! - `version=1.1,2`: the version of HTTP
//! - `grpc_service=pkg.*` and `grpc_method=Get*`: what a gRPC call calls
//! - `grpc_status=5`, `not_found`, `1-16`: the outcome of a gRPC call, by code, name or range
//! - `interface=veth*`: the capture interface, where it has a name
//!
//! Of TLS connections (`--tls`) there are `host`, the server's name that the client said, and `interface`.
//!
//! In `host`, `path`, `interface`, `grpc_service` and `grpc_method`, `*` stands for any bytes and `?` for any one byte. A transaction is
//! logged if it matches every
//! `--filter`, `--slow` and `--errors`.

use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::glob::Glob;
use crate::http::flags::Flags;
use crate::http::grpc::status_code;
use crate::http::tls::TlsConnection;
use crate::http::transaction::Transaction;
use crate::stream::InterfaceNames;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Patterns {
    Method(Vec<Vec<u8>>),
    /// 0 is "none".
    Status(Vec<RangeInclusive<u16>>),
    Host(Vec<Glob>),
    Path(Vec<Glob>),
    Version(Vec<Vec<u8>>),
    GrpcService(Vec<Glob>),
    GrpcMethod(Vec<Glob>),
    GrpcStatus(Vec<RangeInclusive<u16>>),
    Interface(Vec<Glob>),
}

/// One `--filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    patterns: Patterns,
    negated: bool,
}

/// A filter that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FilterError {
    /// No `=`.
    #[error("filter \"{0}\" has no \"=\": needed KEY=PATTERN, for example status=5xx")]
    NoSign(String),
    /// An unknown key.
    #[error(
        "filter \"{filter}\" begins with \"{key}\": needed method, status, host, path, version, grpc_service, grpc_method, grpc_status or interface"
    )]
    Key {
        /// The whole filter.
        filter: String,
        /// Its key.
        key: String,
    },
    /// An empty pattern.
    #[error("filter \"{0}\" has an empty pattern")]
    Empty(String),
    /// A status that cannot be read.
    #[error(
        "filter \"{filter}\" has status \"{status}\": needed a code (404), a class (4xx), a range (500-599) or none"
    )]
    Status {
        /// The whole filter.
        filter: String,
        /// The part that cannot be read.
        status: String,
    },
    /// A version that there is not.
    #[error("filter \"{filter}\" has version \"{version}\": needed 1.0 to 1.9, or 2")]
    Version {
        /// The whole filter.
        filter: String,
        /// The part that is no version.
        version: String,
    },
    /// A status of gRPC that cannot be read.
    #[error(
        "filter \"{filter}\" has gRPC status \"{status}\": needed a code (5), a name (NOT_FOUND) or a range (1-16)"
    )]
    GrpcStatus {
        /// The whole filter.
        filter: String,
        /// The part that cannot be read.
        status: String,
    },
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let (key, patterns) = text.split_once('=').ok_or_else(|| FilterError::NoSign(text.to_owned()))?;
        let (key, negated) = key.strip_suffix('!').map_or((key, false), |key| (key, true));
        let patterns: Vec<&str> = patterns.split(',').map(str::trim).collect();
        if patterns.iter().any(|pattern| pattern.is_empty()) {
            return Err(FilterError::Empty(text.to_owned()));
        }
        let bytes = || patterns.iter().map(|pattern| pattern.as_bytes().to_vec());
        let patterns = match key.trim() {
            "method" => Patterns::Method(bytes().collect()),
            "host" => Patterns::Host(bytes().map(|text| Glob::new(&text.to_ascii_lowercase())).collect()),
            "path" => Patterns::Path(bytes().map(|text| Glob::new(&text)).collect()),
            "version" => {
                let known = |version: &&str| {
                    let minor = version.strip_prefix("1.").filter(|minor| minor.len() == 1);
                    **version == *"2" || minor.is_some_and(|minor| minor.bytes().all(|byte| byte.is_ascii_digit()))
                };
                if let Some(version) = patterns.iter().find(|version| !known(version)) {
                    return Err(FilterError::Version { filter: text.to_owned(), version: (*version).to_owned() });
                }
                Patterns::Version(bytes().collect())
            }
            "grpc_service" => Patterns::GrpcService(bytes().map(|text| Glob::new(&text)).collect()),
            "grpc_method" => Patterns::GrpcMethod(bytes().map(|text| Glob::new(&text)).collect()),
            "grpc_status" => {
                let wrong =
                    |status: &str| FilterError::GrpcStatus { filter: text.to_owned(), status: status.to_owned() };
                let ranges = patterns.iter().map(|status| grpc_range(status).ok_or_else(|| wrong(status)));
                Patterns::GrpcStatus(ranges.collect::<Result<_, _>>()?)
            }
            "interface" => Patterns::Interface(bytes().map(|text| Glob::new(&text)).collect()),
            "status" => {
                let ranges = patterns.iter().map(|status| {
                    range(status)
                        .ok_or_else(|| FilterError::Status { filter: text.to_owned(), status: (*status).to_owned() })
                });
                Patterns::Status(ranges.collect::<Result<_, _>>()?)
            }
            key => return Err(FilterError::Key { filter: text.to_owned(), key: key.to_owned() }),
        };
        Ok(Self { patterns, negated })
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let code = |text: &str| text.parse().ok().filter(|code| (100..=999).contains(code) && text.len() == 3);
    if text == "none" {
        return Some(0..=0);
    }
    if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
        let first = class.parse::<u16>().ok().filter(|class| (1..=9).contains(class) && text.len() == 3)? * 100;
        return Some(first..=first + 99);
    }
    match text.split_once('-') {
        Some((first, last)) => Some(code(first)?..=code(last)?).filter(|range| !range.is_empty()),
        None => code(text).map(|code| code..=code),
    }
}

/// Codes of gRPC's statuses.
fn grpc_range(text: &str) -> Option<RangeInclusive<u16>> {
    let code = |text: &str| status_code(text).or_else(|| text.parse().ok());
    match text.split_once('-') {
        Some((first, last)) => Some(code(first)?..=code(last)?).filter(|range| !range.is_empty()),
        None => code(text).map(|code| code..=code),
    }
}

impl Filter {
    /// Whether the transaction matches this filter. `interfaces`: names of the capture interfaces, by index.
    #[must_use]
    pub fn fits(&self, transaction: &Transaction, interfaces: &InterfaceNames) -> bool {
        let fits = match &self.patterns {
            Patterns::Method(methods) => {
                transaction.method().is_some_and(|method| methods.iter().any(|wanted| wanted == method))
            }
            Patterns::Status(ranges) => {
                let status = if transaction.response.is_none() { Some(0) } else { transaction.known_status() };
                status.is_some_and(|status| ranges.iter().any(|range| range.contains(&status)))
            }
            Patterns::Host(globs) => transaction.host().is_some_and(|host| {
                let host = without_user(host).to_ascii_lowercase();
                globs.iter().any(|glob| glob.fits(if glob.contains(b':') { &host } else { without_port(&host) }))
            }),
            Patterns::Path(globs) => transaction.path().is_some_and(|path| globs.iter().any(|glob| glob.fits(path))),
            Patterns::Version(versions) => {
                transaction.version().is_some_and(|version| versions.iter().any(|wanted| wanted == version.as_bytes()))
            }
            Patterns::GrpcService(globs) => {
                transaction.grpc_called().is_some_and(|(service, _)| globs.iter().any(|glob| glob.fits(service)))
            }
            Patterns::GrpcMethod(globs) => {
                transaction.grpc_called().is_some_and(|(_, method)| globs.iter().any(|glob| glob.fits(method)))
            }
            Patterns::GrpcStatus(ranges) => {
                transaction.grpc_status().is_some_and(|status| ranges.iter().any(|range| range.contains(&status)))
            }
            Patterns::Interface(globs) => fits_interface(globs, transaction.interface, interfaces),
        };
        fits != self.negated
    }

    /// Whether it is about what a TLS connection has.
    #[must_use]
    pub const fn is_for_tls(&self) -> bool {
        matches!(self.patterns, Patterns::Host(_) | Patterns::Interface(_))
    }

    /// Whether the TLS connection matches this filter. It matches none that is not for TLS.
    #[must_use]
    pub fn fits_tls(&self, connection: &TlsConnection, interfaces: &InterfaceNames) -> bool {
        let fits = match &self.patterns {
            Patterns::Host(globs) => connection.server_name().is_some_and(|name| {
                let name = name.to_ascii_lowercase();
                let with_port = || format!("{name}:{}", connection.server.port);
                let fits = |glob: &Glob| match glob.contains(b':') {
                    true => glob.fits(with_port().as_bytes()),
                    false => glob.fits(name.as_bytes()),
                };
                globs.iter().any(fits)
            }),
            Patterns::Interface(globs) => fits_interface(globs, connection.interface, interfaces),
            Patterns::Method(_)
            | Patterns::Status(_)
            | Patterns::Path(_)
            | Patterns::Version(_)
            | Patterns::GrpcService(_)
            | Patterns::GrpcMethod(_)
            | Patterns::GrpcStatus(_) => return false,
        };
        fits != self.negated
    }
}

fn fits_interface(globs: &[Glob], interface: u32, interfaces: &InterfaceNames) -> bool {
    let name = interfaces.get(interface);
    name.is_some_and(|name| globs.iter().any(|glob| glob.fits(name.as_bytes())))
}

/// A host without `:port`. A bracketed IPv6 address keeps its colons.
#[must_use]
pub fn without_port(host: &[u8]) -> &[u8] {
    let Some((name, port)) = memchr::memrchr(b':', host).map(|at| host.split_at(at)) else {
        return host;
    };
    let is_port = port.iter().skip(1).all(u8::is_ascii_digit);
    let is_name = !name.contains(&b':') || name.ends_with(b"]");
    if is_port && is_name { name } else { host }
}

/// An authority without `user:password@`.
#[must_use]
pub fn without_user(authority: &[u8]) -> &[u8] {
    memchr::memrchr(b'@', authority).and_then(|at| authority.get(at.saturating_add(1)..)).unwrap_or(authority)
}

/// Which transactions are logged. The default takes all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Filters, all of which must match.
    pub filters: Vec<Filter>,
    /// Only transactions of at least this duration, in nanoseconds. One without a duration is not slow.
    pub slow: Option<i64>,
    /// Only errors: status 400 and above, a gRPC status that is not OK, no response, a message that was cut, a reset, a timeout,
    /// a fault of the parser.
    pub errors: bool,
}

impl Selection {
    /// Whether the transaction is logged. `interfaces`: names of the capture interfaces, by index.
    #[must_use]
    pub fn takes(&self, transaction: &Transaction, interfaces: &InterfaceNames) -> bool {
        let slow = |limit| transaction.duration().is_some_and(|duration| duration >= limit);
        self.slow.is_none_or(slow)
            && (!self.errors || is_error(transaction))
            && self.filters.iter().all(|filter| filter.fits(transaction, interfaces))
    }

    /// The same of a TLS connection: its duration is that from its first packet to its last, and an error is that it was not
    /// established.
    #[must_use]
    pub fn takes_tls(&self, connection: &TlsConnection, interfaces: &InterfaceNames) -> bool {
        let slow = |limit| connection.closed.duration().is_some_and(|duration| duration >= limit);
        self.slow.is_none_or(slow)
            && (!self.errors || !connection.fate().established)
            && self.filters.iter().all(|filter| filter.fits_tls(connection, interfaces))
    }
}

/// Whether something went wrong with the transaction, as far as the wire shows.
#[must_use]
pub fn is_error(transaction: &Transaction) -> bool {
    const WRONG: [Flags; 7] = [
        Flags::NO_RESPONSE,
        Flags::TRUNCATED,
        Flags::RESET,
        Flags::TIMEOUT,
        Flags::FAULT,
        Flags::STREAM_RESET,
        Flags::NOT_PROCESSED,
    ];
    transaction.status >= 400
        || transaction.grpc_failed()
        || transaction.flags.intersects(Flags::FAILED)
        || WRONG.iter().any(|flag| transaction.flags.intersects(*flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_grpc_are_selected_by_what_they_call_and_how_they_end() {
        let mut wire = Wire::new(Settings::default());
        wire.ask_on(1, "POST /pkg.Greeter/SayHello h2\ncontent-type: application/grpc", 0).end_on(0, 1, 12, 0);
        wire.answer_on(1, "h2 200\ncontent-type: application/grpc\ngrpc-status: 5", 0).end_on(1, 1, 0, 0);
        for filter in [
            "version=2",
            "version!=1.1",
            "grpc_service=pkg.*",
            "grpc_method=Say*,Other",
            "grpc_status=5",
            "grpc_status=not_found",
            "grpc_status=1-16",
            "grpc_status=INVALID_ARGUMENT-6",
            "grpc_status!=0",
        ] {
            assert!(takes(filter, &wire), "{filter}");
        }
        for filter in ["version=1.0,1.1", "grpc_service=other", "grpc_method=say*", "grpc_status=0,6-16"] {
            assert!(!takes(filter, &wire), "{filter}");
        }
        assert!(Selection { errors: true, ..Selection::default() }.takes(wire.last(), &interfaces()));
        wire.get(1, "/pkg.Greeter/SayHello").reply(1, 200, 0);
        assert!(!takes("grpc_status=0-65535", &wire) && !takes("grpc_service=*", &wire) && takes("version=1.1", &wire));
        for wrong in ["version=3", "version=1.10", "grpc_status=x", "grpc_status=6-5", "grpc_status=65536"] {
            let error = wrong.parse::<Filter>().unwrap_err().to_string();
            assert!(error.contains(wrong.split_once('=').unwrap().1) && error.contains("needed"), "{error}");
        }
    }
    use crate::http::Settings;
    use crate::http::test_wire::Wire;
    use crate::stream::EndReason;

    fn takes(filter: &str, wire: &Wire) -> bool {
        Selection { filters: vec![filter.parse().unwrap()], ..Selection::default() }.takes(wire.last(), &interfaces())
    }

    fn interfaces() -> InterfaceNames {
        InterfaceNames::new(vec!["eth0".to_owned()], 0)
    }

    fn wire() -> Wire {
        let mut wire = Wire::new(Settings::default());
        wire.ask(1, "GET /api/v1/x?a=b HTTP/1.1\nHost: WWW.Example.com:8080", 0).end(0, 1, 0, 0).wait(250);
        wire.reply(1, 404, 0);
        wire
    }

    #[test]
    fn each_key_selects() {
        let wire = wire();
        for filter in [
            "method=POST,GET",
            "status=404",
            "status=2xx,4xx",
            "status=400-499",
            "host=*.example.com",
            "host=www.example.com:80*",
            "path=/api/*/x",
            "method!=POST",
            "status!=none",
            "path=/api/v?/x",
            "interface=eth*,any",
        ] {
            assert!(takes(filter, &wire), "{filter}");
        }
        for filter in [
            "method=get",
            "status=5xx",
            "status!=404",
            "host=example.com",
            "path=/api",
            "path=*b",
            "status=none",
            "interface=eth",
        ] {
            assert!(!takes(filter, &wire), "{filter}");
        }
    }

    #[test]
    fn slow_and_errors_must_hold_together() {
        let wire = wire();
        let select =
            |slow, errors| Selection { slow, errors, ..Selection::default() }.takes(wire.last(), &interfaces());
        assert!(select(Some(250_000_000), true) && select(None, false));
        assert!(!select(Some(250_000_001), true));
        let mut open = Wire::new(Settings::default());
        open.get(1, "/").close(EndReason::Reset);
        assert!(is_error(open.last()) && takes("status=none", &open));
        assert!(!Selection { slow: Some(0), ..Selection::default() }.takes(open.last(), &interfaces()));
    }

    #[test]
    fn errors_say_what_and_where() {
        let say = |text: &str| text.parse::<Filter>().unwrap_err().to_string();
        assert_eq!(say("GET"), "filter \"GET\" has no \"=\": needed KEY=PATTERN, for example status=5xx");
        assert_eq!(
            say("verb=GET"),
            "filter \"verb=GET\" begins with \"verb\": needed method, status, host, path, version, grpc_service, grpc_method, grpc_status or interface"
        );
        assert_eq!(say("path=/a,"), "filter \"path=/a,\" has an empty pattern");
        for status in ["20", "2000", "axx", "0xx", "99-200", "300-200", "+20", "xx", "200-"] {
            let text = format!("status={status}");
            assert_eq!(
                say(&text),
                format!(
                    "filter \"{text}\" has status \"{status}\": needed a code (404), a class (4xx), a range (500-599) or none"
                )
            );
        }
    }

    #[test]
    fn ports_are_not_confused_with_addresses() {
        for (host, wanted) in
            [("a:80", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("a:b", "a:b"), ("::1", "::1")]
        {
            assert_eq!(without_port(host.as_bytes()), wanted.as_bytes());
        }
    }
}
