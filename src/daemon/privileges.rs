//! Privileges: what the process may do to the rest of the machine. Once the interfaces are open it drops nearly all of them.
//!
//! In this order: root becomes another user; all sets of capabilities are emptied; new privileges and core dumps are
//! forbidden; files are restricted to those that are needed (landlock), and system calls to those that picotap makes (seccomp).
//! Threads inherit all of it, so it must be done before any is started.

mod calls;
mod descriptors;
mod files;
mod narrow;

use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io::ErrorKind;
use std::os::fd::RawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use caps::CapSet;
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, User, getegid, geteuid, setgroups, setresgid, setresuid};
use thiserror::Error;

pub use self::descriptors::{close_inherited, named as named_descriptor};
pub use self::narrow::{Narrowed, narrow};

/// Mode of the directory that is made: for its owner only.
const DIRECTORY_MODE: u32 = 0o700;

/// What is kept when privileges are dropped.
#[derive(Debug, Clone, Default)]
pub struct DropPrivileges {
    /// The user to become: a name, or `uid` or `uid:gid` in numbers. `None`: as root `picotap`, else `nobody`; as anyone
    /// else, stay.
    pub user: Option<String>,
    /// Files and directories that stay readable: those of the guest and of capture files.
    pub readable: Vec<PathBuf>,
    /// Directories in which files can still be made and written: logs, metrics, the quarantine.
    pub writable: Vec<PathBuf>,
    /// The one of these that is made if it does not exist, as the new user: the quarantine.
    pub make: Option<PathBuf>,
    /// Whether the modes of a terminal can still be set: `picotap top` gives it back as it was.
    pub terminal: bool,
}

/// Why privileges could not be dropped. Each must end the process: the restrictions are then not in force.
#[derive(Debug, Error)]
pub enum PrivilegeError {
    /// The user does not exist.
    #[error("user {0}: there is no such user; make it (deploy/sysusers.d/picotap.conf) or name another with --user")]
    NoSuchUser(String),
    /// Becoming another user needs root.
    #[error(
        "user {wanted}: only root can become another user, and this is uid {present}; start as root, or without --user"
    )]
    NotRoot {
        /// The user to become.
        wanted: String,
        /// The present user.
        present: Uid,
    },
    /// The new user is to be root.
    #[error("user {0}: that is root, which gives nothing up")]
    IsRoot(String),
    /// Threads are running that would keep their privileges.
    #[error("privileges are given up for one thread, but {0} are running")]
    Threads(usize),
    /// The user could not be changed.
    #[error(
        "becoming user {user}: {cause}; this takes CAP_SETUID and CAP_SETGID, or start as that user with CAP_NET_RAW"
    )]
    Become {
        /// The user to become.
        user: String,
        /// The system's reason.
        cause: Errno,
    },
    /// The quarantine's directory could not be made.
    #[error("{path}: cannot be made ({cause}); make it for uid {uid}, or name another with --quarantine-dir")]
    Make {
        /// The directory.
        path: PathBuf,
        /// The user that tried.
        uid: Uid,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// A step failed.
    #[error("{doing}: {cause}")]
    Step {
        /// What was attempted.
        doing: &'static str,
        /// The system's reason.
        cause: String,
    },
    /// The user was changed, but can be changed back to root.
    #[error("root could be regained after it was given up")]
    Regained,
}

/// The restrictions that are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// Name of the process's user.
    pub user: String,
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// Whether the bounding set is empty too. Emptying it takes root.
    pub bounding_empty: bool,
    /// The number of system calls that are allowed, or why they are not filtered.
    pub calls: Result<usize, String>,
    /// What restricts access to files, as text, or why nothing does.
    pub files: Result<String, String>,
}

