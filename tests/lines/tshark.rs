//! tshark lists the same transactions for every fixture, or the fixture explains why not.
//!
//! Compared is the list of client, its port, method, target and status. Where tshark's list is another one, it stands in
//! `tshark.txt` beside the capture and the README explains which is right. `BLESS=1` regenerates those lists.

use crate::support;
use std::fs;
use std::path::{Path, PathBuf};

use support::line::essence;
use support::tool::need;
use support::tshark::transactions;

/// The one capture of a fixture; nothing where there are several files.
fn capture(directory: &Path) -> Option<PathBuf> {
    let mut captures: Vec<_> =
        fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).filter(|p| is_capture(p)).collect();
    // The recording stands beside its directory.
    captures.extend(Some(directory.with_extension("pcap")).filter(|recording| recording.is_file()));
    captures.pop().filter(|_| captures.is_empty())
}

fn is_capture(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains(".pcap"))
}

#[test]
fn tshark_sees_the_same_transactions() {
    let Some(tshark) = need("tshark_sees_the_same_transactions", "tshark") else { return };
    let only = std::env::var("CASE").unwrap_or_default();
    let mut directories = support::fixtures::directories();
    directories.retain(|directory| directory.to_string_lossy().contains(&only));
    // tshark takes a third of a second to start: two at a time.
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let halves = directories.chunks(directories.len().div_ceil(2).max(1));
        let judges: Vec<_> = halves
            .map(|half| {
                scope.spawn(|| half.iter().filter_map(|directory| judge(&tshark, directory)).collect::<Vec<_>>())
            })
            .collect();
        judges.into_iter().flat_map(|judge| judge.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a fixture's agreement.
fn judge(tshark: &Path, directory: &Path) -> Option<String> {
    let readme = fs::read_to_string(directory.join("README.md")).unwrap();
    if !readme.contains("tshark gives") {
        return None;
    }
    let says = transactions(tshark, &capture(directory)?);
    let expected = fs::read_to_string(directory.join("expected.jsonl")).unwrap();
    let mut ours: Vec<String> = expected.lines().map(|line| essence(line).2).collect();
    ours.sort();
    if !readme.contains("tshark gives another list") {
        return (says != ours).then(|| format!("{}: tshark says {says:#?}, expected {ours:#?}", directory.display()));
    }
    let own = directory.join("tshark.txt");
    let text: String = says.iter().map(|row| format!("{row}\n")).collect();
    if std::env::var_os("BLESS").is_some() {
        fs::write(&own, &text).unwrap();
    }
    let kept = fs::read_to_string(&own).unwrap_or_default();
    (kept != text || says == ours)
        .then(|| format!("{}: the README says that tshark differs; it says {says:#?}", directory.display()))
}
