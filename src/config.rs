//! The configuration file: TOML whose keys are the long options of the command, so that there is one list of options, one
//! set of checks and one help text. Its entries become arguments; options on the command line override them.

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use thiserror::Error;
use toml::de::{DeTable, DeValue};

/// Options that make no sense in a file: the file itself, and those that print something and exit.
const NOT_IN_A_FILE: &[&str] = &["config", "help", "version", "list-interfaces"];
/// Largest file read. A configuration is written by hand; a larger file is the wrong file.
const MAX_BYTES: u64 = 1 << 20;

/// Why the configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {cause}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        cause: io::Error,
    },
    /// The file has errors; all of them are listed.
    #[error("{}", lines(path, errors))]
    File {
        /// The file.
        path: PathBuf,
        /// The errors, in the order of the file.
        errors: Vec<FileError>,
    },
    /// The command line is wrong, alone or together with the file. Also how clap returns help and version.
    #[error(transparent)]
    Usage(#[from] clap::Error),
}

/// An error in the file and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The error and the option it concerns.
    pub what: String,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what)
    }
}

fn lines(path: &Path, errors: &[FileError]) -> String {
    errors.iter().map(|error| format!("{}:{error}", path.display())).collect::<Vec<_>>().join("\n")
}

/// One entry of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// clap's identifier of the option.
    id: String,
    /// The equivalent command-line arguments; none for a switch that is off.
    arguments: Vec<OsString>,
}

/// Parses a command line whose option `--config FILE` may name a configuration file. An option on the command line replaces
/// the same option of the file, and removes those of the file that conflict with it.
///
/// # Errors
/// See [`ConfigError`].
pub fn matches(command: &Command, arguments: impl IntoIterator<Item = OsString>) -> Result<ArgMatches, ConfigError> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let switchable = switchable(command);
    // A required option may be in the file, so errors are ignored until the file has been read.
    let Ok(given) = switchable.clone().ignore_errors(true).try_get_matches_from(&arguments) else {
        return parsed(command, switchable, &arguments);
    };
    // A switch that is turned off conflicts with nothing.
    let is_off = |arg: &Arg| is_switch(arg) && given.get_one(arg.get_id().as_str()) == Some(&false);
    let switchable = switchable.mut_args(|arg| {
        match command.get_arguments().any(|own| own.get_id() == arg.get_id() && is_off(own)) {
            true => arg.conflicts_with(Resettable::Reset),
            false => arg,
        }
    });
    let path = given.try_get_one::<PathBuf>("config").ok().flatten().filter(|_| given.subcommand().is_none());
    let Some(path) = path else { return parsed(command, switchable, &arguments) };
    let typed =
        |id: &str| given.ids().any(|known| known == id) && given.value_source(id) == Some(ValueSource::CommandLine);
    let mut built = switchable.clone();
    built.build();
    // A conflict is declared on one of the two options only.
    let conflict =
        |one: &Arg, other: &Arg| built.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == other.get_id());
    let overridden = |id: &str| {
        let arg = built.get_arguments().find(|arg| arg.get_id() == id);
        let mut against = built.get_arguments().filter(|other| typed(other.get_id().as_str()));
        arg.is_some_and(|arg| against.any(|other| conflict(arg, other) || conflict(other, arg)))
    };
    let entries = read(command, path)?;
    let (program, rest) =
        arguments.split_first().map_or((None, arguments.as_slice()), |(first, rest)| (Some(first), rest));
    let kept = entries.into_iter().filter(|entry| !typed(&entry.id) && !overridden(&entry.id));
    let all = program.cloned().into_iter().chain(kept.flat_map(|entry| entry.arguments)).chain(rest.iter().cloned());
    parsed(command, switchable, &all.collect::<Vec<_>>())
}

