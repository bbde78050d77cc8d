//! What is probed follows what runs: new files are probed, those that are gone are let go.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use super::programs::{self, Programs, Ring};
use super::survey::{Survey, Turn};
use super::{ProbeError, Scope, shown};

/// The most processes that are looked at in a turn. Each takes some 0.1 ms.
const PROCESSES: usize = 2_000;
/// The most that is said about files in [`MINUTE`] turns.
const NOTICES: u32 = 20;
const MINUTE: u64 = 60;

/// What is probed.
#[derive(Debug)]
pub struct Follower {
    survey: Survey,
    programs: Programs,
    figures: Figures,
    /// Libraries that cannot be read and were named.
    named: BTreeSet<&'static str>,
    turns: u64,
    said: u32,
}

/// What is counted of probes.
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
    /// Probes what is to be probed. With what they tell, and what people should know, each as one line.
    ///
    /// # Errors
    /// The kernel takes no probes, or what was named cannot be probed.
    pub fn start(scope: &Scope) -> Result<(Self, Ring, Vec<String>), ProbeError> {
        let (programs, ring) = programs::load()?;
        let survey = Survey::new(scope.clone());
        let (figures, named) = (Figures::default(), BTreeSet::new());
        let mut follower = Self { survey, programs, figures, named, turns: 0, said: 0 };
        let turn = first_turn(scope, &mut follower.survey)?;
        let mut notices = Vec::new();
        for error in follower.take(turn) {
            match scope {
                Scope::Auto => notices.push(error.to_string()),
                _ => return Err(error),
            }
        }
        if follower.figures.files == 0 {
            match scope {
                Scope::Off | Scope::Auto => {}
                Scope::Process(process) => return Err(ProbeError::Nothing(format!("process {process}"))),
                Scope::File(path) => return Err(ProbeError::Nothing(shown(path))),
            }
        }
        notices.insert(0, follower.summary());
        follower.named = follower.survey.unread().into_keys().collect();
        Ok((follower, ring, notices))
    }

    /// Looks again, a second later. What people should know of it.
    pub fn turn(&mut self) -> Vec<String> {
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
        self.figures.files = self.programs.files() as u64;
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
