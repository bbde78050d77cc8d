//! What is probed follows what runs: new files are probed, those that are gone are let go. The first look is at the start, with all
//! privileges; then the helper process looks again each second.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

use caps::{CapSet, Capability};

use super::programs::{self, Programs, Ring};
use super::survey::{Survey, Turn};
use super::{ProbeError, Scope, shown};
use crate::helper::{Kind, Needs, Sender, Work};
use crate::tls::probed::ProbeCounters;

/// The most processes that are looked at in a turn. Each takes some 0.1 ms.
const PROCESSES: usize = 2_000;
/// The most that is said about files in [`MINUTE`] turns.
const NOTICES: u32 = 20;
const MINUTE: u64 = 60;
/// The longest text of a report.
const MAX_TEXT: usize = 4096;
/// Time between two turns.
const SECOND: Duration = Duration::from_secs(1);

/// What is probed.
#[derive(Debug)]
pub struct Follower {
    survey: Survey,
    /// They end with the process: in that which is forked, they must not be detached by the other's end.
    programs: ManuallyDrop<Programs>,
    /// All that they have open.
    descriptors: Vec<RawFd>,
    /// The kernel asks for more than it should.
    needs_admin: bool,
    figures: Figures,
    /// Those that were reported.
    told: Figures,
    /// When it is to look again.
    due: Option<Instant>,
    /// Libraries that cannot be read and were named.
    named: BTreeSet<&'static str>,
    turns: u64,
    said: u32,
}

/// What is counted of probes since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Files that are probed.
    pub files: u64,
    /// Files that were probed, and that could not be; those that were let go.
    pub attached: u64,
    /// See `attached`.
    pub failed: u64,
    /// See `attached`.
    pub detached: u64,
}

impl Follower {
    /// Probes what is to be probed. With what they tell, and what people should know, each as one line. To be called before any thread is
    /// started: capabilities are of a thread.
    ///
    /// # Errors
    /// The kernel takes no probes, or what was named cannot be probed.
    pub fn start(scope: &Scope) -> Result<(Self, Ring, Vec<String>), ProbeError> {
        // Where the kernel does with CAP_BPF and CAP_PERFMON, the helper process does not keep the capability for everything.
        let admin = Capability::CAP_SYS_ADMIN;
        let has = caps::has_cap(None, CapSet::Effective, admin).unwrap_or(false);
        let lowered = has && caps::drop(None, CapSet::Effective, admin).is_ok();
        if lowered {
            let started = Self::start_as_it_is(scope, false);
            let raised = caps::raise(None, CapSet::Effective, admin);
            if let Ok((follower, ..)) = &started
                && (follower.figures.failed == 0 && follower.survey.hidden() == 0 || raised.is_err())
            {
                return started;
            }
            if let Ok((follower, ..)) = started {
                drop(ManuallyDrop::into_inner(follower.programs));
            }
        }
        Self::start_as_it_is(scope, has)
    }

    fn start_as_it_is(scope: &Scope, needs_admin: bool) -> Result<(Self, Ring, Vec<String>), ProbeError> {
        let failed = |cause| ProbeError::Survey { what: "/proc/self/fd".to_owned(), cause };
        let before = open_descriptors().map_err(failed)?;
        let (programs, ring) = programs::load()?;
        let mut follower = Self {
            survey: Survey::new(scope.clone()),
            programs: ManuallyDrop::new(programs),
            descriptors: Vec::new(),
            needs_admin,
            figures: Figures::default(),
            told: Figures::default(),
            due: None,
            named: BTreeSet::new(),
            turns: 0,
            said: 0,
        };
        let begun = follower.begin(scope);
        let begun = begun.and_then(|notices| Ok((notices, open_descriptors().map_err(failed)?)));
        match begun {
            Ok((notices, after)) => {
                follower.descriptors = after.difference(&before).copied().collect();
                Ok((follower, ring, notices))
            }
            Err(error) => {
                drop(ManuallyDrop::into_inner(follower.programs));
                Err(error)
            }
        }
    }

