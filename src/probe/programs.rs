//! The programs in the kernel, what they are attached to, and the ring that they fill.

use std::collections::HashMap;
use std::fmt;
use std::ops::DerefMut;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use aya::maps::{MapData, RingBuf};
use aya::programs::UProbe;
use aya::programs::uprobe::{UProbeLinkId, UProbeScope};
use aya::{Ebpf, include_bytes_aligned};

use super::survey::{Identity, Target};
use super::{Library, ProbeError, event};
use crate::tls::keys::KeyStore;
use crate::tls::probed::Calls;

/// The programs, as the build compiled them; nothing for architectures that have none.
static PROGRAMS: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/calls.bpf.o"));

/// The most calls that are taken at once; others wait for the store meanwhile.
const BATCH: usize = 1024;

/// Loads the programs, which do nothing before they are attached.
///
/// # Errors
/// The kernel refuses, or the build has none.
pub(super) fn load() -> Result<(Programs, Ring), ProbeError> {
    if PROGRAMS.is_empty() {
        return Err(ProbeError::Architecture);
    }
    let refused = |error: &dyn std::error::Error| ProbeError::Load(chain(error));
    let mut programs = Ebpf::load(PROGRAMS).map_err(|error| refused(&error))?;
    for library in [Library::OpenSsl, Library::Go] {
        program(&mut programs, library)?.load().map_err(|error| refused(&error))?;
    }
    let ring = programs.take_map("ring").ok_or_else(|| ProbeError::Load("there is no ring".into()))?;
    let ring = RingBuf::try_from(ring).map_err(|error| refused(&error))?;
    let ring = Ring { ring, calls: Calls::default(), lost: HashMap::new() };
    Ok((Programs { programs, links: HashMap::new() }, ring))
}

/// The programs in the kernel, and what they are attached to until this is dropped.
pub(super) struct Programs {
    programs: Ebpf,
    links: HashMap<Identity, Vec<(Library, UProbeLinkId)>>,
}

impl fmt::Debug for Programs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Programs at {} files", self.links.len())
    }
}

impl Programs {
    /// Attaches the programs to a file: whoever runs it is probed.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn attach(&mut self, target: &Target) -> Result<(), ProbeError> {
        // The file that was looked at, whatever its path names by now.
        let file = format!("/proc/self/fd/{}", target.file.as_raw_fd());
        for (library, place) in &target.points {
            let attached = program(&mut self.programs, *library)?.attach(*place, &file, UProbeScope::AllProcesses);
            let link =
                attached.map_err(|error| ProbeError::Attach { path: target.path.clone(), cause: chain(&error) })?;
            self.links.entry(target.identity).or_default().push((*library, link));
        }
        Ok(())
    }

    /// Detaches them. Whether they were attached.
    pub(super) fn detach(&mut self, identity: &Identity) -> bool {
        let links = self.links.remove(identity);
        let attached = links.is_some();
        for (library, link) in links.into_iter().flatten() {
            // It is gone either way.
            if let Ok(program) = program(&mut self.programs, library) {
                let _detached = program.detach(link);
            }
        }
        attached
    }

    /// Files that they are attached to.
    pub(super) fn files(&self) -> usize {
        self.links.len()
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

/// The ring that the programs fill.
pub struct Ring {
    ring: RingBuf<MapData>,
    calls: Calls,
    /// By processor, how many calls were lost.
    lost: HashMap<u32, u64>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ring")
    }
}

impl Ring {
    /// Closes these descriptors of the programs, which are another process's from now on, but for the ring's own.
    pub fn close_others(&self, descriptors: &[RawFd]) {
        let own = self.ring.as_fd().as_raw_fd();
        for descriptor in descriptors.iter().filter(|descriptor| **descriptor != own) {
            // It is open: nothing else closes it.
            let _closed = nix::unistd::close(*descriptor);
        }
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
