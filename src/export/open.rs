//! Opening of the files that picotap writes, so that nobody else decides which file that is or who may read it.
//!
//! The last component of a path is not followed where it is a symbolic link: whoever may write the directory could point it
//! at any file of the user that picotap runs as. Paths below `/dev` and `/proc` are excepted, since `/dev/stdout` is a link.
//! What is made has its mode whatever the umask; what is there keeps its own.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::geteuid;

/// Mode of logs: they show what people requested.
pub const LOG_MODE: u32 = 0o640;
/// Mode of the file with metrics: whoever collects them is another user.
pub const METRICS_MODE: u32 = 0o644;
/// Mode of what is in quarantine: raw bytes from the wire.
pub const QUARANTINE_MODE: u32 = 0o600;
/// Mode of packets that are kept: all that was said on the wire.
pub const CAPTURE_MODE: u32 = 0o600;
/// Mode of key logs: whoever has them reads what was encrypted.
const SECRET_MODE: u32 = 0o600;
/// Attempts at a file that others make and remove meanwhile, as another program's rotation does. An arbitrary number.
const ATTEMPTS: u32 = 8;

/// Whether a path is the kernel's own, where links are the way to open descriptors, and where nothing is made.
#[must_use]
pub fn is_special(path: &Path) -> bool {
    path.starts_with("/dev") || path.starts_with("/proc")
}

/// Whether a path is that of a terminal.
#[must_use]
pub fn is_terminal(path: &Path) -> bool {
    // A pipe is not opened: that would wait for its reader.
    let is_device = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_char_device());
    is_device && OpenOptions::new().write(true).open(path).is_ok_and(|file| file.is_terminal())
}

/// Opens a file to append to, and makes it if it is not there. A regular file can be read as well.
///
/// # Errors
/// What the system says; that the path is a symbolic link; [`ErrorKind::NotConnected`] if it is a pipe that nobody reads.
pub fn append(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true);
    for _ in 0..ATTEMPTS {
        // Reading too would keep the other end of a pipe from being missed.
        let regular = metadata(path).is_ok_and(|metadata| metadata.is_file());
        match open(path, options.clone().read(regular)) {
            Err(error) if error.kind() == ErrorKind::NotFound && !is_special(path) => {}
            opened => return opened,
        }
        match create(path, options.clone().read(true), mode) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => return created,
        }
    }
    Err(io::Error::other("it is made and removed by others all the time"))
}

/// Opens a file of secrets to append to, and makes it if it is not there, for its owner only.
///
/// # Errors
/// What the system says; that what is there is no file, a link, or one that others own or may read.
pub fn append_secret(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true);
    match create(path, &mut options, SECRET_MODE) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let mut options = OpenOptions::new();
    // Not to wait for the reader of a pipe, and not to begin to use a terminal.
    options.append(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => is_a_link(),
        Some(libc::ENXIO) => is_no_file(),
        _ => error,
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(is_no_file());
    }
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if owner != geteuid().as_raw() || mode & 0o077 != 0 {
        return Err(io::Error::other(format!(
            "it is there already, belongs to uid {owner} and has mode {mode:o}: needed a new name, or a file of your own that \
             nobody else may read (mode 600)"
        )));
    }
    Ok(file)
}

/// Makes an empty file; what is there under its name is removed first.
///
/// # Errors
/// What the system says.
pub fn fresh(path: &Path, mode: u32) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    create(path, OpenOptions::new().read(true).append(true), mode)
}

/// Makes a file that is not there yet.
///
/// # Errors
/// What the system says; [`ErrorKind::AlreadyExists`] if there is anything of that name, and be it a dangling link.
pub fn new(path: &Path, mode: u32) -> io::Result<File> {
    create(path, OpenOptions::new().write(true), mode)
}

/// Opens a file to read.
///
/// # Errors
/// What the system says; that the path is a symbolic link.
pub fn read(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().read(true))
}

/// Replaces the contents of a file by `bytes`, all at once: whoever reads it sees the old or the new. A pipe or device is
/// written to.
///
/// # Errors
/// What the system says; that the path is a symbolic link. The old file is then as it was.
pub fn replace(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    match metadata(path) {
        Ok(metadata) if metadata.is_symlink() => return Err(is_a_link()),
        Ok(metadata) if !metadata.is_file() || is_special(path) => {
            return open(path, OpenOptions::new().write(true))?.write_all(bytes);
        }
        _ => {}
    }
    let new = beside(path);
    let mut file = fresh(&new, mode)?;
    let written = file.write_all(bytes).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // The next run removes what stays.
        let _removed = fs::remove_file(&new);
    }
    written
}

/// Whether [`replace`] would succeed now. Nothing is left behind.
///
/// # Errors
/// As with [`replace`].
pub fn try_replace(path: &Path, mode: u32) -> io::Result<()> {
    match metadata(path) {
        Ok(metadata) if metadata.is_symlink() => Err(is_a_link()),
        Ok(metadata) if metadata.is_dir() => Err(ErrorKind::IsADirectory.into()),
        // Opened only to be written to: who reads a pipe may come later.
        Ok(metadata) if !metadata.is_file() || is_special(path) => Ok(()),
        _ => {
            let new = beside(path);
            drop(fresh(&new, mode)?);
            fs::remove_file(new)
        }
    }
}

