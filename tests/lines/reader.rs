//! The library reads what the program reads: for every fixture, the same transactions in the same order.

use crate::support;

use picotap::Reader;
use serde_json::Value;

use support::program::read;

#[test]
fn a_program_gets_what_the_command_prints() {
    let captures = support::fixtures::captures("pcap");
    assert!(captures.len() > 100, "{} captures", captures.len());
    for capture in captures {
        let printed: Vec<(String, u64, u64)> = read(&capture, &[])
            .lines()
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|line| {
                let conn = line["conn"].as_str().unwrap().to_owned();
                (conn, line["seq"].as_u64().unwrap(), line["status"].as_u64().unwrap_or(0))
            })
            .collect();
        let given: Vec<(String, u64, u64)> = Reader::open(&capture)
            .unwrap()
            .filter_map(Result::ok)
            .map(|transaction| (transaction.uid.to_string(), transaction.seq.into(), transaction.status.into()))
            .collect();
        assert_eq!(given, printed, "{}", capture.display());
    }
}
