//! The privileges of the helper process: those that its work needs, and no others.
//!
//! It is not restricted by landlock, since that refuses every look at processes which are not restricted in the same way, whatever
//! the capabilities (`hook_ptrace_access_check` in the kernel). System calls are: none writes a file, starts a program or makes a socket.

use std::fmt;

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::geteuid;

use super::{PrivilegeError, become_user, calls, forbid_dumps, step, target};

/// What the helper process kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrowed {
    /// Name of its user.
    pub user: String,
    /// The capabilities that it has.
    pub kept: Vec<Capability>,
    /// Those that it should have, and that this process was not given.
    pub missing: Vec<Capability>,
    /// The number of system calls that are allowed, or why they are not filtered.
    pub calls: Result<usize, String>,
}

impl fmt::Display for Narrowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, kept, missing, calls } = self;
        let names = |list: &[Capability]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        write!(f, "helper process running as {user}, ")?;
        match kept.len() {
            0 => f.write_str("no capabilities")?,
            _ => f.write_str(&names(kept))?,
        }
        match calls {
            Ok(allowed) => write!(f, ", {allowed} system calls allowed")?,
            Err(reason) => write!(f, ", system calls not filtered ({reason})")?,
        }
        if !missing.is_empty() {
            write!(f, "; without {} it knows only the processes of its own user", names(missing))?;
        }
        Ok(())
    }
}

/// Drops all privileges but these capabilities, as far as the process has them, and all system calls but the helper's own and
/// `more`; ends with the thread that started it. `user`: as of [`DropPrivileges`](super::DropPrivileges).
///
/// # Errors
/// See [`PrivilegeError`]: the process must then end.
pub fn narrow(user: Option<&str>, wanted: &[Capability], more: &[i64]) -> Result<Narrowed, PrivilegeError> {
    let target = target(user)?;
    let has = caps::read(None, CapSet::Permitted).map_err(|e| step("reading the capabilities", e))?;
    let (kept, missing): (Vec<_>, Vec<_>) = wanted.iter().copied().partition(|capability| has.contains(capability));
    // Emptying the bounding set takes CAP_SETPCAP: whoever lacks that gains nothing by it either, with no new privileges.
    drop(caps::clear(None, CapSet::Bounding));
    if let Some(target) = &target {
        prctl::set_keepcaps(true).map_err(|e| step("keeping capabilities", e))?;
        become_user(target)?;
    }
    let set: CapsHashSet = kept.iter().copied().collect();
    for (kind, set, doing) in [
        (CapSet::Ambient, &CapsHashSet::new(), "emptying the ambient capabilities"),
        (CapSet::Inheritable, &CapsHashSet::new(), "emptying the inheritable capabilities"),
        (CapSet::Effective, &CapsHashSet::new(), "emptying the effective capabilities"),
        (CapSet::Permitted, &set, "narrowing the permitted capabilities"),
        (CapSet::Effective, &set, "setting the effective capabilities"),
    ] {
        caps::set(None, kind, set).map_err(|e| step(doing, e))?;
    }
    prctl::set_no_new_privs().map_err(|e| step("setting no-new-privileges", e))?;
    forbid_dumps()?;
    // Not before: a change of the user resets it.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|e| step("asking to end with the parent", e))?;
    // The filter has no call for it.
    let user = target.map_or_else(|| format!("uid {}", geteuid()), |target| target.name);
    let calls = calls::filter_helper(more).map_err(|e| step("filtering system calls", e))?;
    Ok(Narrowed { user, kept, missing, calls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_is_missing() {
        let narrowed = Narrowed {
            user: "picotap".into(),
            kept: vec![],
            missing: vec![Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH],
            calls: Ok(40),
        };
        assert_eq!(
            narrowed.to_string(),
            "helper process running as picotap, no capabilities, 40 system calls allowed; \
             without CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH it knows only the processes of its own user"
        );
        let kept = vec![Capability::CAP_SYS_PTRACE];
        let text = Narrowed { kept, missing: vec![], calls: Err("none".into()), ..narrowed }.to_string();
        assert_eq!(text, "helper process running as picotap, CAP_SYS_PTRACE, system calls not filtered (none)");
    }
}
