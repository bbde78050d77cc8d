//! The quarantine: events on which the parser failed are written to files, readable by their owner only and bounded in number.

use std::fs;
use std::io::Write;
use std::path::Path;

use crossbeam_channel::Receiver;

use crate::abi::kind;
use crate::daemon::privileges::make_directory;
use crate::export::open;
use crate::sandbox::protocol::HTTP2;
use crate::sandbox::quarantine::QuarantinedEvent;

/// Files in the directory at the most: each has at most 192 KiB, so all have 200 MB.
const MAX_FILES: usize = 1000;
/// Quarantined events for which a line is printed; the metrics count all.
const MAX_LINES: u32 = 10;

/// An event on which the parser failed, on its way into the quarantine.
#[derive(Debug, Clone)]
pub struct Condemned {
    /// The event.
    pub event: QuarantinedEvent,
    /// It is plaintext of TLS.
    pub decrypted: bool,
}

/// Writes events until the channel is closed; `decrypted`: those too that were decrypted. Returns what went wrong.
pub(super) fn keep(directory: Option<&Path>, decrypted: bool, events: &Receiver<Condemned>) -> Vec<String> {
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
    for condemned in events {
        let quarantined = condemned.event;
        let mut kept_as = String::new();
        if directory.is_some() && condemned.decrypted && !decrypted {
            kept_as = "; not kept, since it was decrypted (--quarantine-decrypted keeps such events)".to_owned();
        } else if let Some(directory) = directory.filter(|_| kept < MAX_FILES) {
            let path = directory.join(format!("conn-{}-{kept:04}.poison", quarantined.connection));
            match write(&path, &quarantined) {
                Ok(()) => {
                    kept += 1;
                    kept_as = format!("; kept as {}", path.display());
                }
                Err(e) if errors.is_empty() => errors.push(format!("{}: cannot be written: {e}", path.display())),
                Err(_) => {}
            }
        }
        lines += 1;
        if lines <= MAX_LINES {
            let QuarantinedEvent { connection, fault, event, format, .. } = &quarantined;
            let outcome = match format.protocol == HTTP2 && event.kind == kind::BYTES {
                true => "they are passed over; the third time the connection is ignored",
                false => "the connection is ignored from here on",
            };
            eprintln!(
                "picotap: the parser fails on {} bytes of connection {connection} alone ({fault}): {outcome}{kept_as}",
                event.len
            );
        } else if lines == MAX_LINES + 1 {
            eprintln!("picotap: further failures of the parser are counted, not printed");
        }
    }
    errors
}

/// Makes the directory if it does not exist, and counts the files in it.
fn prepare(directory: &Path) -> Result<usize, String> {
    let failed = |e: std::io::Error| format!("{}: cannot be used as quarantine: {e}", directory.display());
    make_directory(directory).map_err(failed)?;
    Ok(fs::read_dir(directory).map_err(failed)?.count())
}

fn write(path: &Path, quarantined: &QuarantinedEvent) -> std::io::Result<()> {
    let mut file = open::new(path, open::QUARANTINE_MODE)?;
    file.write_all(&quarantined.to_bytes())
}
