//! Which files processes run that can be probed: TLS libraries that are mapped, and executables that contain one. It is kept up to
//! date, turn by turn: a process is looked at when it appears, again soon after, since it may run another program or load a library
//! by then, and then less and less often.
//!
//! Files are opened by the mapping (`/proc/PID/map_files`), so that it is the one that the process runs, whatever its path names by
//! now, and in a container too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};

use super::{Library, Scope, elf};

/// The most processes and files that are known, and files that are probed; a machine that has more is looked at in part, which is
/// said. Each probed file takes a descriptor or two.
const MAX_PROCESSES: usize = 100_000;
const MAX_FILES: usize = 10_000;
const MAX_TARGETS: usize = 400;
/// The most bytes that are read of a list of mappings: 65,530 of them, and some long paths.
const MAX_MAPS: u64 = 32 << 20;
/// The longest time between two looks at a process, in turns.
const MOST_TURNS: u64 = 16;
/// So many turns a file is known after nobody runs it.
const IDLE_TURNS: u64 = 10;

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

/// A file, however it is called and however often it is mounted. Length and time tell apart what had the same number one after the
/// other; not the time at which it was renamed or lost a name (ctime).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    /// 0 of an overlay: containers of one image have an overlay each, and run the same file below.
    device: u64,
    number: u64,
    length: u64,
    modified: [i64; 2],
}

/// A file to probe.
#[derive(Debug)]
pub(super) struct Target {
    /// Its path, as the first process that runs it sees it.
    pub(super) path: PathBuf,
    /// Which it is.
    pub(super) identity: Identity,
    pub(super) file: File,
    /// Places of functions in it.
    pub(super) points: Vec<(Library, u64)>,
}

/// What a turn brought.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Files to probe.
    pub(super) found: Vec<Target>,
    /// Files that nobody runs any more, and nobody will.
    pub(super) gone: Vec<Identity>,
    /// Files that could not be read, with the reason.
    pub(super) failed: Vec<(PathBuf, io::Error)>,
}

/// What is known.
#[derive(Debug)]
pub(super) struct Survey {
    scope: Scope,
    /// This process, which is not looked at.
    own: u32,
    turn: u64,
    processes: HashMap<u32, Process>,
    files: HashMap<Identity, Known>,
    targets: usize,
    /// Devices, and whether they are overlays.
    overlays: HashMap<u64, bool>,
    /// There are more processes or files than are known.
    partial: bool,
}

#[derive(Debug, Default)]
struct Process {
    /// The last turn in which it ran, the next in which it is looked at, and the time between.
    seen: u64,
    due: u64,
    wait: u64,
    /// What it runs of the files that are known.
    files: Vec<Identity>,
    /// Libraries that it runs and that cannot be read.
    unread: Vec<(&'static str, PathBuf)>,
    /// It could not be told.
    hidden: bool,
}

/// A file that is known.
#[derive(Debug)]
struct Known {
    what: What,
    path: PathBuf,
    /// Processes that run it, and the turn in which the last was seen.
    users: usize,
    idle: u64,
}

/// What a file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Target,
    /// It would be one, but there are as many as there may be.
    Full,
    Unread(&'static str),
    Nothing,
}

/// What a process runs.
#[derive(Debug, Default)]
struct Runs {
    files: Vec<Identity>,
    unread: BTreeMap<&'static str, PathBuf>,
}

impl Survey {
    /// Of nothing so far.
    pub(super) fn new(scope: Scope) -> Self {
        Self {
            scope,
            own: std::process::id(),
            turn: 0,
            processes: HashMap::new(),
            files: HashMap::new(),
            targets: 0,
            overlays: HashMap::new(),
            partial: false,
        }
    }

    /// Looks at what is due, at most at so many processes.
    ///
    /// # Errors
    /// `/proc` cannot be read, or there is no such process or file.
    pub(super) fn turn(&mut self, most: usize) -> io::Result<Turn> {
        self.turn += 1;
        self.partial = false;
        let mut turn = Turn::default();
        match self.scope.clone() {
            Scope::Off => {}
            Scope::File(path) => self.file(&path, &mut turn)?,
            Scope::Process(process) => {
                let exists = Path::new(&format!("/proc/{process}")).exists();
                if !exists && self.turn == 1 {
                    return Err(ErrorKind::NotFound.into());
                }
                self.running(exists.then_some(process));
                self.look_at(most, &mut turn);
            }
            Scope::Auto => {
                let own = [self.own, std::process::id()];
                let entries = fs::read_dir("/proc")?.filter_map(Result::ok);
                let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
                self.running(numbers.filter(|number| !own.contains(number)));
                self.look_at(most, &mut turn);
            }
        }
        self.forget(&mut turn);
        Ok(turn)
    }

