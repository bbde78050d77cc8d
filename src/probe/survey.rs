//! Which files processes run that can be probed: TLS libraries that are mapped, and executables that contain one.
//!
//! Files are opened by the mapping (`/proc/PID/map_files`), so that it is the one that the process runs, whatever its path names by
//! now, and in a container too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Library, elf};

/// The most processes that are looked at, and files that are read; a machine that has more is looked at in part, which is said.
const MAX_PROCESSES: usize = 100_000;
const MAX_FILES: usize = 10_000;
/// The most bytes that are read of a list of mappings: 65,530 of them, and some long paths.
const MAX_MAPS: u64 = 32 << 20;

/// Libraries that are known by their name alone, and cannot be read.
const UNREAD: [(&str, &str); 7] = [
    ("libgnutls.so", "GnuTLS"),
    ("libssl.so.1", "OpenSSL before 3.0"),
    ("libcrypto.so.1", "OpenSSL before 3.0"),
    ("libssl3.so", "NSS"),
    ("libjvm.so", "Java"),
    ("libmbedtls.so", "Mbed TLS"),
    ("libwolfssl.so", "wolfSSL"),
];

/// A file to probe.
#[derive(Debug)]
pub struct Target {
    /// Its path, as the first process that runs it sees it.
    pub path: PathBuf,
    pub(super) file: File,
    /// Places of functions in it.
    pub(super) points: Vec<(Library, u64)>,
    /// Processes that run it.
    pub processes: usize,
}

