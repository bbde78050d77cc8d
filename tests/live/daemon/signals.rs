//! SIGHUP and rotation, after privileges were given up.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};

use crate::support::daemon::{Daemon, NOBODY, directory, lines};
use crate::support::network::{Network, until};

const REAL: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/picotap.wasm"));
/// The same source with another state format.
const REFORMED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/reformed.wasm"));
/// The same state format, and a fault for every request with a certain header.
const PLANTED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/planted.wasm"));

/// Replaces the file by another module, as an upgrade would.
fn put(module: &[u8], file: &Path) {
    let new = file.with_extension("new");
    fs::write(&new, module).unwrap();
    fs::rename(new, file).unwrap();
}

fn in_force(daemon: &Daemon<'_>, module: &[u8]) -> bool {
    let sha256: String = Sha256::digest(module).iter().map(|byte| format!("{byte:02x}")).collect();
    let metrics = daemon.metrics();
    let of_http1 = |key: &&String| key.starts_with("picotap_parser_info") && key.contains("protocol=\"http1\"");
    let named: Vec<&String> = metrics.keys().filter(of_http1).collect();
    matches!(&named[..], [one] if one.contains(&sha256))
}

/// What is in force for the process that parses, from the kernel.
fn assert_confined(daemon: &Daemon<'_>) {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("{name} in {status}")).trim().to_owned()
    };
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".to_owned(), "2".to_owned()));
    assert_eq!(field("Uid"), "65534\t65534\t65534\t65534");
}

#[test]
fn a_parser_is_exchanged_and_rolled_back_after_the_drop() {
    let Some(network) = Network::new("a_parser_is_exchanged_and_rolled_back_after_the_drop") else { return };
    let network = network.serve();
    let (modules, logs, quarantine) = (tempfile::tempdir().unwrap(), directory(), directory());
    // Readable by others, as a module in /usr/share is.
    fs::set_permissions(modules.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (guest, log) = (modules.path().join("guest.wasm"), logs.path().join("http.log"));
    put(REAL, &guest);
    let options =
        ["--workers", "1", "--guest", guest.to_str().unwrap(), "--quarantine-dir", quarantine.path().to_str().unwrap()];
    let daemon = Daemon::start(&network, &log, &options, &[]);
    assert_confined(&daemon);
    assert!(daemon.said().contains("running as nobody"), "{}", daemon.said());
    assert!(in_force(&daemon, REAL));
    let poison = || network.curl(&["-H", "X-Poison: trap", "http://10.99.0.2/short?poison"]);
    let ask = |text: &str| network.ask(text, 20);
    let written =
        |count: usize| until("the lines are written", || fs::read_to_string(&log).unwrap().lines().count() == count);
    assert!(poison());
    ask("real");
    written(21);

    // Another one, compiled under the filter, takes over.
    put(REFORMED, &guest);
    daemon.signal(Signal::SIGHUP);
    daemon.await_text("takes over", 1);
    assert!(in_force(&daemon, REFORMED));
    ask("reformed");
    written(41);

    // What is no module is refused.
    put(b"not a module", &guest);
    daemon.signal(Signal::SIGHUP);
    daemon.await_text("the old one stays", 1);
    assert!(in_force(&daemon, REFORMED));

    // One that traps (a signal to the process) on what the others could parse is in force when it does, and taken back.
    put(PLANTED, &guest);
    daemon.signal(Signal::SIGHUP);
    daemon.await_text("takes over", 2);
    assert!(in_force(&daemon, PLANTED));
    ask("planted");
    assert!(poison());
    daemon.await_text("the old one is back", 1);
    until("the faults are counted", || daemon.sum("picotap_sandbox_faults_total{reason=\"trap_unreachable\"}") >= 2.0);
    until("it is back", || in_force(&daemon, REFORMED));
    until("the event is in quarantine", || fs::read_dir(quarantine.path()).unwrap().count() == 1);
    ask("back");
    written(81);
    for (result, count) in [("done", 2.0), ("refused", 1.0), ("rolled_back", 1.0)] {
        let name = format!("picotap_parser_swaps_total{{result=\"{result}\"}}");
        assert!((daemon.sum(&name) - count).abs() < 0.5, "{name}: {}", daemon.sum(&name));
    }
    assert_confined(&daemon);
    daemon.stop();
    let lines = lines(&log);
    assert_eq!(lines.iter().filter(|line| line.contains("?poison")).count(), 1, "{lines:#?}");
}

#[test]
fn a_log_that_was_moved_away_is_opened_anew_after_the_drop() {
    let Some(network) = Network::new("a_log_that_was_moved_away_is_opened_anew_after_the_drop") else { return };
    let network = network.serve();
    let directory = directory();
    let (log, moved) = (directory.path().join("http.log"), directory.path().join("http.log.1"));
    let daemon = Daemon::start(&network, &log, &[], &[]);
    let ask = |text: &str| network.ask(text, 10);
    let count = |path: &Path| fs::read_to_string(path).map_or(0, |text| text.lines().count());
    ask("before");
    until("the lines are written", || count(&log) == 10);
    fs::rename(&log, &moved).unwrap();
    ask("between");
    until("the lines are written", || count(&moved) == 20);
    daemon.signal(Signal::SIGHUP);
    until("there is a new file", || log.exists());
    ask("after");
    until("the lines are written", || count(&log) == 10);
    let metadata = fs::metadata(&log).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o777), (NOBODY, 0o640));

    // If no new file can be created, the log continues in the old one and reports it.
    fs::rename(&log, directory.path().join("http.log.2")).unwrap();
    chown(directory.path(), Some(0), Some(0)).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.await_text("the log goes on in the old file", 1);
    ask("still");
    until("the lines are written", || count(&directory.path().join("http.log.2")) == 20);
    daemon.stop();
    assert_eq!((lines(&moved).len(), lines(&directory.path().join("http.log.2")).len()), (20, 20));
}

#[test]
fn a_log_is_rotated_and_compressed_after_the_drop() {
    let Some(network) = Network::new("a_log_is_rotated_and_compressed_after_the_drop") else { return };
    let network = network.serve();
    let directory = directory();
    let log = directory.path().join("http.log");
    let daemon = Daemon::start(&network, &log, &["--rotate-size", "1", "--rotate-keep", "2"], &[]);
    // A kilobyte and a half a line: 1.3 MB.
    let pad = "x".repeat(1200);
    network.ask(&format!("pad={pad}&n"), 900);
    until("all is written", || daemon.sum("picotap_log_lines_total") as usize == 900);
    let packed = || {
        let names = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|extension| extension == "gz")).collect::<Vec<_>>()
    };
    until("the old file is compressed", || packed().len() == 1);
    assert!((daemon.sum("picotap_log_rotations_total{result=\"done\"}") - 1.0).abs() < 0.5);
    assert_confined(&daemon);
    daemon.stop();
    let packed = packed().remove(0);
    assert_eq!(fs::metadata(&packed).unwrap().uid(), NOBODY);
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(packed).unwrap()).read_to_string(&mut text).unwrap();
    assert!(text.len() <= 1 << 20 && text.ends_with('\n'));
    assert_eq!(text.lines().count() + lines(&log).len(), 900);
}
