//! A disk that is full during traffic, and then no longer.

use std::fs;

use crate::support::daemon::{Daemon, NOBODY, lines};
use crate::support::disk::Disk;
use crate::support::network::{Network, until};
use crate::support::tool;

#[test]
fn a_full_disk_costs_lines_that_are_counted_and_nothing_else() {
    if !tool::has(&["root", "mount", "umount"]) {
        return;
    }
    let Some(network) = Network::new("a_full_disk_costs_lines_that_are_counted_and_nothing_else") else { return };
    let network = network.serve();
    let disk = Disk::new(64, NOBODY);
    let (log, ballast) = (disk.file("http.log"), disk.file("ballast"));
    fs::write(&ballast, vec![0; 30_000]).unwrap();
    let daemon = Daemon::start(&network, &log, &[], &[]);
    let all_counted = |count: usize| until("all is counted", || daemon.transactions() == count);

    // 34 KB of room are a hundred lines.
    for round in 0..4 {
        network.ask(&format!("full{round}"), 100);
        all_counted((round + 1) * 100);
    }
    daemon.await_text("cannot write the log", 1);
    until("the losses are counted", || daemon.sum("picotap_log_lines_total") as usize == 400);
    let lost = daemon.sum("picotap_log_lost_lines_total") as usize;
    assert!((200..400).contains(&lost), "{lost} lost");
    assert_eq!(daemon.get("/readyz").0, 200, "it captures and counts all the same");
    assert!(daemon.sum("picotap_log_write_errors_total") >= 1.0);

    fs::remove_file(&ballast).unwrap();
    network.ask("room", 50);
    all_counted(450);
    daemon.await_text("the log can be written again", 1);
    until("the log goes on", || daemon.sum("picotap_log_lines_total") as usize == 450);
    assert_eq!(daemon.sum("picotap_log_lost_lines_total") as usize, lost, "nothing is lost any more");

    let said = daemon.stop();
    assert_eq!(said.matches("cannot write the log").count(), 1, "{said}");
    assert!(said.contains(&format!("; {lost} lines were lost")), "{said}");
    let lines = lines(&log);
    assert_eq!(lines.len() + lost, 450, "lines written and lost are all transactions");
    for number in 1..=50 {
        let target = format!("/short?room={number}\"");
        assert_eq!(lines.iter().filter(|line| line.contains(&target)).count(), 1, "{target}");
    }
}