    /// Takes over which processes run.
    fn running(&mut self, numbers: impl IntoIterator<Item = u32>) {
        for (count, number) in numbers.into_iter().enumerate() {
            if count >= MAX_PROCESSES {
                self.partial = true;
                break;
            }
            self.processes.entry(number).or_default().seen = self.turn;
        }
        let ended: Vec<_> = self.processes.extract_if(|_, process| process.seen < self.turn).collect();
        for (_, process) in ended {
            self.release(&process.files);
        }
    }

    fn look_at(&mut self, most: usize, turn: &mut Turn) {
        let due = self.processes.iter().filter(|(_, process)| process.due <= self.turn);
        let mut due: Vec<_> = due.map(|(number, process)| (process.wait, process.due, *number)).collect();
        // Those that are new first, then those that have waited longest.
        due.sort_unstable();
        for (_, _, number) in due.into_iter().take(most) {
            let looked = self.process(number, turn);
            let now = self.turn;
            let Some(process) = self.processes.get_mut(&number) else { continue };
            process.wait = (process.wait * 2).clamp(1, MOST_TURNS);
            process.due = now + process.wait;
            process.hidden = matches!(&looked, Err(error) if error.kind() == ErrorKind::PermissionDenied);
            // It may have ended meanwhile.
            let Runs { files, unread } = looked.unwrap_or_default();
            process.unread = unread.into_iter().collect();
            let before = std::mem::replace(&mut process.files, files.clone());
            for identity in files {
                if let Some(known) = self.files.get_mut(&identity) {
                    known.users += 1;
                }
            }
            self.release(&before);
        }
    }

    fn release(&mut self, files: &[Identity]) {
        for identity in files {
            if let Some(known) = self.files.get_mut(identity) {
                known.users = known.users.saturating_sub(1);
                known.idle = self.turn;
            }
        }
    }

    /// Forgets files that nobody runs. One to probe stays as long as its path names it, since it may be run again any moment.
    fn forget(&mut self, turn: &mut Turn) {
        let idle = |known: &Known| known.users == 0 && self.turn.saturating_sub(known.idle) > IDLE_TURNS;
        let idle: Vec<_> = self.files.iter().filter(|(_, known)| idle(known)).map(|(identity, _)| *identity).collect();
        for identity in idle {
            let Some(known) = self.files.get_mut(&identity) else { continue };
            let target = known.what == What::Target;
            if target {
                known.idle = self.turn;
                let path = known.path.clone();
                let named = fs::metadata(&path).is_ok_and(|metadata| self.identify(&path, &metadata) == identity);
                if named && self.targets < MAX_TARGETS {
                    continue;
                }
                self.targets -= 1;
                turn.gone.push(identity);
            }
            self.files.remove(&identity);
        }
    }

    /// Looks at a file that was named, and at what has taken its name.
    fn file(&mut self, path: &Path, turn: &mut Turn) -> io::Result<()> {
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // While it is replaced.
            Err(_) if self.turn > 1 => return Ok(()),
            Err(error) => return Err(error),
        };
        let identity = self.identify(path, &metadata);
        self.learn(identity, path, path, turn).map(drop)
    }

