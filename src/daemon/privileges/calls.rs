//! System calls that the process may still make, by seccomp.
//!
//! There are several filters, of which the kernel takes the strictest answer: an allow-list, whose answer to anything else is
//! EPERM, so that a libc that tries a new call fails at that call and does not end the capture; a list of calls that only an
//! intruder makes, which end the process (and leave a record in the kernel's log); two calls that must be answered with
//! ENOSYS, since only then does libc fall back to others; and operations on packet sockets that other descriptors allow.
//!
//! Nothing leads to the network but the connections that the endpoint's listener accepts: there are no new sockets, no
//! connecting, no sending to an address, and no sending on the packet sockets, which would put frames on the wire.

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use thiserror::Error;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Packet sockets in one filter, so that it stays below the kernel's limit of 4096 instructions.
const SOCKETS_IN_FILTER: usize = 64;

/// Why the filters could not be installed.
#[derive(Debug, Error)]
pub(super) enum FilterError {
    /// A rule is invalid. Tests build all of them.
    #[error("a rule of the filter: {0}")]
    Rule(#[from] BackendError),
    /// The kernel refused.
    #[error("the kernel refused the filter: {0}")]
    Kernel(#[from] seccompiler::Error),
}

/// Allowed with any arguments: memory, threads, time, files, sockets that listen, signals to oneself.
const ALLOWED: &[i64] = &[
    // memory (mmap and mprotect have conditions, below); memfd_create: the guest's first memory image
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_memfd_create,
    libc::SYS_membarrier,
    // threads
    libc::SYS_clone3,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_restart_syscall,
    // signals: the guest's traps arrive as such
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    // time and chance
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // files
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_utimensat,
    libc::SYS_copy_file_range,
    libc::SYS_linkat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_umask,
    // waiting, also for the helper process, to know why it ended
    libc::SYS_wait4,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_eventfd2,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    // sockets that are open, and what a listener accepts (bind, sendto and socketpair have conditions, below); no socket,
    // connect or listen: nothing is ever fetched or called; no sendmsg, whose address is in memory, and no recvmsg, which
    // takes descriptors
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    // facts about the process and the machine
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getppid,
    libc::SYS_getrusage,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// Older variants of the calls above, which not every architecture has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLD: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_link,
    libc::SYS_unlink,
    libc::SYS_mkdir,
    libc::SYS_chmod,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_wait,
    libc::SYS_time,
];
#[cfg(target_arch = "aarch64")]
const ALLOWED_OLD: &[i64] = &[libc::SYS_renameat];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ALLOWED_OLD: &[i64] = &[];

/// End the process: picotap never makes these.
const FATAL: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
];

/// Answered with ENOSYS, so that libc falls back. clone3 has its flags in memory, where no filter sees them; clone has
/// them in a register.
const ABSENT: &[i64] = &[libc::SYS_clone3, libc::SYS_pwritev2];

/// Allowed to the helper process with any arguments (mmap, mprotect, openat and sendto have conditions). It reads files from their
/// beginning only: without lseek and pread64 the memory of other processes (`/proc/PID/mem`) cannot be read, for which its capabilities would do.
const ALLOWED_HELPER: &[i64] = &[
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    libc::SYS_restart_syscall,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_close,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_fcntl,
    libc::SYS_ppoll,
    libc::SYS_recvfrom,
];

/// Older variants of these.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HELPER_OLD: &[i64] = &[libc::SYS_readlink, libc::SYS_stat, libc::SYS_lstat, libc::SYS_poll];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HELPER_OLD: &[i64] = &[];

/// Requests of ioctl: terminal or not and how wide, blocking or not, close-on-exec, bytes waiting; and of an interface
/// its flags, index, name and unit.
const IOCTLS: &[u64] = &[0x5401, 0x5413, 0x5421, 0x5450, 0x5451, 0x541b, 0x8910, 0x8913, 0x8921, 0x8933];

/// Requests of ioctl that set the modes of a terminal (TCSETS, and with speeds TCGETS2 and TCSETS2, which newer C libraries
/// use), and that tell who is in its foreground (TIOCGPGRP). None that puts characters into what is typed there (TIOCSTI) or takes another one over.
const TERMINAL_IOCTLS: &[u64] = &[0x5402, 0x540f, 0x802c_542a, 0x402c_542b];

/// Installs the filters for this thread and those it starts. `packet`: the packet sockets. `terminal`: whether the modes of a
/// terminal can be set. Returns the number of allowed
/// calls, or why this machine has no filter.
pub(super) fn filter(packet: &[RawFd], terminal: bool) -> Result<Result<usize, String>, FilterError> {
    let enosys = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let mut filters = vec![
        (plain(FATAL), SeccompAction::KillProcess, SeccompAction::Allow),
        (plain(ABSENT), enosys, SeccompAction::Allow),
    ];
    for sockets in packet.chunks(SOCKETS_IN_FILTER) {
        filters.push((sending(sockets)?, refused(), SeccompAction::Allow));
    }
    install(filters, allowed(packet, terminal)?)
}

/// Installs the filters of the helper process, which may also make these calls. As [`filter`].
pub(super) fn filter_helper(more: &[i64]) -> Result<Result<usize, String>, FilterError> {
    let mut fatal = plain(FATAL);
    fatal.retain(|call, _| !more.contains(call));
    install(vec![(fatal, SeccompAction::KillProcess, SeccompAction::Allow)], allowed_helper(more)?)
}

fn refused() -> SeccompAction {
    SeccompAction::Errno(libc::EPERM.unsigned_abs())
}

/// Installs filters, each with its answers to what it has and to what it has not; and an allow-list behind them.
fn install(
    mut filters: Vec<(Rules, SeccompAction, SeccompAction)>,
    allowed: Rules,
) -> Result<Result<usize, String>, FilterError> {
    let Ok(machine) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(Err(format!("no filter for {}", std::env::consts::ARCH)));
    };
    let count = allowed.len();
    // The allow-list comes last: it does not allow another filter.
    filters.push((allowed, SeccompAction::Allow, refused()));
    let mut installed = false;
    for (rules, matched, otherwise) in filters {
        let filter = SeccompFilter::new(rules, otherwise, matched, machine)?;
        let program = BpfProgram::try_from(filter)?;
        if let Err(error) = seccompiler::apply_filter(&program) {
            // If the first fails the machine has no filters; if a later one does, something is wrong.
            return match unavailable(&error) {
                Some(reason) if !installed => Ok(Err(reason.to_owned())),
                _ => Err(error.into()),
            };
        }
        installed = true;
    }
    Ok(Ok(count))
}

