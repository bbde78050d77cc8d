//! Where the lines of a log go, by the name that is given for it.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file: lines are appended to what is there.
    File(PathBuf),
    /// The socket of a system log.
    Syslog(PathBuf),
    /// A Unix socket, to which somebody listens.
    Unix(PathBuf),
}

/// Its name in messages.
impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => formatter.write_str("standard output"),
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::Syslog(path) => write!(formatter, "syslog:{}", path.display()),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

impl Target {
    /// What `--output` names: a file, `-` (standard output), `syslog:`, `syslog:PATH` or `unix:PATH`.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let bytes = path.as_os_str().as_bytes();
        if bytes == b"-" {
            return Self::Stdout;
        }
        let behind = |prefix: &[u8]| bytes.strip_prefix(prefix).map(|rest| PathBuf::from(OsStr::from_bytes(rest)));
        match (behind(b"syslog:"), behind(b"unix:")) {
            (Some(path), _) if path.as_os_str().is_empty() => Self::Syslog("/dev/log".into()),
            (Some(path), _) => Self::Syslog(path),
            (_, Some(path)) => Self::Unix(path),
            _ => Self::File(path.to_owned()),
        }
    }

    /// The file that it is, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        if let Self::File(path) = self { Some(path) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_socket_is_a_file() {
        let target = |text: &str| Target::of(Path::new(text));
        assert_eq!(target("syslog:"), Target::Syslog("/dev/log".into()));
        assert_eq!(target("syslog:/run/log"), Target::Syslog("/run/log".into()));
        assert_eq!(target("unix:a b"), Target::Unix("a b".into()));
        assert_eq!(target("./unix:a").file(), Some(Path::new("./unix:a")));
        assert_eq!((target("unix:a").file(), Target::Stdout.file()), (None, None));
        assert_eq!((target("-"), target("./-").file()), (Target::Stdout, Some(Path::new("./-"))));
        assert_eq!(target("syslog:").to_string(), "syslog:/dev/log");
    }
}