    fn process(&mut self, process: u32, turn: &mut Turn) -> io::Result<Runs> {
        let directory = PathBuf::from(format!("/proc/{process}"));
        // A thread of the kernel has none.
        let own = match fs::read_link(directory.join("exe")) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
            link => link.ok(),
        };
        let own = own.as_deref().and_then(Path::to_str).map(|own| own.strip_suffix(DELETED).unwrap_or(own));
        let maps = BufReader::new(File::open(directory.join("maps"))?.take(MAX_MAPS));
        let mut runs = Runs::default();
        let mut read = false;
        // Of a file that is mapped in parts, one.
        let mut seen = HashSet::new();
        for line in maps.split(b'\n') {
            let line = line?;
            let Some(Mapping { range, path }) = Mapping::read(&line) else { continue };
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some((_, library)) = UNREAD.iter().find(|(start, _)| name.starts_with(start)) {
                runs.unread.insert(library, path);
                continue;
            }
            let may_have = own == path.to_str() || name.contains("crypto") || name.contains("ssl");
            if !may_have || !seen.insert(path.clone()) {
                continue;
            }
            let Some(identity) = self.mapping(&directory.join("map_files").join(range), &path, turn) else { continue };
            if !runs.files.contains(&identity) {
                runs.files.push(identity);
            }
            match self.files.get(&identity).map(|known| &known.what) {
                Some(What::Target) => read = true,
                Some(What::Unread(library)) => _ = runs.unread.insert(library, path),
                Some(What::Full | What::Nothing) | None => {}
            }
        }
        // What is read is rarely linked with another library for its own sake: curl's has GnuTLS for a protocol that nobody uses.
        if read {
            runs.unread.clear();
        }
        Ok(runs)
    }

    /// The file of a mapping, if it is known now.
    fn mapping(&mut self, link: &Path, path: &Path, turn: &mut Turn) -> Option<Identity> {
        let identity = fs::metadata(link).map(|metadata| self.identify(link, &metadata));
        let known = identity.and_then(|identity| Ok(self.learn(identity, link, path, turn)?.then_some(identity)));
        known.unwrap_or_else(|error| {
            // The process has ended, or mapped something else: another may run the same.
            if error.kind() != ErrorKind::NotFound {
                turn.failed.push((path.to_path_buf(), error));
            }
            None
        })
    }

    /// Reads a file, once: one to probe for which there was no room is read again when there is. Whether it is known now. `link`: what is
    /// opened.
    fn learn(&mut self, identity: Identity, link: &Path, path: &Path, turn: &mut Turn) -> io::Result<bool> {
        match self.files.get(&identity).map(|known| known.what) {
            Some(What::Full) if self.targets < MAX_TARGETS => {}
            Some(_) => return Ok(true),
            None if self.files.len() >= MAX_FILES => {
                self.partial = true;
                return Ok(false);
            }
            None => {}
        }
        let what = self.judge(open(link)?, identity, path, turn);
        self.targets += usize::from(what == What::Target);
        // Only of those the path is needed.
        let path = if what == What::Target { path.to_path_buf() } else { PathBuf::new() };
        let users = self.users(&identity);
        self.files.insert(identity, Known { what, path, users, idle: self.turn });
        Ok(true)
    }

    fn judge(&mut self, file: File, identity: Identity, path: &Path, turn: &mut Turn) -> What {
        let elf::Found { points, unread } = match file.metadata().and_then(|metadata| elf::read(&file, metadata.len()))
        {
            Ok(found) => found,
            Err(error) => {
                // It will not be another the next time.
                turn.failed.push((path.to_path_buf(), error));
                return What::Nothing;
            }
        };
        if points.is_empty() {
            return unread.map_or(What::Nothing, What::Unread);
        }
        if self.targets >= MAX_TARGETS {
            return What::Full;
        }
        turn.found.push(Target { path: path.to_path_buf(), identity, file, points });
        What::Target
    }

    fn identify(&mut self, path: &Path, metadata: &Metadata) -> Identity {
        let device = metadata.dev();
        if self.overlays.len() >= MAX_FILES {
            self.overlays.clear();
        }
        let overlay = self
            .overlays
            .entry(device)
            .or_insert_with(|| statfs(path).is_ok_and(|system| system.filesystem_type() == OVERLAYFS_SUPER_MAGIC));
        Identity {
            device: if *overlay { 0 } else { device },
            number: metadata.ino(),
            length: metadata.len(),
            modified: [metadata.mtime(), metadata.mtime_nsec()],
        }
    }

    /// Processes that run a file.
    pub(super) fn users(&self, identity: &Identity) -> usize {
        self.files.get(identity).map_or(0, |known| known.users)
    }

    /// The same of all files to probe; a process that runs several counts for each.
    pub(super) fn all_users(&self) -> usize {
        self.files.values().filter(|known| known.what == What::Target).map(|known| known.users).sum()
    }

    /// Libraries that cannot be read: how many processes run them, and the path of one.
    pub(super) fn unread(&self) -> BTreeMap<&'static str, (usize, &Path)> {
        let mut all = BTreeMap::new();
        for (library, path) in self.processes.values().flat_map(|process| &process.unread) {
            all.entry(*library).or_insert((0, &**path)).0 += 1;
        }
        if let Scope::File(path) = &self.scope {
            let unread = self.files.values().filter_map(|known| match known.what {
                What::Unread(library) => Some((library, (0, &**path))),
                What::Target | What::Full | What::Nothing => None,
            });
            all.extend(unread);
        }
        all
    }

    /// Processes of which it could not be told what they run.
    pub(super) fn hidden(&self) -> usize {
        self.processes.values().filter(|process| process.hidden).count()
    }

    /// Whether there are more processes or files than are looked at.
    pub(super) fn is_partial(&self) -> bool {
        self.partial || self.files.values().any(|known| known.what == What::Full)
    }
}

/// Opens a file, and nothing that is none: opening a device may do something.
fn open(path: &Path) -> io::Result<File> {
    let kind = fs::metadata(path)?.file_type();
    if !kind.is_file() {
        let what = if kind.is_dir() || kind.is_socket() || kind.is_fifo() { "no file" } else { "a device" };
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("it is {what}")));
    }
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// What the kernel adds to the path of a file that has none any more.
const DELETED: &str = " (deleted)";

