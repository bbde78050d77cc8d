//! A disk is a small file system in memory, for as long as it lives.

use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Disk(tempfile::TempDir);

impl Disk {
    /// Owned by root, or by `owner`.
    pub fn new(kibibytes: u32, owner: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = format!("size={kibibytes}k,uid={owner},gid={owner},mode=0755");
        mount(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "picotap-test"]).arg(directory.path()));
        Self(directory)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A process that another thread is starting holds open files of ours until it is the other program.
        mount(Command::new("umount").arg("--lazy").arg(self.path()));
    }
}

fn mount(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}
