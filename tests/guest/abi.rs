//! `guest/abi.h` and `src/abi.rs` agree: every size, every offset of a field, every constant.

#![expect(clippy::unwrap_used, reason = "a test may fail by panic")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::mem::offset_of;
use std::process::Command;

use picotap::abi;

const HEADER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guest/abi.h");

/// Evaluates each expression with a C compiler.
fn ask(expressions: &[String]) -> BTreeMap<String, u64> {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("abi.c");
    let program = directory.path().join("abi");
    let mut text = format!("#include \"{HEADER}\"\n#include <stdio.h>\nint main(void) {{\n");
    for expression in expressions {
        writeln!(text, "    printf(\"%llu\\n\", (unsigned long long)({expression}));").unwrap();
    }
    text.push_str("    return 0;\n}\n");
    std::fs::write(&source, text).unwrap();
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let built = Command::new(compiler)
        .args(["-std=c11", "-Wall", "-Werror", "-o"])
        .arg(&program)
        .arg(&source)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let output = Command::new(program).output().unwrap();
    let numbers = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<u64> = numbers.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(numbers.len(), expressions.len());
    expressions.iter().cloned().zip(numbers).collect()
}

/// Size of the structure; offset and size of each of its fields.
type Shape = (&'static str, usize, Vec<(&'static str, usize, usize)>);

fn size_of_field<S, T>(_: impl Fn(&S) -> &T) -> usize {
    size_of::<T>()
}

macro_rules! shape {
    ($c:literal, $rust:ty { $($field:ident)* }) => {
        ($c, size_of::<$rust>(), vec![
            $((stringify!($field), offset_of!($rust, $field), size_of_field(|it: &$rust| &it.$field))),*
        ])
    };
}

fn shapes() -> Vec<Shape> {
    vec![
        shape!("pico_input", abi::Input {
            abi_version num_events num_rows num_marks events rows marks arena arena_len results records max_records pairs
            max_pairs protocols num_protocols states states_len text max_text
        }),
        shape!("pico_event", abi::Event {
            row side kind flags reason offset peer_acked data len seen marks num_marks reserved length lost
        }),
        shape!("pico_row", abi::Row {
            block opener flags depth alpn scratch extra extra_size extra_used grow handed_by hand_to reserved bodies
        }),
        shape!("pico_output", abi::Output { abi_version current_event events_done num_records num_pairs text_len reserved }),
        shape!("pico_result", abi::Result { verdict wake wake_byte reserved consumed skip }),
        shape!("pico_record", abi::Record {
            kind side minor framing code reserved flags event number start end text text_len target target_len first_pair
            num_pairs stream content_length decoded lost
        }),
        shape!("pico_pair", abi::Pair { name name_len value value_len }),
    ]
}

/// Every constant under its name in C.
fn constants() -> BTreeMap<String, u64> {
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    let mut add = |name: &str, value: u64| assert_eq!(all.insert(format!("PICO_{name}"), value), None, "{name}");
    add("ABI_VERSION", abi::VERSION.into());
    add("MAX_HEADERS", abi::MAX_HEADERS.into());
    add("MAX_PAIRS", abi::MAX_PAIRS.into());
    add("MAX_WAITING", abi::MAX_WAITING.into());
    add("BLOCK_SIZE", abi::BLOCK_SIZE as u64);
    add("EXTRA_UNIT", abi::EXTRA_UNIT.into());
    add("MAX_EXTRA", abi::MAX_EXTRA.into());
    add("MAX_GROWTHS", abi::MAX_GROWTHS.into());
    add("MAX_HAND_OVERS", abi::MAX_HAND_OVERS.into());
    add("MAX_DEPTH", abi::MAX_DEPTH.into());
    add("NAME_SIZE", abi::NAME_SIZE as u64);
    add("MAX_PROTOCOLS", abi::MAX_PROTOCOLS as u64);
    add("TEXT", abi::TEXT.into());
    add("MIN_TEXT", abi::MIN_TEXT.into());
    add("FOREVER", abi::FOREVER);
    add("UNKNOWN", abi::UNKNOWN);
    for (prefix, set) in [
        ("EVENT_", abi::kind::ALL),
        ("END_", abi::reason::ALL),
        ("EVENT_", abi::event_flag::ALL),
        ("OPENER_", abi::opener::ALL),
        ("ROW_", abi::row_flag::ALL),
        ("ALPN_", abi::alpn::ALL),
        ("", abi::verdict::ALL),
        ("RECORD_", abi::record::ALL),
        ("FRAMING_", abi::framing::ALL),
    ] {
        set.iter().for_each(|(name, value)| add(&format!("{prefix}{name}"), (*value).into()));
    }
    for (prefix, set) in [("NOT_HTTP_", abi::not_http::ALL), ("TUNNEL_", abi::tunnel::ALL), ("ERROR_", abi::error::ALL)]
    {
        set.iter().for_each(|(name, value)| add(&format!("{prefix}{name}"), (*value).into()));
    }
    abi::flag::ALL.iter().for_each(|(name, value)| add(&format!("F_{name}"), (*value).into()));
    all
}

#[test]
fn structures_have_the_same_layout() {
    let mut ours = BTreeMap::new();
    for (c, size, fields) in shapes() {
        ours.insert(format!("sizeof({c})"), size as u64);
        let mut end = 0;
        for (field, offset, bytes) in fields {
            assert_eq!(offset, end, "a hole, or a field forgotten, before {c}.{field}");
            end = offset + bytes;
            ours.insert(format!("offsetof({c}, {field})"), offset as u64);
            ours.insert(format!("sizeof((({c} *)0)->{field})"), bytes as u64);
        }
        assert_eq!(end, size, "a hole, or a field forgotten, at the end of {c}");
    }
    let expressions: Vec<String> = ours.keys().cloned().collect();
    assert_eq!(ask(&expressions), ours);
}

#[test]
fn constants_have_the_same_values() {
    let ours = constants();
    let names: Vec<String> = ours.keys().cloned().collect();
    assert_eq!(ask(&names), ours);
}

#[test]
fn no_constant_of_the_header_is_forgotten() {
    let header = std::fs::read_to_string(HEADER).unwrap();
    let known = constants();
    let mut seen = 0;
    for line in header.lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("#define ").unwrap_or(line);
        let inline = line.strip_prefix("enum ").and_then(|rest| rest.split_once('{')).map(|(_, rest)| rest);
        for part in inline.unwrap_or(line).split(',') {
            let name: String =
                part.trim().chars().take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_').collect();
            let rest = part.trim().get(name.len()..).unwrap_or_default().trim_start();
            let is_value = rest.starts_with('=')
                || rest.starts_with(|c: char| c.is_ascii_digit())
                || rest.starts_with("(1u")
                || rest.starts_with("UINT64_MAX");
            if name.starts_with("PICO_") && is_value {
                assert!(known.contains_key(&name), "{name} is not in src/abi.rs");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, known.len());
}
