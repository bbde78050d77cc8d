//! The quarantine writes quarantined events to files, bounded in number and readable by their owner only.

use std::fs;
use std::io::Write;
use std::path::Path;

use crossbeam_channel::Receiver;

use crate::daemon::privileges::make_directory;
use crate::export::open;
use crate::sandbox::quarantine::QuarantinedEvent;

/// The most files that a directory is given: at most 192 KiB each, so 200 MB.
const MAX_FILES: usize = 1000;
/// Quarantined events about which a line is written; the metrics count all.
const MAX_LINES: u32 = 10;

/// Keeps events until no more come. Gives what went wrong.
pub(super) fn keep(directory: Option<&Path>, events: &Receiver<QuarantinedEvent>) -> Vec<String> {
    let mut errors = Vec::new();
    let mut kept = match directory.map(prepare) {
        Some(Ok(files)) => files,
        Some(Err(error)) => {
            errors.push(error);
            MAX_FILES
        }
        None => MAX_FILES,
    };
    let mut lines = 0;
    for quarantined in events {
        let mut place = String::new();
        if let Some(directory) = directory.filter(|_| kept < MAX_FILES) {
            let path = directory.join(format!("conn-{}-{kept:04}.poison", quarantined.connection));
            match write(&path, &quarantined) {
                Ok(()) => {
                    kept += 1;
                    place = format!("; kept as {}", path.display());
                }
                Err(e) if errors.is_empty() => errors.push(format!("{}: cannot be written: {e}", path.display())),
                Err(_) => {}
            }
        }
        lines += 1;
        if lines <= MAX_LINES {
            let QuarantinedEvent { connection, fault, event, .. } = &quarantined;
            eprintln!(
                "picotap: the parser fails on {} bytes of connection {connection} alone ({fault}): the connection is ignored \
                 from here on{place}",
                event.len
            );
        } else if lines == MAX_LINES + 1 {
            eprintln!("picotap: further failures of the parser are counted, not told");
        }
    }
    errors
}

/// Makes the directory if need be, and counts what is in it.
fn prepare(directory: &Path) -> Result<usize, String> {
    let said = |e: std::io::Error| format!("{}: cannot be used as quarantine: {e}", directory.display());
    make_directory(directory).map_err(said)?;
    Ok(fs::read_dir(directory).map_err(said)?.count())
}

fn write(path: &Path, quarantined: &QuarantinedEvent) -> std::io::Result<()> {
    let mut file = open::new(path, open::QUARANTINE_MODE)?;
    file.write_all(&quarantined.to_bytes())
}
