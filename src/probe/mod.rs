//! Probes: secrets of TLS from the libraries of running processes, by eBPF, with nothing asked of these.
//!
//! A probe sits at a function that derives secrets, in a file; whoever runs the file calls it, also processes that start
//! later, in whatever container. It copies arguments into a ring, from which the secrets go to the key store
//! ([`crate::tls::probed`]). Nothing is probed that is called for each read or write.
//!
//! Loading and attaching takes privileges, and is done before they are dropped. After that the ring is memory.

mod check;
mod elf;
mod event;
mod survey;

use std::collections::HashMap;
use std::fmt;
use std::ops::DerefMut;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use aya::programs::UProbe;
use aya::programs::uprobe::UProbeScope;
use thiserror::Error;

pub use self::check::check;
pub use self::survey::{Survey, Target, survey};
use crate::tls::keys::KeyStore;
use crate::tls::probed::Calls;

/// The programs, as the build compiled them; nothing for architectures that have none.
#[repr(align(8))]
struct Aligned<T: ?Sized>(T);
static PROGRAMS: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/calls.bpf.o")));

/// The most calls that are taken at once; others wait for the store meanwhile.
const BATCH: usize = 1024;

/// A library of TLS that can be probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// OpenSSL 3, and what exports its functions.
    OpenSsl,
    /// Go's `crypto/tls`.
    Go,
}

impl Library {
    /// The name of its program.
    const fn program(self) -> &'static str {
        match self {
            Self::OpenSsl => "openssl",
            Self::Go => "go",
        }
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenSsl => "OpenSSL 3",
            Self::Go => "Go",
        })
    }
}

/// What is to be probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Nothing.
    Off,
    /// What the processes run that run at the start.
    Auto,
    /// What this process runs; others that run the same files are probed too.
    Process(u32),
    /// This file.
    File(PathBuf),
}

impl Scope {
    fn survey(&self) -> Result<Survey, ProbeError> {
        let failed = |what: String| move |cause| ProbeError::Survey { what, cause };
        match self {
            Self::Off => Ok(Survey::default()),
            Self::Auto => survey(None).map_err(failed("/proc".into())),
            Self::Process(process) => survey(Some(*process)).map_err(failed(format!("process {process}"))),
            Self::File(path) => survey::file(path).map_err(failed(path.display().to_string())),
        }
    }
}

/// Why there are no probes.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The build has no programs.
    #[error("there are no probes for {}", std::env::consts::ARCH)]
    Architecture,
    /// The kernel does not take the programs.
    #[error("the kernel takes no probes: {0}; needed Linux 5.8 and root, or CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN")]
    Load(String),
    /// What is to be probed cannot be looked at.
    #[error("{what}: cannot be looked at: {cause}")]
    Survey {
        /// A file, or a process.
        what: String,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// There is nothing to probe in what was named.
    #[error("{0}: has no TLS that can be probed (OpenSSL 3 or Go's crypto/tls, with symbols)")]
    Nothing(String),
    /// A probe could not be attached.
    #[error("{}: cannot be probed: {cause}", path.display())]
    Attach {
        /// The file.
        path: PathBuf,
        /// The kernel's reason.
        cause: String,
    },
}

/// The programs in the kernel, and the ring that they fill.
pub struct Probes {
    programs: Ebpf,
    ring: RingBuf<MapData>,
    calls: Calls,
    /// By processor, how many calls were lost.
    lost: HashMap<u32, u64>,
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probes")
    }
}

impl Probes {
    /// Loads the programs, which do nothing before they are attached.
    ///
    /// # Errors
    /// The kernel refuses, or the build has none.
    pub fn load() -> Result<Self, ProbeError> {
        if PROGRAMS.0.is_empty() {
            return Err(ProbeError::Architecture);
        }
        let refused = |error: &dyn std::error::Error| ProbeError::Load(chain(error));
        let mut programs = Ebpf::load(&PROGRAMS.0).map_err(|error| refused(&error))?;
        for library in [Library::OpenSsl, Library::Go] {
            program(&mut programs, library)?.load().map_err(|error| refused(&error))?;
        }
        let ring = programs.take_map("ring").ok_or_else(|| ProbeError::Load("there is no ring".into()))?;
        let ring = RingBuf::try_from(ring).map_err(|error| refused(&error))?;
        Ok(Self { programs, ring, calls: Calls::default(), lost: HashMap::new() })
    }

