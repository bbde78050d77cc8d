//! Probes: secrets of TLS from the libraries of running processes, by eBPF, with nothing asked of these.
//!
//! A probe sits at a function that derives secrets, in a file; whoever runs the file calls it, also processes that start
//! later, in whatever container. It copies arguments into a ring, from which the secrets go to the key store
//! ([`crate::tls::probed`]). Nothing is probed that is called for each read or write.
//!
//! Loading takes privileges, and is done before they are dropped. After that the ring is memory. What is found later is probed by the
//! helper process, which holds what is attached ([`Follower`]).

mod check;
mod code;
pub mod elf;
mod event;
mod follow;
mod library;
mod pclntab;
mod programs;
mod survey;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use thiserror::Error;

pub use self::check::check;
pub use self::follow::{Figures, Follower};
pub use self::library::Library;
pub use self::programs::Ring;
use crate::escape;

/// What is to be probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Nothing.
    Off,
    /// What the processes of this machine run.
    Auto,
    /// What this process runs; others that run the same files are probed too.
    Process(u32),
    /// This file.
    File(PathBuf),
}

/// Why there are no probes.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The build has no programs.
    #[error("there are no probes for {}", std::env::consts::ARCH)]
    Architecture,
    /// The kernel does not take the programs.
    #[error("the kernel takes no probes: {0}; needed Linux 5.8 and root, or CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN")]
    Load(String),
    /// What is to be probed cannot be looked at.
    #[error("{what}: cannot be looked at: {cause}")]
    Survey {
        /// A file, or a process.
        what: String,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// There is nothing to probe in what was named.
    #[error("{0}: has no TLS that can be probed (OpenSSL 3, or Go's crypto/tls since Go 1.18)")]
    Nothing(String),
    /// A probe could not be attached.
    #[error("{}: cannot be probed: {cause}", shown(path))]
    Attach {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        cause: String,
    },
}

/// A path for people: it is named by whoever owns a container.
fn shown(path: &Path) -> String {
    let mut out = Vec::new();
    escape::shown(path.as_os_str().as_encoded_bytes(), false, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => return Ok(Self::Auto),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        if let Some(process) = text.strip_prefix("pid:") {
            let process = process.parse().ok().filter(|process| *process > 0);
            return process.map(Self::Process).ok_or_else(|| "needed the number of a process behind pid:".into());
        }
        if !Path::new(text).is_absolute() {
            return Err("needed auto, off, pid:N, or the path of a file from the root, such as /usr/bin/node".into());
        }
        Ok(Self::File(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        assert_eq!("auto".parse(), Ok(Scope::Auto));
        assert_eq!("off".parse(), Ok(Scope::Off));
        assert_eq!("pid:17".parse(), Ok(Scope::Process(17)));
        assert_eq!("/usr/bin/node".parse(), Ok(Scope::File("/usr/bin/node".into())));
        for wrong in ["", "pid:", "pid:0", "pid:x", "node", "Auto"] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong}");
        }
    }
}
