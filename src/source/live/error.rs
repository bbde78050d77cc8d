//! The reasons for which an interface cannot be captured from, as texts that people can act on.

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use thiserror::Error;

use super::{LiveConfig, interface, socket};

/// Why an interface cannot be captured from.
#[derive(Debug, Error)]
pub enum LiveError {
    /// The privilege to open a packet socket is not there.
    #[error(
        "{interface}: capturing needs CAP_NET_RAW ({cause}). Grant it with one of\n  \
         sudo setcap cap_net_raw+ep {program}\n  \
         sudo capsh --user=$USER --inh=cap_net_raw --addamb=cap_net_raw -- -c '{program} -i {interface}'\n  \
         systemd: AmbientCapabilities=CAP_NET_RAW in the unit, as deploy/systemd/picotap.service has it\n  \
         or start as root: picotap gives its privileges up once the interface is open"
    )]
    Privilege {
        /// The interface.
        interface: String,
        /// The running program's file.
        program: String,
        /// libpcap's message.
        cause: String,
    },
    /// There is no such interface.
    #[error("{interface}: no such interface; there are: {present}")]
    Unknown {
        /// What was asked for.
        interface: String,
        /// The names that exist, with commas.
        present: String,
    },
    /// The interface is there but down.
    #[error("{interface}: the interface is down; bring it up with: ip link set {interface} up")]
    Down {
        /// The interface.
        interface: String,
    },
    /// The filter expression is not one.
    #[error("{interface}: filter {filter:?}: {cause}")]
    Filter {
        /// The interface.
        interface: String,
        /// The expression.
        filter: String,
        /// libpcap's message.
        cause: String,
    },
    /// A value is out of range.
    #[error("{interface}: a ring of {kib} KiB: at most {most} KiB")]
    Buffer {
        /// The interface.
        interface: String,
        /// What was asked for.
        kib: u32,
        /// The most there can be.
        most: u32,
    },
    /// Anything else that libpcap or the kernel said.
    #[error("{interface}: {doing}: {cause}")]
    System {
        /// The interface.
        interface: String,
        /// What was attempted.
        doing: &'static str,
        /// The message of libpcap or the kernel.
        cause: String,
    },
    /// The interfaces cannot be listed.
    #[error("list of interfaces: {0}")]
    List(String),
}

/// Turns libpcap's refusal to open into something that a person can act on.
pub(super) fn refusal(config: &LiveConfig, error: &pcap::Error) -> LiveError {
    let interface = config.interface.clone();
    let cause = message(error);
    let names: Vec<String> = interface::list().unwrap_or_default().into_iter().map(|found| found.name).collect();
    if !names.is_empty() && !names.contains(&interface) {
        return LiveError::Unknown { interface, present: names.join(", ") };
    }
    let refused = ["permi", "CAP_NET_RAW", "EPERM"].iter().any(|part| cause.contains(part));
    let able = caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_NET_RAW).unwrap_or(false);
    if refused || !able {
        let program = std::env::current_exe().map_or_else(|_| "picotap".into(), |path| path.display().to_string());
        return LiveError::Privilege { interface, program, cause };
    }
    // Any socket will do for the question; this one needs no privilege.
    let up = UnixDatagram::unbound().is_ok_and(|asked| socket::is_up(asked.as_fd(), &interface));
    if !up && interface != "any" {
        return LiveError::Down { interface };
    }
    LiveError::System { interface, doing: "opening", cause }
}

pub(super) fn system(config: &LiveConfig, doing: &'static str, cause: impl ToString) -> LiveError {
    LiveError::System { interface: config.interface.clone(), doing, cause: cause.to_string() }
}

pub(super) fn message(error: &pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(message) if !message.is_empty() => message.clone(),
        other => other.to_string(),
    }
}