impl Confinement {
    /// Whether no restriction is missing.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.calls.is_ok() && self.files.is_ok()
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, uid, gid, bounding_empty, calls, files } = self;
        write!(f, "running as {user} (uid {uid}, gid {gid}), no capabilities")?;
        if !bounding_empty {
            f.write_str(" (bounding set kept: emptying it takes CAP_SETPCAP)")?;
        }
        f.write_str(", no new privileges, no core dumps, ")?;
        match calls {
            Ok(allowed) => write!(f, "{allowed} system calls allowed")?,
            Err(reason) => write!(f, "system calls not filtered ({reason})")?,
        }
        match files {
            Ok(files) => write!(f, ", {files}"),
            Err(reason) => write!(f, ", files not restricted ({reason})"),
        }
    }
}

/// Drops the privileges. Sockets and files that are open stay open; nothing can be sent on the sockets in `packet`.
///
/// # Errors
/// See [`PrivilegeError`]. Where the kernel or the architecture has no seccomp or landlock, they are left out, and the result
/// says so.
pub fn drop_all(keep: &DropPrivileges, packet: &[RawFd]) -> Result<Confinement, PrivilegeError> {
    match fs::read_dir("/proc/self/task") {
        Ok(entries) => match entries.count() {
            1 => {}
            threads => return Err(PrivilegeError::Threads(threads)),
        },
        // In an empty root, without /proc: this changes nothing in a process of one thread, and fails in any other (unshare(2)).
        Err(error) if error.kind() == ErrorKind::NotFound => {
            unshare(CloneFlags::CLONE_THREAD).map_err(|e| step("making sure that there is one thread", e))?;
        }
        Err(error) => return Err(step("counting threads", error)),
    }
    let target = target(keep.user.as_deref())?;
    // Emptying the bounding set takes CAP_SETPCAP, which is lost with root.
    let bounding_empty = caps::clear(None, CapSet::Bounding).is_ok();
    if let Some(target) = &target {
        become_user(target)?;
    }
    // Ambient first: it is bounded by the other two.
    for (set, doing) in [
        (CapSet::Ambient, "emptying the ambient capabilities"),
        (CapSet::Inheritable, "emptying the inheritable capabilities"),
        (CapSet::Effective, "emptying the effective capabilities"),
        (CapSet::Permitted, "emptying the permitted capabilities"),
    ] {
        caps::clear(None, set).map_err(|e| step(doing, e))?;
    }
    if let Some(path) = &keep.make {
        let failed = |cause| PrivilegeError::Make { path: path.clone(), uid: geteuid(), cause };
        make_directory(path).map_err(failed)?;
    }
    prctl::set_no_new_privs().map_err(|e| step("setting no-new-privileges", e))?;
    // This memory holds other people's traffic. A change of the user resets the flag, so it is set after that.
    forbid_dumps()?;
    let files = files::restrict(&keep.readable, &keep.writable);
    let calls = calls::filter(packet, keep.terminal).map_err(|e| step("filtering system calls", e))?;
    let (uid, gid) = (geteuid(), getegid());
    let user = target.map_or_else(|| format!("uid {uid}"), |target| target.name);
    Ok(Confinement { user, uid: uid.as_raw(), gid: gid.as_raw(), bounding_empty, calls, files })
}

/// Keeps what is in the memory of this process out of core dumps, and from others than root.
///
/// # Errors
/// What the system refuses.
pub fn forbid_dumps() -> Result<(), PrivilegeError> {
    prctl::set_dumpable(false).map_err(|e| step("making the process undumpable", e))?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|e| step("forbidding core dumps", e))
}

/// The user to become.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    name: String,
    uid: Uid,
    gid: Gid,
}

