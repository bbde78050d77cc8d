//! The cases of hpack-test-case: what a dozen encoders made of the heads of real pages. They come with the crate `httlib-hpack`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use picotap::abi::flag;
use picotap::stream::Side::{First, Second};
use serde_json::Value;

use crate::feed::Feed;
use crate::wire::{END_HEADERS, END_STREAM, Field, HEADERS, PREFACE, SETTINGS, frame};

/// Where the sources of a crate are.
fn crate_directory(name: &str) -> PathBuf {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let package = metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == name).unwrap();
    Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

fn bytes(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The fields of a case, and its block.
fn case(case: &Value) -> (Vec<Field>, Vec<u8>) {
    let field = |field: &Value| {
        let (name, value) = field.as_object().unwrap().iter().next().unwrap();
        (name.clone().into_bytes(), value.as_str().unwrap().as_bytes().to_vec())
    };
    (case["headers"].as_array().unwrap().iter().map(field).collect(), bytes(case["wire"].as_str().unwrap()))
}

/// Feeds the cases of a story; how many there were.
fn tell(story: &Value) -> usize {
    let cases: Vec<(Vec<Field>, Vec<u8>)> = story["cases"].as_array().unwrap().iter().map(case).collect();
    let are_responses = cases.iter().any(|(fields, _)| fields.iter().any(|(name, _)| name == b":status"));
    let mut feed = Feed::new();
    feed.bytes(First, PREFACE).bytes(Second, frame(SETTINGS, 0, 0, []));
    for (number, (_, block)) in cases.iter().enumerate() {
        let stream = 2 * number as u32 + 1;
        let head = |block: &[u8]| frame(HEADERS, END_HEADERS | END_STREAM, stream, block);
        if are_responses {
            feed.bytes(First, head(b"\x82\x84\x86")).bytes(Second, head(block));
        } else {
            feed.bytes(First, head(block));
        }
        feed.slot();
    }
    feed.close();
    let (found, line): (_, &[&[u8]]) = if are_responses {
        (&feed.notes.responses, &[b":status"])
    } else {
        (&feed.notes.requests, &[b":method", b":path"])
    };
    assert_eq!((found.len(), &feed.notes.faults[..]), (cases.len(), &[][..]));
    for (head, (fields, _)) in found.iter().zip(&cases) {
        let (of_line, others): (Vec<Field>, Vec<Field>) =
            fields.iter().cloned().partition(|(name, _)| line.contains(&&name[..]));
        assert_eq!(head.fields, others);
        let has = |value: &[u8]| of_line.iter().any(|(_, other)| other == value);
        assert!(has(&head.target) && (are_responses || has(&head.method)), "{head:?}");
        assert_eq!(head.flags & flag::HPACK_UNKNOWN, 0);
    }
    cases.len()
}

#[test]
#[expect(clippy::print_stdout, reason = "which story fails")]
fn what_other_encoders_made_decodes_to_what_they_were_given() {
    let mut all = 0;
    for encoder in fs::read_dir(crate_directory("httlib-hpack").join("fixtures")).unwrap() {
        let encoder = encoder.unwrap().path();
        if !encoder.is_dir() {
            continue;
        }
        for story in fs::read_dir(&encoder).unwrap() {
            let path = story.unwrap().path();
            println!("{}", path.display());
            all += tell(&serde_json::from_slice(&fs::read(&path).unwrap()).unwrap());
        }
    }
    assert!(all > 40_000, "{all} cases");
}
