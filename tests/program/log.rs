//! A log on a disk that is really full: a file system of 64 KiB in memory, which takes a part of a line and then no more.

#![expect(clippy::unwrap_used, reason = "a failing test may panic")]

use crate::support;
use std::fs;
use std::path::Path;
use std::process::Command;

use picotap::export::chunk::Chunk;
use picotap::export::log::{Log, LogNotice, Rotation, Target};
use picotap::export::{FormatName, Origin};
use support::disk::Disk;

fn log(path: &Path, rotation: Option<Rotation>) -> Log {
    Log::open(Target::File(path.to_owned()), rotation, FormatName::Json.writer(Origin::default()), 0).unwrap()
}

/// `count` lines of 100 bytes, numbered from `first`.
fn lines(first: usize, count: usize) -> Chunk {
    let bytes = (first..first + count).map(|number| format!("{number:099}\n")).collect::<String>().into_bytes();
    Chunk { bytes, records: count as u64, ..Chunk::default() }
}

/// The numbers of the lines of a file, all of which are whole.
fn numbers(path: &Path) -> Vec<usize> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'), "the last line is torn");
    let number = |line: &str| {
        assert_eq!(line.len(), 99, "{line:?} is torn");
        line.parse().unwrap()
    };
    text.lines().map(number).collect()
}

#[test]
fn a_full_disk_loses_whole_lines_and_is_recovered_from() {
    if !support::tool::has(&["root", "mount", "umount"]) {
        return;
    }
    let disk = Disk::new(64, 0);
    let (path, ballast) = (disk.file("log"), disk.file("ballast"));
    fs::write(&ballast, vec![0; 30_000]).unwrap();
    let (mut log, mut notices) = (log(&path, None), Vec::new());
    for first in (0..1000).step_by(50) {
        log.write(&lines(first, 50), 0, &mut notices).unwrap();
    }
    let lost = usize::try_from(log.counters().lost_lines).unwrap();
    assert!(lost > 500 && matches!(notices[..], [LogNotice::Failing(_)]), "{notices:?}");
    fs::remove_file(&ballast).unwrap();
    log.write(&lines(1000, 50), 0, &mut notices).unwrap();
    assert!(matches!(notices[..], [_, LogNotice::Recovered { lines }] if lines == lost as u64), "{notices:?}");
    let kept = numbers(&path);
    assert_eq!((kept.len(), kept.is_sorted()), (1050 - lost, true));
    assert!(kept.ends_with(&(1000..1050).collect::<Vec<_>>()));
}

#[test]
fn a_log_that_ends_on_a_full_disk_ends_with_a_whole_line() {
    if !support::tool::has(&["root", "mount", "umount"]) {
        return;
    }
    let disk = Disk::new(64, 0);
    let path = disk.file("log");
    let (mut log, mut notices) = (log(&path, None), Vec::new());
    log.write(&lines(0, 1000), 0, &mut notices).unwrap();
    let lost = log.close(0).lost_lines;
    assert_eq!(numbers(&path).len() as u64 + lost, 1000);
}

#[test]
fn rotation_makes_room_on_a_full_disk() {
    if !support::tool::has(&["root", "mount", "umount"]) {
        return;
    }
    let disk = Disk::new(64, 0);
    let path = disk.file("log");
    let rotation = Rotation { size: Some(16_000), interval: None, keep: 1 };
    let (mut log, mut notices) = (log(&path, Some(rotation)), Vec::new());
    let mut first = 0;
    // Old files give way while more is written than the disk holds; the thread that removes them may lag behind.
    while log.counters().rotations < 40 {
        log.write(&lines(first, 10), 0, &mut notices).unwrap();
        first += 10;
    }
    let counters = log.close(0);
    assert_eq!(counters.lines, first as u64);
    numbers(&path);
}

#[test]
fn a_run_whose_compressed_log_finds_no_room_fails() {
    if !support::tool::has(&["root", "mount", "umount"]) {
        return;
    }
    let disk = Disk::new(64, 0);
    let ballast = fs::write(disk.file("ballast"), vec![0; 1 << 20]);
    assert!(ballast.is_err(), "the disk is full");
    for name in ["log.json.gz", "log.json.zst"] {
        let run = Command::new(env!("CARGO_BIN_EXE_picotap"))
            .args(["-r", concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/http.pcap"), "-o"])
            .arg(disk.file(name))
            .output()
            .unwrap();
        let said = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(1), "{said}");
        assert!(said.contains("cannot write the log"), "{said}");
        assert_eq!(fs::metadata(disk.file(name)).map_or(0, |file| file.len()), 0);
    }
}
