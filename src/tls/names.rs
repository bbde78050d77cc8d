//! A name filter says which TLS connections are opened, by the server's name that the client said.
//!
//! `--tls-filter` takes `PATTERNS` or `!PATTERNS`. Of several patterns, separated by commas, one must match, or with `!` none. `*` stands
//! for any characters and `?` for any one; case does not count. A client that named no server matches only `*`. A connection is
//! opened if it fits every filter.

use std::str::FromStr;

use crate::glob::Glob;

/// One `--tls-filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameFilter {
    patterns: Vec<Glob>,
    negated: bool,
}

/// A name filter that cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("\"{0}\" has an empty pattern: needed names such as *.example.com, separated by commas")]
pub struct NameFilterError(String);

impl FromStr for NameFilter {
    type Err = NameFilterError;

    fn from_str(text: &str) -> Result<Self, NameFilterError> {
        let (patterns, negated) = text.strip_prefix('!').map_or((text, false), |patterns| (patterns, true));
        let patterns: Vec<&str> = patterns.split(',').map(str::trim).collect();
        if patterns.iter().any(|pattern| pattern.is_empty()) {
            return Err(NameFilterError(text.to_owned()));
        }
        let patterns = patterns.iter().map(|pattern| Glob::new(pattern.to_ascii_lowercase().as_bytes())).collect();
        Ok(Self { patterns, negated })
    }
}

impl NameFilter {
    /// Whether a server with this name fits.
    #[must_use]
    pub fn fits(&self, name: Option<&str>) -> bool {
        let name = name.unwrap_or_default().to_ascii_lowercase();
        self.patterns.iter().any(|pattern| pattern.fits(name.as_bytes())) != self.negated
    }
}

/// Whether a server with this name fits all filters; without filters every one does.
pub(super) fn admit(filters: &[NameFilter], name: Option<&str>) -> bool {
    filters.iter().all(|filter| filter.fits(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_all_filters() {
        let filters: Vec<NameFilter> =
            ["*.Example.com,other.net", "!secret.*"].iter().map(|text| text.parse().unwrap()).collect();
        let fits = |name| admit(&filters, name);
        assert!(fits(Some("WWW.example.com")) && fits(Some("other.net")));
        assert!(!fits(Some("example.com")) && !fits(Some("secret.example.com")) && !fits(None));
        assert!(admit(&[], None));
        let all: NameFilter = "*".parse().unwrap();
        assert!(all.fits(None) && all.fits(Some("x")));
    }

    #[test]
    fn empty_patterns_are_refused() {
        for text in ["", "!", "a,,b", "a,"] {
            assert_eq!(text.parse::<NameFilter>(), Err(NameFilterError(text.to_owned())));
        }
    }
}
