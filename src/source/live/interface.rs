//! An interface that this host could capture from.

use pcap::Device;

use super::error::{LiveError, message};

/// An interface of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostInterface {
    /// Its name, for `-i`.
    pub name: String,
    /// What the system says of it; empty if nothing.
    pub description: String,
    /// Whether it is up.
    pub up: bool,
    /// Whether it is the loopback.
    pub loopback: bool,
}

/// The interfaces there are, in libpcap's order, which is that of the numbers for `-i`, from 1.
///
/// # Errors
/// libpcap cannot list them.
pub fn list() -> Result<Vec<HostInterface>, LiveError> {
    let devices = Device::list().map_err(|e| LiveError::List(message(&e)))?;
    // usbmon, bluetooth and netfilter queues are listed too, but carry no link layer that TCP is found in.
    let of_network =
        |name: &str| !["usbmon", "bluetooth", "dbus", "nflog", "nfqueue"].iter().any(|p| name.starts_with(p));
    let known = devices.into_iter().filter(|device| of_network(&device.name));
    Ok(known
        .map(|device| HostInterface {
            up: device.flags.is_up(),
            loopback: device.flags.is_loopback(),
            description: device.desc.unwrap_or_default(),
            name: device.name,
        })
        .collect())
}

/// Whether an interface of this name is a loopback.
pub(super) fn is_loopback(name: &str) -> bool {
    name == "lo" || list().is_ok_and(|all| all.iter().any(|found| found.name == name && found.loopback))
}

/// A number stands for an interface of the list, unless an interface has that name.
pub(super) fn resolve(interface: &str) -> String {
    let Ok(number) = interface.parse::<usize>() else { return interface.to_owned() };
    let listed = list().unwrap_or_default();
    if listed.iter().any(|found| found.name == interface) {
        return interface.to_owned();
    }
    let found = number.checked_sub(1).and_then(|index| listed.get(index));
    found.map_or_else(|| interface.to_owned(), |found| found.name.clone())
}