    /// Attaches the programs to a file: whoever runs it is probed until this is dropped.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn attach(&mut self, target: &Target) -> Result<(), ProbeError> {
        // The file that was looked at, whatever its path names by now.
        let file = format!("/proc/self/fd/{}", target.file.as_raw_fd());
        for (library, place) in &target.points {
            let attached = program(&mut self.programs, *library)?.attach(*place, &file, UProbeScope::AllProcesses);
            attached.map_err(|error| ProbeError::Attach { path: target.path.clone(), cause: chain(&error) })?;
        }
        Ok(())
    }

    /// Takes what was called since, and gives the secrets to the store, for which it asks only if there is anything. Whether there
    /// may be more.
    pub fn take<Store: DerefMut<Target = KeyStore>>(&mut self, store: impl Fn() -> Store) -> bool {
        let mut opened = None;
        for _ in 0..BATCH {
            let Some(item) = self.ring.next() else { return false };
            let store = opened.get_or_insert_with(&store);
            let Some(told) = event::Told::read(&item) else { continue };
            let before = self.lost.insert(told.cpu, told.lost).unwrap_or_default();
            store.probes_mut().lost += told.lost.saturating_sub(before);
            match told.call() {
                Some(call) => self.calls.take(&call, store),
                None => store.probes_mut().invalid += 1,
            }
        }
        true
    }
}

fn program(programs: &mut Ebpf, library: Library) -> Result<&mut UProbe, ProbeError> {
    let missing = || ProbeError::Load(format!("there is no program for {library}"));
    programs.program_mut(library.program()).and_then(|program| program.try_into().ok()).ok_or_else(missing)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    // The verifier's words may fill pages.
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

/// Probes of what is to be probed, and what people should know of it, each as one line.
///
/// # Errors
/// There are none, or what was named cannot be probed.
pub fn start(scope: &Scope) -> Result<(Probes, Vec<String>), ProbeError> {
    let mut probes = Probes::load()?;
    let survey = scope.survey()?;
    let mut notices = Vec::new();
    let mut attached = 0;
    for target in &survey.targets {
        match probes.attach(target) {
            Ok(()) => attached += 1,
            Err(error) if *scope == Scope::Auto => notices.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    match scope {
        Scope::Off | Scope::Auto => {}
        _ if attached > 0 => {}
        Scope::Process(process) => return Err(ProbeError::Nothing(format!("process {process}"))),
        Scope::File(path) => return Err(ProbeError::Nothing(path.display().to_string())),
    }
    notices.insert(0, summary(&survey, attached));
    Ok((probes, notices))
}

fn summary(survey: &Survey, attached: usize) -> String {
    let processes: usize = survey.targets.iter().map(|target| target.processes).sum();
    let mut text = format!("probes: attached to {attached} files");
    if processes > 0 {
        text += &format!(" that {processes} processes run");
    }
    for (library, (count, _)) in &survey.unread {
        text += &format!("; {library} of {count} processes cannot be read");
    }
    if survey.hidden > 0 {
        text += &format!("; {} processes could not be looked at", survey.hidden);
    }
    if survey.partial {
        text += "; there are more than were looked at";
    }
    text
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => return Ok(Self::Auto),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        if let Some(process) = text.strip_prefix("pid:") {
            let process = process.parse().ok().filter(|process| *process > 0);
            return process.map(Self::Process).ok_or_else(|| "needed the number of a process behind pid:".into());
        }
        if !Path::new(text).is_absolute() {
            return Err("needed auto, off, pid:N, or the path of a file from the root, such as /usr/bin/node".into());
        }
        Ok(Self::File(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        assert_eq!("auto".parse(), Ok(Scope::Auto));
        assert_eq!("off".parse(), Ok(Scope::Off));
        assert_eq!("pid:17".parse(), Ok(Scope::Process(17)));
        assert_eq!("/usr/bin/node".parse(), Ok(Scope::File("/usr/bin/node".into())));
        for wrong in ["", "pid:", "pid:0", "pid:x", "node", "Auto"] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong}");
        }
    }
}
