//! The libraries of TLS that can be probed.

use std::fmt;

/// A library of TLS that can be probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// OpenSSL 3, and what exports its functions.
    OpenSsl,
    /// Go's `crypto/tls`.
    Go,
}

impl Library {
    /// The name of its program.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::OpenSsl => "openssl",
            Self::Go => "go",
        }
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenSsl => "OpenSSL 3",
            Self::Go => "Go",
        })
    }
}