/// Why this process can have no filters, if that is what the error says.
fn unavailable(error: &seccompiler::Error) -> Option<&'static str> {
    let seccompiler::Error::Seccomp(error) = error else { return None };
    match error.raw_os_error()? {
        libc::EINVAL | libc::ENOSYS => Some("this kernel has no seccomp filters"),
        libc::EPERM => Some("the filter that it was started under refuses seccomp"),
        _ => None,
    }
}

fn plain(calls: &[i64]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

fn allowed(packet: &[RawFd], terminal: bool) -> Result<Rules, BackendError> {
    let mut rules = plain(ALLOWED);
    rules.extend(plain(ALLOWED_OLD));
    // A new thread, never a new process.
    let thread = u64::try_from(libc::CLONE_THREAD).unwrap_or_default();
    rules.insert(libc::SYS_clone, vec![rule(&[masked(0, thread, thread)?])?]);
    // The compiler of the guest writes code and then makes it executable; never both at once.
    memory(&mut rules, &[0, libc::PROT_WRITE, libc::PROT_EXEC])?;
    // Without an address, and without TCP fast open, which opens a connection; connected sockets need neither.
    let fast_open = u64::try_from(libc::MSG_FASTOPEN).unwrap_or_default();
    rules.insert(libc::SYS_sendto, vec![rule(&[null(4)?, masked(3, fast_open, 0)?])?]);
    // signal-hook's handlers wake their thread through one.
    rules.insert(libc::SYS_socketpair, vec![rule(&[equal(0, libc::AF_UNIX)?])?]);
    // A packet socket is bound again when its interface is made anew; no other socket is bound.
    let sockets: Result<Vec<_>, _> = packet.iter().map(|socket| rule(&[equal(0, *socket)?])).collect();
    if !packet.is_empty() {
        rules.insert(libc::SYS_bind, sockets?);
    }
    // Limits are read, not set: a limit on core dumps stays.
    rules.insert(libc::SYS_prlimit64, vec![rule(&[null(2)?])?]);
    let more = if terminal { TERMINAL_IOCTLS } else { &[] };
    let requests: Result<Vec<_>, _> = IOCTLS.iter().chain(more).map(|request| rule(&[number(1, *request)?])).collect();
    rules.insert(libc::SYS_ioctl, requests?);
    // The names of threads and of memory mappings (newer libcs name stacks).
    let names = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA];
    let names: Result<Vec<_>, _> = names.iter().map(|option| rule(&[equal(0, *option)?])).collect();
    rules.insert(libc::SYS_prctl, names?);
    Ok(rules)
}