impl Target {
    /// The libraries in it.
    pub fn libraries(&self) -> impl Iterator<Item = Library> {
        self.points.iter().map(|(library, _)| *library)
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Survey {
    /// Files to probe.
    pub targets: Vec<Target>,
    /// Libraries that processes run and that cannot be read: how many processes, and the path of one.
    pub unread: BTreeMap<&'static str, (usize, PathBuf)>,
    /// Processes of which it could not be told what they run.
    pub hidden: usize,
    /// Files that could not be read, with the reason.
    pub failed: Vec<(PathBuf, io::Error)>,
    /// There are more processes or files than are looked at.
    pub partial: bool,
}

/// What a file turned out to be.
enum Known {
    Target(usize),
    Unread(&'static str),
    Nothing,
}

/// Looks at one process, or at all that run.
///
/// # Errors
/// `/proc` cannot be read, or there is no such process.
pub fn survey(process: Option<u32>) -> io::Result<Survey> {
    let mut look = Look::default();
    if let Some(process) = process {
        look.process(process)?;
        return Ok(look.survey);
    }
    for (number, entry) in fs::read_dir("/proc")?.enumerate() {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if number >= MAX_PROCESSES {
            look.survey.partial = true;
            break;
        }
        // It may have ended meanwhile.
        if let Err(error) = look.process(process)
            && error.kind() == io::ErrorKind::PermissionDenied
        {
            look.survey.hidden += 1;
        }
    }
    Ok(look.survey)
}

/// Looks at a file.
///
/// # Errors
/// It cannot be read.
pub(super) fn file(path: &Path) -> io::Result<Survey> {
    let mut look = Look::default();
    let opened = open(path)?;
    if let Known::Unread(library) = look.judge(opened, path.to_path_buf())? {
        look.survey.unread.insert(library, (0, path.to_path_buf()));
    }
    Ok(look.survey)
}

#[derive(Default)]
struct Look {
    survey: Survey,
    /// By device and number, as lists of mappings have them, and as the files themselves do: some file systems differ.
    mapped: HashMap<(String, u64), Known>,
    files: HashSet<(u64, u64)>,
}

impl Look {
    fn process(&mut self, process: u32) -> io::Result<()> {
        let directory = PathBuf::from(format!("/proc/{process}"));
        // A thread of the kernel has none.
        let own = match fs::read_link(directory.join("exe")) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            link => link.ok(),
        };
        let maps = BufReader::new(File::open(directory.join("maps"))?.take(MAX_MAPS));
        // A process counts once for each.
        let mut seen = HashSet::new();
        for line in maps.split(b'\n') {
            let line = line?;
            let Some(mapping) = Mapping::read(&line) else { continue };
            let file = mapping.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !seen.insert(mapping.id.clone()) {
                continue;
            }
            if let Some((_, library)) = UNREAD.iter().find(|(name, _)| file.starts_with(name)) {
                self.count_unread(library, &mapping.path);
            } else if own.as_ref() == Some(&mapping.path) || file.contains("crypto") || file.contains("ssl") {
                self.mapping(&directory, mapping);
            }
        }
        Ok(())
    }

    fn mapping(&mut self, directory: &Path, mapping: Mapping) {
        let Mapping { id, range, path } = mapping;
        if !self.mapped.contains_key(&id) {
            if self.mapped.len() >= MAX_FILES {
                self.survey.partial = true;
                return;
            }
            let opened = open(&directory.join("map_files").join(range));
            let known = match opened.and_then(|file| self.judge(file, path.clone())) {
                Ok(known) => known,
                // The process has ended: another may run the same.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return,
                Err(error) => {
                    self.survey.failed.push((path.clone(), error));
                    Known::Nothing
                }
            };
            self.mapped.insert(id.clone(), known);
        }
        match self.mapped.get(&id) {
            Some(Known::Target(at)) => {
                if let Some(target) = self.survey.targets.get_mut(*at) {
                    target.processes += 1;
                }
            }
            Some(Known::Unread(library)) => self.count_unread(library, &path),
            _ => {}
        }
    }

    fn count_unread(&mut self, library: &'static str, path: &Path) {
        self.survey.unread.entry(library).or_insert_with(|| (0, path.to_path_buf())).0 += 1;
    }

    fn judge(&mut self, file: File, path: PathBuf) -> io::Result<Known> {
        let metadata = file.metadata()?;
        let elf::Found { points, unread } = elf::read(&file)?;
        if points.is_empty() {
            return Ok(unread.map_or(Known::Nothing, Known::Unread));
        }
        if !self.files.insert((metadata.dev(), metadata.ino())) {
            return Ok(Known::Nothing);
        }
        self.survey.targets.push(Target { path, file, points, processes: 0 });
        Ok(Known::Target(self.survey.targets.len() - 1))
    }
}

/// Opens a file, and nothing that is none: opening a device may do something.
fn open(path: &Path) -> io::Result<File> {
    let kind = fs::metadata(path)?.file_type();
    if !kind.is_file() {
        let what = if kind.is_dir() || kind.is_socket() || kind.is_fifo() { "no file" } else { "a device" };
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}")));
    }
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// A mapping of a file that can be run (`proc_pid_maps(5)`).
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    id: (String, u64),
    range: String,
    path: PathBuf,
}

impl Mapping {
    /// Reads a line. `None` if it is not such a mapping.
    fn read(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let mut words = line.splitn(6, ' ');
        let (range, rights, _offset) = (words.next()?, words.next()?, words.next()?);
        let (device, number, path) = (words.next()?, words.next()?, words.next()?.trim_start());
        let number = number.parse().ok().filter(|number| *number > 0)?;
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        if rights.as_bytes().get(2) != Some(&b'x') || !path.starts_with('/') {
            return None;
        }
        // The names of `map_files` have no zeros in front.
        let (start, end) = range.split_once('-')?;
        let range = format!("{}-{}", start.trim_start_matches('0'), end.trim_start_matches('0'));
        Some(Self { id: (device.to_owned(), number), range, path: path.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_that_can_be_run_have_a_file() {
        let line =
            b"007f0a1000-7f0a9000 r-xp 00001000 fe:00 4711                       /usr/lib/libcrypto.so.3 (deleted)";
        let mapping = Mapping {
            id: ("fe:00".into(), 4711),
            range: "7f0a1000-7f0a9000".into(),
            path: "/usr/lib/libcrypto.so.3".into(),
        };
        assert_eq!(Mapping::read(line), Some(mapping));
        for line in [
            &b"7f0a1000-7f0a9000 r--p 00001000 fe:00 4711                       /usr/lib/libcrypto.so.3"[..],
            b"7ffc1000-7ffc2000 r-xp 00000000 00:00 0                          [vdso]",
            b"7ffc1000-7ffc2000 r-xp 00000000 00:00 0 ",
            b"",
            b"x",
        ] {
            assert_eq!(Mapping::read(line), None);
        }
    }

    #[test]
    fn this_process_is_looked_at() {
        let survey = survey(Some(std::process::id())).unwrap();
        assert!(survey.targets.is_empty(), "the tests speak no TLS by OpenSSL: {survey:?}");
        assert!(super::survey(Some(u32::MAX)).is_err());
    }
}
