//! Every input that a fuzzer ever failed on, once more. A file in tests/regressions/TARGET is one.

use std::path::Path;

use clap::CommandFactory;

#[path = "../../fuzz/checks/body.rs"]
mod body;
#[path = "../../fuzz/checks/capture_file.rs"]
mod capture_file;
#[path = "../../fuzz/checks/configuration.rs"]
mod configuration;
#[path = "../../fuzz/checks/elf.rs"]
mod elf;
#[path = "../../fuzz/checks/filter.rs"]
mod filter;
#[path = "../../fuzz/checks/frames.rs"]
mod frames;
#[path = "../../fuzz/checks/key_log.rs"]
mod key_log;
#[path = "../../fuzz/checks/reply.rs"]
mod reply;
#[path = "../../fuzz/checks/tls_handshake.rs"]
mod tls_handshake;

fn replay(target: &str, check: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    for file in files {
        println!("{}", file.display());
        check(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn bodies_that_failed_do_not_fail_again() {
    replay("body", body::check);
}

#[test]
fn configurations_that_failed_do_not_fail_again() {
    replay("configuration", |input| {
        configuration::check(&configuration::command(), input);
        // Those of the program itself.
        configuration::check(&picotap::cli::Cli::command(), input);
    });
}

#[test]
fn filters_that_failed_do_not_fail_again() {
    replay("filter", filter::check);
}

#[test]
fn key_logs_that_failed_do_not_fail_again() {
    replay("key_log", key_log::check);
}

#[test]
fn executables_that_failed_do_not_fail_again() {
    replay("elf", elf::check);
}

#[test]
fn frames_that_failed_do_not_fail_again() {
    replay("frames", frames::check);
}

#[test]
fn replies_that_failed_do_not_fail_again() {
    replay("reply", reply::check);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_reply_is_refused_or_keeps_its_promises(input in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        reply::check(&input);
    }

    #[test]
    fn any_filter_means_the_same_in_all_its_forms(
        input in "((status|path|host|client|duration|is|flag)(=|!=|~|:|<|>=)(5xx|none|a\\*|'b c'|\"d\"|10.0.0.0/8|1s|failed|gap)( and | or | not | |,|\\(|\\)|-)){0,4}"
    ) {
        filter::check(input.as_bytes());
    }

    #[test]
    fn any_key_log_is_read_the_same_in_pieces(
        piece in proptest::prelude::any::<u8>(),
        text in "((CLIENT_RANDOM|SERVER_TRAFFIC_SECRET_0|RSA|#|x)( [09a]{64}( [0-9a-f]{96}| [0-9a-f]{64})?)?\r?\n?){0,5}",
    ) {
        key_log::check(&[&[piece], text.as_bytes()].concat());
    }

    #[test]
    fn any_body_is_taken_and_hides_a_secret_behind_it(input in "[{}\\[\\]:=,;&<>/\"'`\\\\u0022 pin\n]{0,80}") {
        body::check(input.as_bytes());
    }

    #[test]
    fn any_bytes_of_a_tls_connection_are_accounted_for(
        kind in proptest::prelude::any::<u8>(),
        steps in proptest::collection::vec(
            (proptest::prelude::any::<u8>(), proptest::collection::vec(proptest::prelude::any::<u8>(), 0..90)),
            0..20,
        ),
    ) {
        let steps = steps.iter().flat_map(|(what, bytes)| [&[*what, bytes.len() as u8], &bytes[..]].concat());
        let input: Vec<u8> = [kind].into_iter().chain(steps).collect();
        tls_handshake::check(&input);
        tls_handshake::check_stage(&input);
    }
}

#[test]
fn tls_connections_that_failed_do_not_fail_again() {
    replay("tls_handshake", tls_handshake::check);
    replay("tls_handshake", tls_handshake::check_stage);
}

#[test]
fn capture_files_that_failed_do_not_fail_again() {
    replay("capture_file", capture_file::check);
}
