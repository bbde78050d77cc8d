//! Reads `/proc` (proc(5)): which processes there are, their network namespaces, their sockets, and their names.
//!
//! All of it changes while it is read: what cannot be read is not there. A process is read through its open directory, so that what
//! is read of it is of one process, also if its number is another's meanwhile.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::{MAX_COMMAND, Process, cgroup};

/// The most processes that are looked at.
const MAX_PROCESSES: usize = 32_768;
/// The most open files of one process that are looked at.
const MAX_FILES: usize = 65_536;
/// The most bytes of one file that are read: 400,000 sockets.
const MAX_BYTES: usize = 64 << 20;
/// The most bytes of a line. Those of `/proc` are far shorter.
const MAX_LINE: usize = 4096;
/// Bytes read at once.
const BLOCK: usize = 64 << 10;
/// The most bytes of `/proc/PID/cgroup` that are read: all hierarchies, with paths as long as may be (4 KiB).
const MAX_CGROUP: usize = 64 << 10;

/// Reads what is under a directory, which is `/proc` but in tests.
#[derive(Debug)]
pub(super) struct Reader {
    root: PathBuf,
    block: Vec<u8>,
}

impl Reader {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), block: vec![0; BLOCK] }
    }

    /// The numbers of all processes.
    pub(super) fn processes(&self) -> Vec<u32> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).take(MAX_PROCESSES).collect()
    }

    /// The network namespace of a process (`self` or its number): the number by which the kernel tells namespaces apart.
    pub(super) fn namespace(&self, process: &str) -> Option<u64> {
        inode(&self.root.join(process).join("ns/net"), "net:[")
    }

    /// Takes the lines of a file of a process, such as `net/tcp`; whether it was there.
    pub(super) fn lines(&mut self, process: &str, name: &str, mut take: impl FnMut(&[u8])) -> bool {
        let Ok(mut file) = File::open(self.root.join(process).join(name)) else { return false };
        let (mut kept, mut read) = (0_usize, 0_usize);
        while read < MAX_BYTES {
            let Some(room) = self.block.get_mut(kept..) else { return true };
            let length = match file.read(room) {
                Ok(0) | Err(_) => break,
                Ok(length) => length,
            };
            read = read.saturating_add(length);
            let end = kept.saturating_add(length);
            let bytes = self.block.get(..end).unwrap_or_default();
            let whole = memchr::memrchr(b'\n', bytes).map_or(0, |at| at.saturating_add(1));
            bytes.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n').for_each(&mut take);
            kept = end.saturating_sub(whole);
            if kept > MAX_LINE {
                // No line of these files: what follows is not read as the end of one that is.
                return true;
            }
            self.block.copy_within(whole..end, 0);
        }
        true
    }

    /// The process with this number.
    pub(super) fn process(&self, pid: u32) -> Option<Process> {
        let directory = File::open(self.root.join(pid.to_string())).ok()?;
        named(&path_of(&directory), pid)
    }

    /// Of these sockets, those that a process holds, with the process. `left`: how many files may still be looked at.
    pub(super) fn held(&self, pid: u32, wanted: &HashSet<u64>, left: &mut usize) -> (Vec<u64>, Option<Process>) {
        let nothing = (Vec::new(), None);
        let Ok(directory) = File::open(self.root.join(pid.to_string())) else { return nothing };
        let directory_path = path_of(&directory);
        let Ok(files) = fs::read_dir(directory_path.join("fd")) else { return nothing };
        let mut found = Vec::new();
        for file in files.flatten().take((*left).min(MAX_FILES)) {
            *left = left.saturating_sub(1);
            found.extend(inode(&file.path(), "socket:[").filter(|inode| wanted.contains(inode)));
        }
        if found.is_empty() {
            return nothing;
        }
        found.sort_unstable();
        found.dedup();
        let process = named(&directory_path, pid);
        (found, process)
    }
}

/// The path of an open directory of a process: what is opened by it is of that process, or there is nothing.
fn path_of(directory: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

/// The process whose directory this is.
fn named(directory: &Path, pid: u32) -> Option<Process> {
    let mut command = start(&directory.join("comm"), MAX_COMMAND + 1)?;
    // The kernel adds a newline; a name may have others.
    if command.last() == Some(&b'\n') {
        command.pop();
    }
    command.truncate(MAX_COMMAND);
    let (container, pod) = cgroup::identifiers(&start(&directory.join("cgroup"), MAX_CGROUP).unwrap_or_default());
    Some(Process { pid: Some(pid), command: command.into(), container, pod })
}

/// The first bytes of a file.
fn start(path: &Path, most: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(most as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The number in a link such as `socket:[123]`.
fn inode(link: &Path, prefix: &str) -> Option<u64> {
    fs::read_link(link).ok()?.to_str()?.strip_prefix(prefix)?.strip_suffix(']')?.parse().ok()
}