/// A mapping of a file that can be run (`proc_pid_maps(5)`).
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    range: String,
    path: PathBuf,
}

impl Mapping {
    /// Reads a line. `None` if it is not such a mapping.
    fn read(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        let mut words = line.splitn(6, ' ');
        let (range, rights, _offset) = (words.next()?, words.next()?, words.next()?);
        let (_device, number, path) = (words.next()?, words.next()?, words.next()?.trim_start());
        let number: u64 = number.parse().ok()?;
        let path = path.strip_suffix(DELETED).unwrap_or(path);
        if number == 0 || rights.as_bytes().get(2) != Some(&b'x') || !path.starts_with('/') {
            return None;
        }
        // The names of `map_files` have no zeros in front.
        let (start, end) = range.split_once('-')?;
        let range = format!("{}-{}", start.trim_start_matches('0'), end.trim_start_matches('0'));
        Some(Self { range, path: path.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_that_can_be_run_have_a_file() {
        let line =
            b"007f0a1000-7f0a9000 r-xp 00001000 fe:00 4711                       /usr/lib/libcrypto.so.3 (deleted)";
        let mapping = Mapping { range: "7f0a1000-7f0a9000".into(), path: "/usr/lib/libcrypto.so.3".into() };
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
        let mut survey = Survey::new(Scope::Process(std::process::id()));
        let turn = survey.turn(usize::MAX).unwrap();
        assert!(turn.found.is_empty() && turn.failed.is_empty(), "the tests speak no TLS by OpenSSL: {turn:?}");
        assert!(Survey::new(Scope::Process(u32::MAX)).turn(1).is_err());
    }

    /// A file that looks like the library to who reads its tables.
    fn library(path: &Path) {
        fs::write(path, elf::tests::file("EVP_KDF_derive", 0x1020)).unwrap();
    }

    #[test]
    fn a_file_that_takes_the_name_of_another_is_found_and_the_other_is_let_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("libcrypto.so.3");
        library(&path);
        let mut survey = Survey::new(Scope::File(path.clone()));
        let first = survey.turn(1).unwrap().found.pop().unwrap();
        assert_eq!(first.points, [(Library::OpenSsl, 0x220)]);
        assert!(survey.turn(1).unwrap().found.is_empty(), "once");
        let next = directory.path().join("next");
        library(&next);
        fs::rename(&next, &path).unwrap();
        let second = survey.turn(1).unwrap().found.pop().unwrap();
        assert_ne!(first.identity, second.identity);
        let gone: Vec<_> = (0..2 * IDLE_TURNS + 2).flat_map(|_| survey.turn(1).unwrap().gone).collect();
        assert_eq!(gone, [first.identity]);
        fs::remove_file(&path).unwrap();
        let gone: Vec<_> = (0..2 * IDLE_TURNS + 2).flat_map(|_| survey.turn(1).unwrap().gone).collect();
        assert_eq!((gone, survey.files.len(), survey.targets), (vec![second.identity], 0, 0));
    }

    #[test]
    fn files_beyond_those_that_may_be_probed_are_read_once_until_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("libcrypto.so.3");
        library(&path);
        let mut survey = Survey::new(Scope::File(path.clone()));
        survey.targets = MAX_TARGETS;
        let learn = |survey: &mut Survey, link: &Path| {
            let identity = survey.identify(&path, &fs::metadata(&path).unwrap());
            let mut turn = Turn::default();
            let known = survey.learn(identity, link, &path, &mut turn).map_err(|error| error.kind());
            (known, turn.found.len(), survey.is_partial())
        };
        assert_eq!(learn(&mut survey, &path), (Ok(true), 0, true));
        let nowhere = directory.path().join("nowhere");
        assert_eq!(learn(&mut survey, &nowhere), (Ok(true), 0, true), "it is not opened again");
        survey.targets -= 1;
        assert_eq!(learn(&mut survey, &nowhere), (Err(ErrorKind::NotFound), 0, true));
        assert_eq!(learn(&mut survey, &path), (Ok(true), 1, false));
        assert_eq!((survey.targets, survey.files.len()), (MAX_TARGETS, 1));
    }

    #[test]
    fn processes_are_forgotten_when_they_end_and_looked_at_less_and_less_often() {
        let mut survey = Survey::new(Scope::Auto);
        survey.running([1_u32, 2, 3]);
        let mut looks = 0;
        for _ in 0..100 {
            survey.turn += 1;
            survey.running([u32::MAX]);
            let due = survey.processes.get(&u32::MAX).unwrap().due;
            looks += usize::from(due <= survey.turn);
            survey.look_at(10, &mut Turn::default());
        }
        assert_eq!(survey.processes.len(), 1);
        assert!((9..=11).contains(&looks), "{looks}");
    }
}