/// The user to become; `None` if the present one stays.
fn target(wanted: Option<&str>) -> Result<Option<Target>, PrivilegeError> {
    let present = geteuid();
    let Some(wanted) = wanted else {
        if !present.is_root() {
            return Ok(None);
        }
        for name in ["picotap", "nobody"] {
            if let Some(found) = named(name)? {
                return Ok(Some(found));
            }
        }
        // A container image without a list of users: this number is nobody's everywhere.
        return Ok(Some(Target { name: "nobody".into(), uid: Uid::from_raw(65534), gid: Gid::from_raw(65534) }));
    };
    let found = match numbers(wanted) {
        Some(found) => found,
        None => named(wanted)?.ok_or_else(|| PrivilegeError::NoSuchUser(wanted.to_owned()))?,
    };
    if found.uid == present && !present.is_root() {
        return Ok(None);
    }
    if !present.is_root() {
        return Err(PrivilegeError::NotRoot { wanted: wanted.to_owned(), present });
    }
    if found.uid.is_root() {
        return Err(PrivilegeError::IsRoot(wanted.to_owned()));
    }
    Ok(Some(found))
}

fn named(name: &str) -> Result<Option<Target>, PrivilegeError> {
    let user = match User::from_name(name) {
        Ok(user) => user,
        // No list of users at all, as in an empty root (getpwnam_r(3)).
        Err(Errno::ENOENT | Errno::ESRCH) => None,
        Err(error) => return Err(step("looking the user up", error)),
    };
    Ok(user.map(|user| Target { name: user.name, uid: user.uid, gid: user.gid }))
}

/// Parses `uid` or `uid:gid`. Without a group it is the user's own or, of an unknown user, the one of the same number.
fn numbers(text: &str) -> Option<Target> {
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (uid.parse().ok()?, Some(gid.parse().ok()?)),
        None => (text.parse().ok()?, None),
    };
    let known = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let own = || known.as_ref().map_or(uid, |user| user.gid.as_raw());
    let gid = gid.unwrap_or_else(own);
    let name = known.as_ref().map_or_else(|| uid.to_string(), |user| user.name.clone());
    Some(Target { name, uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) })
}

fn become_user(target: &Target) -> Result<(), PrivilegeError> {
    let failed = |cause| PrivilegeError::Become { user: target.name.clone(), cause };
    setgroups(&[]).map_err(failed)?;
    setresgid(target.gid, target.gid, target.gid).map_err(failed)?;
    setresuid(target.uid, target.uid, target.uid).map_err(failed)?;
    let root = Uid::from_raw(0);
    if setresuid(root, root, root) != Err(Errno::EPERM) {
        return Err(PrivilegeError::Regained);
    }
    Ok(())
}

/// Makes a directory for its owner only, whatever the umask. One that exists stays as it is.
///
/// # Errors
/// What the system says.
pub fn make_directory(directory: &Path) -> std::io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
    fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE))
}

fn step(doing: &'static str, cause: impl ToString) -> PrivilegeError {
    PrivilegeError::Step { doing, cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_may_be_given_in_numbers() {
        let found = numbers("4711:42").expect("numbers");
        assert_eq!((found.uid.as_raw(), found.gid.as_raw()), (4711, 42));
        assert_eq!(numbers("4711").expect("a number").gid.as_raw(), 4711);
        assert_eq!(numbers("picotap"), None);
        assert_eq!(numbers("1:"), None);
    }

    #[test]
    fn an_unknown_user_is_named() {
        let error = target(Some("no-such-user")).expect_err("there is no such user");
        assert!(error.to_string().starts_with("user no-such-user: there is no such user"), "{error}");
    }

    #[test]
    fn dropping_is_refused_once_threads_run() {
        // The harness runs a test in a thread of its own.
        let error = drop_all(&DropPrivileges::default(), &[]).expect_err("more than one thread");
        assert!(matches!(error, PrivilegeError::Threads(2..)), "{error}");
    }

    #[test]
    fn the_report_fits_a_line() {
        let report = Confinement {
            user: "picotap".into(),
            uid: 998,
            gid: 997,
            bounding_empty: true,
            calls: Ok(90),
            files: Err("landlock is not in this kernel".into()),
        };
        assert_eq!(
            report.to_string(),
            "running as picotap (uid 998, gid 997), no capabilities, no new privileges, no core dumps, \
             90 system calls allowed, files not restricted (landlock is not in this kernel)"
        );
    }
}