    /// Looks for the first time.
    fn begin(&mut self, scope: &Scope) -> Result<Vec<String>, ProbeError> {
        let turn = first_turn(scope, &mut self.survey)?;
        let mut notices = Vec::new();
        for error in self.take(turn) {
            match scope {
                Scope::Auto => notices.push(error.to_string()),
                _ => return Err(error),
            }
        }
        if self.figures.files == 0 {
            match scope {
                Scope::Off | Scope::Auto => {}
                Scope::Process(process) => return Err(ProbeError::Nothing(format!("process {process}"))),
                Scope::File(path) => return Err(ProbeError::Nothing(shown(path))),
            }
        }
        notices.insert(0, self.summary());
        self.named = self.survey.unread().into_keys().collect();
        Ok(notices)
    }

    /// What the process that goes on without them closes, once the helper process has them.
    #[must_use]
    pub fn descriptors(&self) -> Vec<RawFd> {
        self.descriptors.clone()
    }

    /// Looks again, a second later. What people should know of it.
    fn look(&mut self) -> Vec<String> {
        self.turns += 1;
        if self.turns.is_multiple_of(MINUTE) {
            self.said = 0;
        }
        let mut notices = Vec::new();
        match self.survey.turn(PROCESSES) {
            Ok(turn) => {
                let found: Vec<_> = turn.found.iter().map(|target| shown(&target.path)).collect();
                let errors = self.take(turn);
                let failed: Vec<_> = errors.iter().map(ToString::to_string).collect();
                notices.extend(found.into_iter().map(|path| format!("probes: attached to {path}")));
                notices.extend(failed);
            }
            Err(error) => notices.push(format!("probes: what runs cannot be looked at: {error}")),
        }
        for (library, (_, path)) in self.survey.unread() {
            if self.named.insert(library) {
                notices
                    .push(format!("probes: {library} cannot be read, which a process runs, such as {}", shown(path)));
            }
        }
        // Whoever runs containers decides how many files there are.
        let room = usize::try_from(NOTICES.saturating_sub(self.said)).unwrap_or_default();
        let more = notices.len() > room;
        notices.truncate(room);
        self.said += u32::try_from(notices.len()).unwrap_or(NOTICES);
        if more && room > 0 {
            notices.push("probes: further files are counted, not named, for a minute".to_owned());
        }
        notices
    }

    /// What is counted.
    #[must_use]
    pub const fn figures(&self) -> Figures {
        self.figures
    }

    /// Attaches and detaches. What could not be.
    fn take(&mut self, turn: Turn) -> Vec<ProbeError> {
        let mut errors = Vec::new();
        for target in &turn.found {
            match self.programs.attach(target) {
                Ok(()) => self.figures.attached += 1,
                Err(error) => errors.push(error),
            }
        }
        errors.extend(turn.failed.into_iter().map(|(path, cause)| ProbeError::Survey { what: shown(&path), cause }));
        for identity in turn.gone {
            self.figures.detached += u64::from(self.programs.detach(&identity));
        }
        self.figures.failed += errors.len() as u64;
        self.figures.files = u64::try_from(self.programs.files()).unwrap_or(u64::MAX);
        errors
    }

    fn summary(&self) -> String {
        let processes = self.survey.all_users();
        let mut text = format!("probes: attached to {} files", self.figures.files);
        if processes > 0 {
            let _written = write!(text, " that {processes} processes run");
        }
        for (library, (count, _)) in self.survey.unread() {
            let _written = write!(text, "; {library} of {count} processes cannot be read");
        }
        if self.survey.hidden() > 0 {
            let _written = write!(text, "; {} processes could not be looked at", self.survey.hidden());
        }
        if self.survey.is_partial() {
            text += "; there are more than were looked at";
        }
        text
    }
}

impl Work for Follower {
    fn kind(&self) -> Kind {
        Kind::Probes
    }