/// Whether this is an option without a value.
fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// The command with switches that can be turned off: `--quiet=false` overrides a file with `quiet = true`.
fn switchable(command: &Command) -> Command {
    command.clone().mut_args(|arg| {
        if !is_switch(&arg) {
            return arg;
        }
        let arg = arg.action(ArgAction::Set).value_parser(clap::value_parser!(bool)).default_value("false");
        arg.num_args(0..=1).require_equals(true).default_missing_value("true")
    })
}

/// Parses the arguments. Help is printed from `command`, so that switches appear without a value.
fn parsed(command: &Command, switchable: Command, arguments: &[OsString]) -> Result<ArgMatches, ConfigError> {
    let error = match switchable.try_get_matches_from(arguments) {
        Ok(matches) => return Ok(matches),
        Err(error) => error,
    };
    if error.kind() == ErrorKind::DisplayHelp
        && let Err(plain) = command.clone().try_get_matches_from(arguments)
        && plain.kind() == error.kind()
    {
        return Err(plain.into());
    }
    Err(error.into())
}

/// Checks a configuration file by itself. Returns how many options it sets.
///
/// # Errors
/// See [`ConfigError`]. A required option that is missing is no error: the command line may give it.
pub fn check(command: &Command, path: &Path) -> Result<usize, ConfigError> {
    checked_entries(command, read(command, path)?)
}

/// The same of a file's text.
///
/// # Errors
/// See [`ConfigError`].
pub fn check_text(command: &Command, path: &Path, text: &str) -> Result<usize, ConfigError> {
    checked_entries(command, entries(command, path, text)?)
}

/// Whether entries are right together. Returns how many they are.
fn checked_entries(command: &Command, entries: Vec<Entry>) -> Result<usize, ConfigError> {
    let count = entries.len();
    let program = OsString::from(command.get_name());
    let arguments = std::iter::once(program).chain(entries.into_iter().flat_map(|entry| entry.arguments));
    match command.clone().try_get_matches_from(arguments) {
        Err(e) if !is_incomplete(e.kind()) => Err(e.into()),
        _ => Ok(count),
    }
}

/// Whether something is missing that the command line may give.
fn is_incomplete(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    )
}

/// Reads the file's entries and checks each by itself.
fn read(command: &Command, path: &Path) -> Result<Vec<Entry>, ConfigError> {
    let failed = |cause| ConfigError::Read { path: path.to_owned(), cause };
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > MAX_BYTES {
        return Err(failed(io::Error::other(format!(
            "{size} bytes, and a configuration file may have {MAX_BYTES}; is this the right file?"
        ))));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    entries(command, path, &text)
}

/// The entries of a file's text, each checked by itself.
fn entries(command: &Command, path: &Path, text: &str) -> Result<Vec<Entry>, ConfigError> {
    parse(command, text).map_err(|errors| ConfigError::File { path: path.to_owned(), errors })
}

fn parse(command: &Command, text: &str) -> Result<Vec<Entry>, Vec<FileError>> {
    let error_at = |span: Range<usize>, what: String| {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        FileError { line, column, what }
    };
    let table = DeTable::parse(text)
        .map_err(|e| vec![error_at(e.span().unwrap_or(0..0), e.message().replace('\n', ", "))])?
        .into_inner();
    let mut built = command.clone();
    built.build();
    let mut entries = Vec::new();
    let mut errors = Vec::new();
    for (key, value) in &table {
        let name = key.get_ref().as_ref();
        let Some(arg) = option(&built, name) else {
            errors.push(error_at(key.span(), unknown(&built, name)));
            continue;
        };
        match arguments(arg, name, value.get_ref()).and_then(|arguments| checked(command, name, arguments)) {
            Ok(arguments) => entries.push((key.span().start, Entry { id: arg.get_id().to_string(), arguments })),
            Err(what) => errors.push(error_at(value.span(), what)),
        }
    }
    if errors.is_empty() {
        // The TOML parser sorts by name; arguments come in the order of the file.
        entries.sort_by_key(|(start, _)| *start);
        return Ok(entries.into_iter().map(|(_, entry)| entry).collect());
    }
    errors.sort_by_key(|error| (error.line, error.column));
    Err(errors)
}

/// The option with this long name, if it is allowed in a file.
fn option<'a>(built: &'a Command, name: &str) -> Option<&'a Arg> {
    let known = |arg: &&Arg| arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&name));
    built.get_arguments().filter(|_| !NOT_IN_A_FILE.contains(&name)).find(known)
}

