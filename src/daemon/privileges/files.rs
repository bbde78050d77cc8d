//! Files that the process can still reach, restricted by landlock as far as the kernel supports it.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

/// The newest interface whose restrictions are asked for; a kernel with an older one enforces what it knows.
const NEWEST: ABI = ABI::V6;

/// Always readable: the process's own statistics, and the interfaces' counters.
const READABLE: &[&str] = &["/proc", "/sys"];
/// Terminals and `/dev/null`: written, never made.
const DEVICES: &[&str] = &["/dev"];

/// Restricts reading to `readable`, and making and writing files to `writable`. Also forbids to connect or listen over TCP, and
/// to signal other processes. Returns the restrictions as text, or why there are none. A path that does not exist is left
/// out, and cannot be reached later.
pub(super) fn restrict(readable: &[PathBuf], writable: &[PathBuf]) -> Result<String, String> {
    // A container's own filter may forbid the calls; then the container confines the process.
    enforce(readable, writable).unwrap_or_else(|e| Err(format!("landlock: {e}")))
}

fn enforce(readable: &[PathBuf], writable: &[PathBuf]) -> Result<Result<String, String>, RulesetError> {
    let read = AccessFs::from_read(NEWEST) & !AccessFs::Execute;
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev;
    let write = (AccessFs::from_all(NEWEST) & !AccessFs::Execute)
        & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeSock | AccessFs::MakeFifo);
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(READABLE, read))?
        .add_rules(path_beneath_rules(DEVICES, device))?
        .add_rules(path_beneath_rules(readable, read))?
        .add_rules(path_beneath_rules(writable, write))?
        .restrict_self()?;
    let missing = match status.landlock {
        LandlockStatus::NotEnabled => "landlock is switched off in this kernel",
        LandlockStatus::NotImplemented => "landlock is not in this kernel",
        LandlockStatus::Available { .. } => "landlock enforced nothing",
    };
    let paths = match readable.len() + writable.len() {
        0 => String::new(),
        1 => " and 1 path".to_owned(),
        paths => format!(" and {paths} paths"),
    };
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(format!("files restricted to /dev, /proc, /sys{paths}")),
        RulesetStatus::PartiallyEnforced => {
            Ok(format!("files restricted to /dev, /proc, /sys{paths} (as far as this kernel can)"))
        }
        RulesetStatus::NotEnforced => Err(missing.to_owned()),
    })
}
