//! What probes tell goes to the store that the workers share, and what captured connections use of it to a key log, if there is
//! to be one.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use zeroize::Zeroizing;

use super::run::Failure;
use super::shared::Shared;
use crate::clock::{nanoseconds, now};
use crate::export::open;
use crate::helper::{Kind, Taker};
use crate::probe::{Figures, Ring};
use crate::tls::keylog;
use crate::tls::keys::Used;

/// Time between two looks at an empty ring, which holds 8,000 calls: those of some 2,000 handshakes. The probes wake nobody.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Looks after which secrets are erased that nobody asked for.
const LOOKS: u32 = 50;

/// Takes what probes tell, until `stop` is disconnected. Errors of the key log are said once.
pub(super) fn take(mut ring: Ring, mut saved: Option<Saved>, shared: &Arc<Shared>, stop: &Receiver<()>) {
    let started = now();
    let mut looks = 0_u32;
    loop {
        let more = ring.take(|| shared.keys_mut());
        looks += 1;
        if looks.is_multiple_of(LOOKS) {
            let now = i64::try_from(nanoseconds(started.elapsed())).unwrap_or(i64::MAX);
            shared.keys_mut().turn(now);
        }
        let wait = if more { Duration::ZERO } else { LOOK_AGAIN };
        let stopped = stop.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
        if let Some(to) = &mut saved
            && let Err(error) = to.save(&shared.keys().take_used())
        {
            eprintln!(
                "picotap: {}: cannot be written any more: {error}; no further secrets are saved",
                to.path.display()
            );
            saved = None;
        }
        if stopped {
            return;
        }
    }
}

/// Takes what the helper process says of probes.
pub(super) fn taker(shared: &Arc<Shared>, quiet: bool) -> Taker {
    let shared = Arc::clone(shared);
    let take = move |message: Option<&[u8]>| match message.map(Figures::read) {
        Some(Some((figures, text))) => {
            figures.publish(shared.keys_mut().probes_mut());
            for line in text.lines().filter(|_| !quiet) {
                eprintln!("picotap: {line}");
            }
        }
        Some(None) => {}
        // The probes are gone with it.
        None => shared.keys_mut().probes_mut().files = 0,
    };
    (Kind::Probes, Box::new(take))
}

/// A key log that is written.
#[derive(Debug)]
pub(super) struct Saved {
    path: PathBuf,
    file: File,
}

impl Saved {
    /// Opens one, or makes it.
    ///
    /// # Errors
    /// It cannot be opened, or others may read it.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let file = open::append_secret(path);
        let file = file.map_err(|cause| Failure::SaveKeyLog { path: path.to_path_buf(), cause })?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Whole lines are written at once, so that whoever reads along sees no part of one.
    fn save(&mut self, used: &[Used]) -> io::Result<()> {
        if used.is_empty() {
            return Ok(());
        }
        let lines: Vec<_> = used.iter().map(|(random, label, secret)| keylog::line(random, *label, secret)).collect();
        let length = lines.iter().map(|line| line.len()).sum();
        // It does not grow, so that no copy is left behind.
        let mut text = Zeroizing::new(String::with_capacity(length));
        lines.iter().for_each(|line| text.push_str(line));
        self.file.write_all(text.as_bytes())
    }
}