fn unknown(built: &Command, name: &str) -> String {
    if NOT_IN_A_FILE.contains(&name) {
        return format!("{name}: allowed only on the command line");
    }
    let names = built.get_arguments().filter_map(Arg::get_long).filter(|known| !NOT_IN_A_FILE.contains(known));
    let spelt = name.replace('_', "-");
    let nearest = names
        .map(|known| (strsim::damerau_levenshtein(known, &spelt), known))
        .min()
        .filter(|(distance, known)| *distance <= 1 + known.len() / 3);
    match nearest {
        Some((_, known)) => format!("{name}: no such option; did you mean {known}?"),
        None => format!("{name}: no such option; picotap --help lists them"),
    }
}

/// The command-line arguments equivalent to the entry.
fn arguments(arg: &Arg, name: &str, value: &DeValue<'_>) -> Result<Vec<OsString>, String> {
    let range = arg.get_num_args().unwrap_or_default();
    let alone = || vec![OsString::from(format!("--{name}"))];
    let with = |text: &str| OsString::from(format!("--{name}={text}"));
    let wrong = |expected: &str| format!("{name}: expected {expected}, got {}", kind(value));
    match value {
        DeValue::Boolean(on) if range.min_values() == 0 => Ok(if *on { alone() } else { Vec::new() }),
        _ if !range.takes_values() => match (arg.get_action(), value) {
            (ArgAction::Count, DeValue::Integer(times)) => {
                let times: usize = times.to_string().parse().map_err(|_| wrong("a count"))?;
                Ok(std::iter::repeat_n(format!("--{name}").into(), times.min(usize::from(u8::MAX))).collect())
            }
            (ArgAction::Count, _) => Err(wrong("a count")),
            _ => Err(wrong("true or false")),
        },
        DeValue::Array(values) if matches!(arg.get_action(), ArgAction::Append) => {
            let texts = values.iter().map(|value| scalar(value.get_ref()));
            texts.map(|text| text.map(|text| with(&text)).ok_or_else(|| wrong("a list of values"))).collect()
        }
        value => match scalar(value) {
            Some(text) => Ok(vec![with(&text)]),
            None => Err(wrong("one value")),
        },
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The kind of a value, for an error.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fractional number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Checks the value by parsing a command line with this option alone.
fn checked(command: &Command, name: &str, arguments: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let program = OsString::from(command.get_name());
    let tried = command.clone().try_get_matches_from(std::iter::once(program).chain(arguments.iter().cloned()));
    match tried {
        Err(e)
            if matches!(
                e.kind(),
                ErrorKind::InvalidValue
                    | ErrorKind::ValueValidation
                    | ErrorKind::TooManyValues
                    | ErrorKind::TooFewValues
                    | ErrorKind::WrongNumberOfValues
                    | ErrorKind::NoEquals
                    | ErrorKind::InvalidUtf8
            ) =>
        {
            let message = e.to_string();
            let first = message.lines().next().unwrap_or_default();
            let possible = message.lines().find_map(|line| line.trim().strip_prefix("[possible values: "));
            let possible = possible.map(|list| format!(" (one of {})", list.trim_end_matches(']'))).unwrap_or_default();
            Err(format!("{name}: {}{possible}", first.strip_prefix("error: ").unwrap_or(first)))
        }
        _ => Ok(arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};
    use std::io::Write;

    /// Options of every kind that the real command has.
    #[derive(Debug, Parser)]
    #[command(name = "picotap")]
    struct Options {
        #[arg(long)]
        config: Option<PathBuf>,
        #[arg(short, long, required_unless_present = "pcap", conflicts_with = "pcap")]
        interface: Option<String>,
        #[arg(long)]
        pcap: Option<PathBuf>,
        #[arg(long, default_value_t = 1)]
        workers: u16,
        #[arg(long)]
        header: Vec<String>,
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:9464")]
        metrics_addr: Option<String>,
        #[arg(short = 'p', long)]
        no_promiscuous_mode: bool,
        #[arg(short, long, action = ArgAction::Count)]
        verbose: u8,
        #[arg(long, value_parser = ["json", "text"])]
        format: Option<String>,
        expression: Vec<String>,
    }

    /// The options after reading `file` and these arguments.
    fn options(file: &str, arguments: &[&str]) -> Result<Options, ConfigError> {
        let mut written = tempfile::NamedTempFile::new().expect("a file");
        written.write_all(file.as_bytes()).expect("written");
        let config = ["picotap".into(), "--config".into(), written.path().into()];
        let all = config.into_iter().chain(arguments.iter().map(OsString::from));
        let matches = matches(&Options::command(), all)?;
        Ok(clap::FromArgMatches::from_arg_matches(&matches)?)
    }

    fn errors(file: &str) -> String {
        let errors = parse(&Options::command(), file).expect_err("an error");
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn every_kind_of_option_is_allowed_in_the_file() {
        let file = "interface = 'eth0'\nworkers = 3\nheader = ['host', '-odd=']\nmetrics-addr = '[::]:9464'\n\
                    no-promiscuous-mode = true\nverbose = 2\nformat = 'json'\n";
        let read = options(file, &["port", "80"]).expect("all is right");
        assert_eq!((read.interface.as_deref(), read.workers, read.verbose), (Some("eth0"), 3, 2));
        assert_eq!(read.header, ["host", "-odd="]);
        assert_eq!((read.metrics_addr.as_deref(), read.format.as_deref()), (Some("[::]:9464"), Some("json")));
        assert!(read.no_promiscuous_mode);
        assert_eq!(read.expression, ["port", "80"]);
    }

    #[test]
    fn a_switch_that_is_false_is_absent() {
        let read = options("interface = 'eth0'\nno-promiscuous-mode = false\nmetrics-addr = true", &[]).expect("right");
        assert!(!read.no_promiscuous_mode);
        assert_eq!(read.metrics_addr.as_deref(), Some("127.0.0.1:9464"));
    }

    #[test]
    fn the_command_line_turns_a_switch_of_the_file_off() {
        let file = "interface = 'eth0'\nno-promiscuous-mode = true\n";
        assert!(options(file, &[]).expect("right").no_promiscuous_mode);
        for (switch, on) in [("-p", true), ("-p=false", false), ("--no-promiscuous-mode=false", false)] {
            assert_eq!(options(file, &[switch]).expect("right").no_promiscuous_mode, on, "{switch}");
            assert_eq!(options("interface = 'eth0'", &[switch]).expect("right").no_promiscuous_mode, on, "{switch}");
        }
        assert!(options(file, &["-pv"]).expect("short options may be joined").no_promiscuous_mode);
        let error = options(file, &["-p=no"]).expect_err("true or false");
        assert!(error.to_string().contains("invalid value 'no'"), "{error}");
        assert_eq!(options(file, &["-p", "false"]).expect("an argument after a switch").expression, ["false"]);
    }

    #[test]
    fn help_shows_plain_switches() {
        let help =
            matches(&Options::command(), ["picotap", "--help"].map(OsString::from)).expect_err("help").to_string();
        assert!(help.contains("-p, --no-promiscuous-mode ") && help.contains("--metrics-addr[="), "{help}");
    }

    #[test]
    fn the_command_line_overrides_the_file() {
        let file = "interface = 'eth0'\nworkers = 3\nheader = ['host', 'via']";
        let read = options(file, &["-i", "lo", "--workers", "1", "--header", "accept"]).expect("right");
        assert_eq!((read.interface.as_deref(), read.workers), (Some("lo"), 1));
        assert_eq!(read.header, ["accept"]);
    }

    #[test]
    fn the_command_line_removes_conflicting_options_of_the_file() {
        let read = options("interface = 'eth0'", &["--pcap", "x.pcap"]).expect("right");
        assert_eq!((read.interface, read.pcap), (None, Some("x.pcap".into())));
    }

    #[test]
    fn a_required_option_that_is_missing_is_an_error() {
        assert!(matches!(options("workers = 2", &[]), Err(ConfigError::Usage(_))));
    }

    #[test]
    fn an_unknown_key_gets_the_nearest_option_as_a_hint() {
        assert_eq!(errors("\nworker = 2"), "2:1: worker: no such option; did you mean workers?");
        assert_eq!(errors("metrics_addr = ''"), "1:1: metrics_addr: no such option; did you mean metrics-addr?");
        assert_eq!(errors("frobnicate = 1"), "1:1: frobnicate: no such option; picotap --help lists them");
        assert_eq!(errors("config = 'x'"), "1:1: config: allowed only on the command line");
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_reported_with_its_position() {
        assert_eq!(errors("workers = true"), "1:11: workers: expected one value, got true or false");
        assert_eq!(errors("workers = [1]"), "1:11: workers: expected one value, got a list");
        assert_eq!(
            errors("no-promiscuous-mode = 1"),
            "1:23: no-promiscuous-mode: expected true or false, got a number"
        );
        assert_eq!(errors("[header]\nx = 1"), "1:1: header: expected one value, got a table");
        assert_eq!(errors("verbose = -1"), "1:11: verbose: expected a count, got a number");
    }

    #[test]
    fn a_value_that_the_option_refuses_is_reported_with_its_position() {
        assert_eq!(
            errors("format = 'json'\nworkers = 'two'"),
            "2:11: workers: invalid value 'two' for '--workers <WORKERS>': invalid digit found in string"
        );
        assert_eq!(
            errors("format = 'yaml'"),
            "1:10: format: invalid value 'yaml' for '--format <FORMAT>' (one of json, text)"
        );
    }

    #[test]
    fn all_errors_are_reported_in_the_order_of_the_file() {
        let found = parse(&Options::command(), "zzzzzz = 1\nworkers = 'two'\naaaaaa = 1").expect_err("three errors");
        assert_eq!(found.iter().map(|error| error.line).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn a_syntax_error_is_reported_with_its_position() {
        assert!(errors("workers = 1\nheader = [").starts_with("2:"), "{}", errors("workers = 1\nheader = ["));
    }

    #[test]
    fn a_duplicate_key_is_an_error() {
        assert!(errors("workers = 1\nworkers = 2").starts_with("2:1: duplicate key"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let arguments = ["picotap", "--config", "/no/such/file"].map(OsString::from);
        let error = matches(&Options::command(), arguments).expect_err("no such file");
        assert_eq!(error.to_string(), "/no/such/file: No such file or directory (os error 2)");
    }

    #[test]
    fn a_check_reports_conflicting_options() {
        let mut written = tempfile::NamedTempFile::new().expect("a file");
        written.write_all(b"interface = 'eth0'\nworkers = 2").expect("written");
        assert_eq!(check(&Options::command(), written.path()).expect("right"), 2);
        written.write_all(b"\npcap = 'x.pcap'").expect("written");
        assert!(matches!(check(&Options::command(), written.path()), Err(ConfigError::Usage(_))));
    }

    #[test]
    fn help_is_still_help() {
        let error = matches(&Options::command(), ["picotap", "--help"].map(OsString::from)).expect_err("help");
        assert!(matches!(error, ConfigError::Usage(e) if e.kind() == ErrorKind::DisplayHelp));
    }
}
