//! What must hold of any text as a configuration file: no panic; errors that have a place in the text and one line each; and what is
//! taken is taken with a comment behind it, too.

use std::path::Path;

use clap::{Arg, ArgAction, Command, value_parser};
use picotap::config::{ConfigError, check_text};

/// Options of every kind: a switch, one that is counted, numbers, texts, lists, two that exclude each other.
pub(crate) fn command() -> Command {
    let option = |name: &'static str| Arg::new(name).long(name);
    let hexadecimal = |text: &str| u64::from_str_radix(text, 16).map_err(|error| error.to_string());
    Command::new("picotap").args([
        option("config"),
        option("interface").short('i').required_unless_present("pcap").conflicts_with("pcap"),
        option("pcap").short('r').action(ArgAction::Append),
        option("quiet").action(ArgAction::SetTrue),
        option("verbose").action(ArgAction::Count),
        option("workers").value_parser(value_parser!(u16).range(1..=64)),
        option("snap").value_parser(hexadecimal),
        option("format").value_parser(["json", "text"]),
        option("guest").action(ArgAction::Append).value_parser(hexadecimal),
        option("sort").num_args(0..=1).require_equals(true).default_missing_value("ts"),
    ])
}

/// The input is the file's text. One that is no UTF-8 is refused where it is read.
pub(crate) fn check(command: &Command, input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let check = |text: &str| check_text(command, Path::new("picotap.toml"), text);
    match check(text) {
        Ok(count) => {
            assert!(count <= text.lines().count(), "{count} options");
            assert_eq!(check(&format!("{text}\n# another\n")).ok(), Some(count));
        }
        Err(ConfigError::File { errors, .. }) => {
            assert!(!errors.is_empty());
            let lines: Vec<&str> = text.split('\n').collect();
            for error in errors {
                let line = lines.get(error.line.wrapping_sub(1)).unwrap_or_else(|| panic!("no line {}", error.line));
                assert!((1..=line.chars().count() + 1).contains(&error.column), "{error}");
                assert!(!error.what.contains('\n'), "{error}");
            }
        }
        // Of two options that exclude each other.
        Err(ConfigError::Usage(_)) => {}
        Err(error @ ConfigError::Read { .. }) => panic!("nothing was read: {error}"),
    }
}