    fn needs(&self) -> Needs {
        let mut capabilities = vec![Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];
        if self.needs_admin {
            capabilities.push(Capability::CAP_SYS_ADMIN);
        } else {
            capabilities.extend([Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_CHECKPOINT_RESTORE]);
        }
        let calls = vec![
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            // Enabling a perf event, where the kernel has no links of them (before Linux 5.15).
            libc::SYS_ioctl,
            // Tables of files.
            libc::SYS_pread64,
            libc::SYS_statfs,
        ];
        Needs { capabilities, calls, descriptors: self.descriptors.clone() }
    }

    fn message(&mut self, _: &[u8], _: Instant) {}

    fn turn(&mut self, now: Instant, answers: &Sender) -> Instant {
        let due = *self.due.get_or_insert(now + SECOND);
        if now < due {
            return due;
        }
        let next = now + SECOND;
        self.due = Some(next);
        let notices = self.look();
        // What is not taken now is told with the next: the figures are those since the start.
        if self.told != self.figures || !notices.is_empty() {
            let sent = answers.send(&report(&self.figures, &notices));
            if sent {
                self.told = self.figures;
            }
        }
        next
    }
}

/// A message to picotap: figures, and lines for people.
fn report(figures: &Figures, notices: &[String]) -> Vec<u8> {
    let Figures { files, attached, failed, detached } = figures;
    let mut message = [files, attached, failed, detached].map(|figure| figure.to_le_bytes()).concat();
    let text = notices.join("\n");
    message.extend(text.bytes().take(MAX_TEXT));
    message
}

impl Figures {
    /// Takes them over into what is counted.
    pub const fn publish(self, counters: &mut ProbeCounters) {
        (counters.files, counters.attached) = (self.files, self.attached);
        (counters.failed, counters.detached) = (self.failed, self.detached);
    }

    /// Reads a message of the helper process: with lines for people.
    #[must_use]
    pub fn read(message: &[u8]) -> Option<(Self, String)> {
        let (figures, text) = message.split_first_chunk::<32>()?;
        let (figures, _) = figures.as_chunks::<8>();
        let [files, attached, failed, detached] = figures else { return None };
        let [files, attached, failed, detached] =
            [files, attached, failed, detached].map(|figure| u64::from_le_bytes(*figure));
        // Names are escaped already; nothing else than lines is let through.
        let safe =
            |letter: char| if letter.is_control() && letter != '\n' { char::REPLACEMENT_CHARACTER } else { letter };
        let text = String::from_utf8_lossy(text).chars().map(safe).collect();
        Some((Self { files, attached, failed, detached }, text))
    }
}

fn open_descriptors() -> io::Result<BTreeSet<RawFd>> {
    let names = fs::read_dir("/proc/self/fd")?.filter_map(Result::ok);
    let all: BTreeSet<_> = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // That of the list itself is closed by now.
    Ok(all.into_iter().filter(|number| fs::exists(format!("/proc/self/fd/{number}")).unwrap_or(true)).collect())
}

/// Looks for the first time, at all.
pub(super) fn first_turn(scope: &Scope, survey: &mut Survey) -> Result<Turn, ProbeError> {
    survey.turn(usize::MAX).map_err(|cause| {
        let what = match scope {
            Scope::Off | Scope::Auto => shown(Path::new("/proc")),
            Scope::Process(process) => format!("process {process}"),
            Scope::File(path) => shown(path),
        };
        ProbeError::Survey { what, cause }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let figures = Figures { files: 3, attached: 7, failed: u64::MAX, detached: 4 };
        let notices = ["probes: attached to /a".to_owned(), "x\x1b[2J\\x1by".to_owned()];
        let read = Figures::read(&report(&figures, &notices)).unwrap();
        assert_eq!(read, (figures, "probes: attached to /a\nx\u{fffd}[2J\\x1by".to_owned()));
        assert_eq!(Figures::read(&report(&figures, &[])), Some((figures, String::new())));
        assert_eq!(Figures::read(&[0; 31]), None);
        let long = "x".repeat(10_000);
        assert_eq!(report(&figures, &[long]).len(), 32 + MAX_TEXT);
    }
}
