//! Inherited descriptors: the parent process may have left sockets or files open that picotap does not need.

use std::io::ErrorKind;
use std::os::fd::RawFd;
use std::path::Path;
use std::{fs, io};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

/// The most descriptors that are tried where there is no list: the kernel's own limit for a process (`fs.nr_open`), unless it was raised.
const MOST_DESCRIPTORS: RawFd = 1 << 20;

/// The descriptor that a path names: `/dev/fd/N` or `/proc/self/fd/N`.
#[must_use]
pub fn named(path: &Path) -> Option<RawFd> {
    let number = path.strip_prefix("/dev/fd").or_else(|_| path.strip_prefix("/proc/self/fd")).ok()?;
    number.to_str()?.parse().ok()
}

/// Closes every descriptor but the first three and those in `keep`. Returns how many were closed. Must be called before the
/// program opens anything.
///
/// It goes by the list in `/proc`: there is no safe binding of close_range(2), and the descriptors are few. Where `/proc` is not
/// mounted, as in an empty root, it tries every number below the hard limit of open files, at most 1,048,576.
///
/// # Errors
/// If the list cannot be read.
pub fn close_inherited(keep: &[RawFd]) -> io::Result<usize> {
    let numbers: Vec<RawFd> = match fs::read_dir("/proc/self/fd") {
        Ok(entries) => {
            let names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
            names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect()
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let (_, limit) = getrlimit(Resource::RLIMIT_NOFILE)?;
            (0..RawFd::try_from(limit).unwrap_or(MOST_DESCRIPTORS).min(MOST_DESCRIPTORS)).collect()
        }
        Err(error) => return Err(error),
    };
    let mut closed = 0;
    for number in numbers.into_iter().filter(|number| *number > 2 && !keep.contains(number)) {
        match nix::unistd::close(number) {
            Ok(()) => closed += 1,
            // The descriptor of the list itself, which is closed by now, or a number that is not open.
            Err(Errno::EBADF) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_descriptors_are_known() {
        let all = ["/dev/fd/3", "/proc/self/fd/12", "/dev//fd/./7", "/dev/fd", "/dev/fd/x", "/dev/fd/3/x", "dev/fd/3"];
        assert_eq!(all.map(|path| named(Path::new(path))), [Some(3), Some(12), Some(7), None, None, None, None]);
    }
}