/// Memory is mapped and protected with one of these, of writable and executable, and never with both.
fn memory(rules: &mut Rules, protections: &[libc::c_int]) -> Result<(), BackendError> {
    let write_execute = u64::try_from(libc::PROT_WRITE | libc::PROT_EXEC).unwrap_or_default();
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let mut alternatives = Vec::new();
        for protection in protections {
            alternatives.push(rule(&[masked(2, write_execute, u64::try_from(*protection).unwrap_or_default())?])?);
        }
        rules.insert(call, alternatives);
    }
    Ok(())
}

/// What the helper process may call. It makes no process, thread or socket, and opens files for reading only.
fn allowed_helper(more: &[i64]) -> Result<Rules, BackendError> {
    let mut rules = plain(ALLOWED_HELPER);
    rules.extend(plain(ALLOWED_HELPER_OLD));
    memory(&mut rules, &[0, libc::PROT_WRITE])?;
    let writing = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | (libc::O_TMPFILE & !libc::O_DIRECTORY);
    let writing = u64::try_from(writing).unwrap_or_default();
    rules.insert(libc::SYS_openat, vec![rule(&[masked(2, writing, 0)?])?]);
    rules.insert(libc::SYS_sendto, vec![rule(&[null(4)?])?]);
    rules.extend(plain(more));
    Ok(rules)
}

/// Calls that send on one of these sockets, or duplicate it: no filter would know the second descriptor.
fn sending(packet: &[RawFd]) -> Result<Rules, BackendError> {
    let mut rules = Rules::new();
    for socket in packet {
        for call in [libc::SYS_write, libc::SYS_writev, libc::SYS_pwrite64, libc::SYS_sendto] {
            rules.entry(call).or_default().push(rule(&[equal(0, *socket)?])?);
        }
        for command in [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC] {
            rules.entry(libc::SYS_fcntl).or_default().push(rule(&[equal(0, *socket)?, equal(1, command)?])?);
        }
    }
    Ok(rules)
}

fn rule(conditions: &[SeccompCondition]) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(conditions.to_vec())
}

fn number(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn equal(argument: u8, value: libc::c_int) -> Result<SeccompCondition, BackendError> {
    number(argument, u64::from(value.unsigned_abs()))
}

/// A pointer to nothing.
fn null(argument: u8) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_call_is_both_allowed_and_fatal() {
        let allowed = allowed(&[3], true).expect("the rules are rules");
        assert!(FATAL.iter().all(|call| !allowed.contains_key(call)));
    }

    #[test]
    fn no_call_reaches_out() {
        let allowed = allowed(&[], true).expect("the rules are rules");
        for call in [
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_sendmsg,
            libc::SYS_sendmmsg,
            libc::SYS_sendfile,
            libc::SYS_splice,
            libc::SYS_dup,
            libc::SYS_dup3,
        ] {
            assert!(!allowed.contains_key(&call), "{call}");
        }
    }

    #[test]
    fn the_helper_starts_nothing_writes_nothing_and_reads_no_memory() {
        let allowed = allowed_helper(&[]).expect("the rules are rules");
        assert!(FATAL.iter().all(|call| !allowed.contains_key(call)));
        for call in [
            libc::SYS_socket,
            libc::SYS_sendmsg,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_lseek,
            libc::SYS_pread64,
            libc::SYS_preadv,
            libc::SYS_readv,
            libc::SYS_unlinkat,
            libc::SYS_openat2,
        ] {
            assert!(!allowed.contains_key(&call), "{call}");
        }
        // What it opens it may only read.
        assert_eq!(allowed[&libc::SYS_openat].len(), 1);
        let more = allowed_helper(&[libc::SYS_bpf]).expect("the rules are rules");
        assert_eq!(more.len(), allowed.len() + 1);
    }

    #[test]
    fn only_top_sets_the_modes_of_a_terminal() {
        let requests = |terminal| allowed(&[], terminal).expect("the rules are rules")[&libc::SYS_ioctl].len();
        assert_eq!((requests(false), requests(true)), (IOCTLS.len(), IOCTLS.len() + 4));
        let typing = libc::TIOCSTI;
        assert!(IOCTLS.iter().chain(TERMINAL_IOCTLS).all(|request| *request != typing));
    }

    #[test]
    fn the_filters_fit_the_kernel_s_limit_on_every_machine() {
        let sockets: Vec<RawFd> = (3..).take(SOCKETS_IN_FILTER).collect();
        for machine in [TargetArch::x86_64, TargetArch::aarch64, TargetArch::riscv64] {
            for rules in [allowed(&sockets, true), sending(&sockets)] {
                let rules = rules.expect("the rules are rules");
                let filter = SeccompFilter::new(rules, SeccompAction::Errno(1), SeccompAction::Allow, machine);
                let program = BpfProgram::try_from(filter.expect("a filter")).expect("a program");
                assert!(program.len() < 4096, "{} instructions", program.len());
            }
        }
    }
}