/// The name of a file that is to replace another: in the same directory, so that it can be renamed.
#[must_use]
pub fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Of the path itself, unless it is one whose links are followed.
fn metadata(path: &Path) -> io::Result<Metadata> {
    if is_special(path) { fs::metadata(path) } else { fs::symlink_metadata(path) }
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let follow = if is_special(path) { 0 } else { libc::O_NOFOLLOW };
    // Else the thread would wait for a reader, out of reach of any signal.
    let is_pipe = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    let wait = if is_pipe { libc::O_NONBLOCK } else { 0 };
    let file = options.custom_flags(follow | wait | libc::O_NOCTTY).open(path).map_err(|error| {
        // A loop among the directories has the same number.
        let is_link = || fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        match error.raw_os_error() {
            Some(libc::ELOOP) if is_link() => is_a_link(),
            Some(libc::ENXIO) if is_pipe => io::Error::new(ErrorKind::NotConnected, "nobody reads this pipe"),
            _ => error,
        }
    })?;
    if is_pipe {
        let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
        fcntl(&file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    }
    Ok(file)
}

fn create(path: &Path, options: &mut OpenOptions, mode: u32) -> io::Result<File> {
    let file = options.create_new(true).mode(mode).open(path)?;
    // Gives back what the umask took. Where a file system has no modes, what could be had is less than was asked for.
    let _set = file.set_permissions(Permissions::from_mode(mode));
    Ok(file)
}

fn is_no_file() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "it is no file: secrets are written to files only")
}

fn is_a_link() -> io::Error {
    io::Error::other(
        "it is a symbolic link, which is not followed: name the file that it points to, or remove the link",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn no_link_is_followed_and_what_it_points_to_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target"), directory.path().join("link"));
        fs::write(&target, "theirs").unwrap();
        symlink(&target, &link).unwrap();
        for refused in [append(&link, 0o640).map(drop), read(&link).map(drop), replace(&link, 0o644, b"ours")] {
            assert!(refused.unwrap_err().to_string().starts_with("it is a symbolic link, which is not followed"));
        }
        assert_eq!(new(&link, 0o600).unwrap_err().kind(), ErrorKind::AlreadyExists);
        // The link itself gives way to a file.
        fresh(&link, 0o640).unwrap().write_all(b"ours").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "theirs");
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
    }

    #[test]
    fn a_dangling_link_makes_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let (target, link) = (directory.path().join("target"), directory.path().join("link"));
        symlink(&target, &link).unwrap();
        assert!(append(&link, 0o640).is_err() && replace(&link, 0o640, b"").is_err() && new(&link, 0o600).is_err());
        assert!(!target.exists());
    }

    #[test]
    fn links_below_dev_are_the_way_to_descriptors() {
        assert!(is_special(Path::new("/dev/stdout")) && is_special(Path::new("/proc/self/fd/1")));
        assert!(!is_special(Path::new("/device")) && !is_special(Path::new("dev/stdout")));
        append(Path::new("/dev/null"), 0o640).unwrap();
        assert_eq!(append(Path::new("/dev/no-such-device"), 0o640).unwrap_err().kind(), ErrorKind::NotFound);
        replace(Path::new("/dev/null"), 0o640, b"nobody reads it").unwrap();
        assert!(metadata(Path::new("/dev/null")).is_ok_and(|metadata| !metadata.is_file()), "nothing took its place");
    }

    #[test]
    fn a_pipe_without_a_reader_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(append(&path, 0o640).unwrap_err().kind(), ErrorKind::NotConnected);
        let reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let writer = append(&path, 0o640).unwrap();
        let flags = OFlag::from_bits_retain(fcntl(&writer, FcntlArg::F_GETFL).unwrap());
        assert!(!flags.contains(OFlag::O_NONBLOCK), "what is written later may wait");
        drop(reader);
    }

    #[test]
    fn an_existing_file_keeps_its_mode_and_a_replaced_one_gets_the_new() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        append(&path, 0o640).unwrap();
        assert_eq!(mode(&path), 0o600);
        replace(&path, 0o644, b"new").unwrap();
        assert_eq!((mode(&path), fs::read_to_string(&path).unwrap().as_str()), (0o644, "new"));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_cannot_be_replaced_stays_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "old").unwrap();
        try_replace(&path, 0o644).unwrap();
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "trying leaves nothing");
        fs::create_dir(beside(&path)).unwrap();
        assert!(try_replace(&path, 0o644).is_err() && try_replace(directory.path(), 0o644).is_err());
        assert!(replace(&path, 0o644, b"new").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    }

    #[test]
    fn secrets_go_to_files_that_nobody_else_reads() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        append_secret(&path).unwrap().write_all(b"a").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        append_secret(&path).unwrap().write_all(b"b").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ab");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = append_secret(&path).unwrap_err().to_string();
        assert!(error.contains("has mode 640: needed a new name"), "{error}");
        let link = directory.path().join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(append_secret(&link).unwrap_err().to_string(), is_a_link().to_string());
        assert!(append_secret(directory.path()).is_err());
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(append_secret(&pipe).unwrap_err().to_string(), is_no_file().to_string());
        assert!(append_secret(Path::new("/dev/null")).is_err());
    }
}
