//! The `picotap` program: reads the command line and the files that it names, runs what is planned, and prints what went wrong.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, RawFd};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use picotap::cli::{Cli, Command, ConfigCommand, GuestCommand, ProbesCommand, Replay, Top, Watch};
use picotap::config::{self, ConfigError};
use picotap::daemon::privileges;
use picotap::daemon::shutdown::{Shutdown, Why};
use picotap::daemon::signals;
use picotap::export::log::LogError;
use picotap::export::summary::Run;
use picotap::export::terminal::Terminal;
use picotap::manual;
use picotap::pipeline::{self, Config, Failure, Report, Show};
use picotap::plan::{Machine, Plan};
use picotap::probe::{self, Scope};
use picotap::sandbox::engine::{Engine, Parser};
use picotap::sandbox::protocol::Format;
use picotap::sandbox::quarantine::QuarantinedEvent;
use picotap::sandbox::quote::quote;
use picotap::sandbox::selftest::selftest;
use picotap::sandbox::{BUILTIN_GUEST, built_in};
use picotap::source::live;
use picotap::top::{self, Notices, Screen};

/// Exit code for wrong usage, as clap's.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let done = match arguments() {
        Ok(cli) => dispatch(cli),
        Err(code) => return code,
    };
    done.unwrap_or_else(|error| {
        eprintln!("picotap: {error:#}");
        ExitCode::from(1)
    })
}

/// The command line, with the configuration file that it names.
fn arguments() -> Result<Cli, ExitCode> {
    let mut given = std::env::args_os();
    let program = given.next();
    let command = Cli::command();
    // The only command with options that a configuration file may have.
    if let Some(top) = command.find_subcommand("top")
        && std::env::args_os().nth(1).is_some_and(|name| name == "top")
    {
        let matches = matches(&top.clone().bin_name("picotap top"), given)?;
        let top = Top::from_arg_matches(&matches).map_err(|error| refuse(&error))?;
        return Ok(Cli { watch: top.watch.clone(), command: Some(Command::Top(Box::new(top))) });
    }
    let matches = matches(&command, program.into_iter().chain(given))?;
    Cli::from_arg_matches(&matches).map_err(|error| refuse(&error))
}

/// What clap says: help and version as they are, what is wrong as all errors are.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        error.exit();
    }
    let text = error.render().to_string();
    eprint!("picotap: {}", text.strip_prefix("error: ").unwrap_or(&text));
    ExitCode::from(USAGE)
}

/// What the arguments, of which the first is a name, and the configuration file say.
fn matches(command: &clap::Command, arguments: impl Iterator<Item = OsString>) -> Result<ArgMatches, ExitCode> {
    config::matches(command, arguments).map_err(|error| match error {
        ConfigError::Usage(error) => refuse(&error),
        other => {
            eprintln!("picotap: {other}");
            ExitCode::from(USAGE)
        }
    })
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        None => with_files(cli.watch, watch),
        Some(Command::Top(top)) => with_files(top.watch, show),
        #[cfg(feature = "parse")]
        Some(Command::Parse(args)) => Ok(ExitCode::from(picotap::parse::run(&args, &mut std::io::stdout().lock())?)),
        Some(Command::Replay(replay)) => run_replay(&replay),
        Some(Command::Completions { shell }) => print(&manual::completions(&Cli::command(), shell)),
        Some(Command::Man { command }) => print(&manual::page(&Cli::command(), command.as_deref())?),
        Some(Command::Probes { command: ProbesCommand::Check { scope } }) => check_probes(&scope),
        Some(Command::Config { command: ConfigCommand::Check { file } }) => check_config(&file),
        Some(Command::Guest { command: GuestCommand::Inspect { file } }) => inspect(file.as_deref()),
    }
}

/// Says what is wrong with the usage.
fn usage(text: &impl Display) -> ExitCode {
    eprintln!("picotap: {text}\nFor more information, try 'picotap --help'.");
    ExitCode::from(USAGE)
}

/// Runs with the files that stand behind the options.
fn with_files(mut args: Watch, run: fn(&Watch) -> Result<ExitCode>) -> Result<ExitCode> {
    match args.take_files(Path::exists) {
        Err(error) if !args.list_interfaces => Ok(usage(&error)),
        _ => run(&args),
    }
}

fn watch(args: &Watch) -> Result<ExitCode> {
    if args.list_interfaces {
        return list_interfaces();
    }
    let plan = match Plan::new(args, &Machine::observe(args)) {
        Ok(plan) => plan,
        Err(error) => return Ok(usage(&error)),
    };
    if let Some(keep) = plan.keep_open() {
        close_inherited(keep, args.quiet)?;
    }
    let terminal = plan.summary_terminal();
    let config = plan.load(pipeline::load::read)?;
    let shutdown = Shutdown::default();
    signals::take_stop(&shutdown).context("signals cannot be taken")?;
    let report = pipeline::run(&config, &shutdown).map_err(|failure| explain(failure, &config))?;
    if report.stalled && !standard_error_takes() {
        return Ok(ExitCode::from(1));
    }
    let interrupted = report.stopped == Some(Why::Signal) && !config.is_live();
    if interrupted && !config.quiet {
        eprintln!("picotap: interrupted before the end of the input");
    }
    print_report(&report, &config, args.stats, &terminal);
    Ok(exit_code(&report, &config, &shutdown))
}

/// How the program ends after a run.
fn exit_code(report: &Report, config: &Config, shutdown: &Shutdown) -> ExitCode {
    let interrupted = report.stopped == Some(Why::Signal) && !config.is_live();
    match report.errors.is_empty() {
        false => ExitCode::from(1),
        // As a shell reports a program that a signal ended: what follows must not take the lines for all.
        true if interrupted => ExitCode::from(128 + shutdown.signal_number().unwrap_or(0)),
        true => ExitCode::SUCCESS,
    }
}

/// Shows a run in the terminal.
fn show(args: &Watch) -> Result<ExitCode> {
    if args.list_interfaces {
        return list_interfaces();
    }
    let machine = Machine::observe(args);
    let plan = match Plan::top(args, &machine, example_interface) {
        Ok(plan) => plan,
        Err(error) => return Ok(usage(&error)),
    };
    if let Some(keep) = plan.keep_open() {
        close_inherited(keep, args.quiet)?;
    }
    let screen = match Screen::new() {
        Ok(screen) => screen,
        Err(error) => return Ok(usage(&error)),
    };
    let terminal = plan.summary_terminal();
    let config = plan.load(pipeline::load::read)?;
    let shutdown = Shutdown::default();
    signals::take_stop_in_terminal(&shutdown, &screen.left()).context("signals cannot be taken")?;
    let notices = Notices::hold().context("messages cannot be held back")?;
    let display =
        top::Display { screen: screen.clone(), notices: notices.clone(), colour: Plan::has_colors(args, &machine) };
    let mut top = None;
    let start = |show: Arc<Show>| {
        top = Some(top::Top::start(&display, move || show.snapshot(), &shutdown));
        if let Some(Err(_)) = &top {
            shutdown.ask(Why::Failed);
        }
    };
    let outcome = pipeline::run_shown(&config, &shutdown, Some(Box::new(start)));
    let top = top.transpose().context("the terminal cannot be taken");
    if let (Ok(Some(top)), Ok(report)) = (&top, &outcome) {
        // The result stays, unless a capture has failed.
        top.end(!config.is_live() || report.errors.is_empty());
    }
    screen.leave_for_good();
    let code = match outcome {
        Ok(report) => {
            print_report(&report, &config, args.stats, &terminal);
            match top {
                Ok(_) => exit_code(&report, &config, &shutdown),
                Err(error) => {
                    eprintln!("picotap: {error:#}");
                    ExitCode::from(1)
                }
            }
        }
        Err(failure) => {
            eprintln!("picotap: {}", explain(failure, &config));
            ExitCode::from(1)
        }
    };
    notices.release();
    Ok(code)
}

/// An interface to capture from, for an example: the first that is up and is not the loopback.
fn example_interface() -> String {
    let all = live::list().unwrap_or_default();
    let first = all.iter().find(|interface| interface.up && interface.name != "lo" && interface.name != "any");
    first.map_or_else(|| "eth0".to_owned(), |interface| interface.name.clone())
}

/// Closes what the program was started with, but for these descriptors.
fn close_inherited(keep: &[RawFd], quiet: bool) -> Result<()> {
    let closed = privileges::close_inherited(keep).context("open descriptors cannot be listed in /proc/self/fd")?;
    if closed > 0 && !quiet {
        eprintln!("picotap: {closed} open descriptors closed that it was started with and that no option names");
    }
    Ok(())
}

/// A failure, with the likely reason where it is not plain.
fn explain(failure: Failure, config: &Config) -> anyhow::Error {
    let denied = match &failure {
        Failure::Log(LogError::Open { source: error, .. }) | Failure::Report { error, .. } => {
            error.kind() == ErrorKind::PermissionDenied
        }
        _ => false,
    };
    match failure {
        failure if config.drop_privileges.is_some() && denied => anyhow!(
            "{failure} (privileges are given up before files are opened: make the directory writable for that user, or name \
             another with --user)"
        ),
        // Each of these says all there is to say, its cause included.
        other => anyhow!("{other}"),
    }
}

/// Prints what went wrong and, unless nobody reads any more, what was asked for.
fn print_report(report: &Report, config: &Config, stats: bool, terminal: &Terminal) {
    for error in &report.errors {
        eprintln!("picotap: {error}");
    }
    if report.stopped == Some(Why::Closed) {
        return;
    }
    if config.summary {
        terminal.measure(std::io::stderr());
        let run = Run { live: config.is_live(), elapsed: report.elapsed, secrets: report.secrets };
        eprint!("{}", report.summary.text(run, &report.ledger.losses(), terminal));
    }
    if stats {
        eprint!("{}", report.ledger);
    }
}

/// Whether a write to standard error would not block: it may be the same pipe that nobody reads.
fn standard_error_takes() -> bool {
    let stderr = std::io::stderr();
    let mut polled = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Prints a text that was asked for. Who reads only its beginning has what they want.
fn print(text: &[u8]) -> Result<ExitCode> {
    match std::io::stdout().lock().write_all(text) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("standard output"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn list_interfaces() -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for interface in live::list()? {
        let state = if interface.up { "up" } else { "down" };
        writeln!(out, "{:<16} {state:<5} {}", interface.name, interface.description)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))
}

/// A parser module: a file, or the one that is built in for HTTP/1.
fn module(file: Option<&Path>) -> Result<Vec<u8>> {
    file.map_or_else(|| Ok(BUILTIN_GUEST.to_vec()), read_module)
}

fn read_module(path: &Path) -> Result<Vec<u8>> {
    pipeline::load::read(path).with_context(|| format!("{}: cannot be read", path.display()))
}

fn check_probes(scope: &Scope) -> Result<ExitCode> {
    let able = probe::check(scope, &mut std::io::stdout().lock())??;
    Ok(if able { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn check_config(file: &Path) -> Result<ExitCode> {
    match config::check(&Cli::command(), file) {
        Ok(options) => {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{}: good, {options} options", file.display())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(ConfigError::Usage(error)) => Ok(refuse(&error)),
        Err(error) => {
            eprintln!("picotap: {error}");
            Ok(ExitCode::from(USAGE))
        }
    }
}

fn run_replay(replay: &Replay) -> Result<ExitCode> {
    let poison =
        QuarantinedEvent::from_bytes(&read(&replay.file)?).with_context(|| replay.file.display().to_string())?;
    let engine = Engine::new(4)?;
    let parser = replay_parser(&engine, replay, &poison)?;
    let mut out = std::io::stdout().lock();
    let QuarantinedEvent { fault, sha256, connection, event, bytes, .. } = &poison;
    writeln!(out, "event     {} bytes of side {} of connection {connection}", bytes.len(), event.side)?;
    writeln!(out, "recorded  {} with module {}", quote(fault), quote(sha256))?;
    match pipeline::replay::replay(&parser, &poison) {
        Ok(records) => writeln!(out, "now       holds with module {}: {records} records", parser.sha256)?,
        Err(fault) => {
            writeln!(out, "now       {} with module {}: {fault}", fault.name(), parser.sha256)?;
            return Ok(ExitCode::from(1));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The parser for an event: a module of its protocol.
fn replay_parser(engine: &Engine, replay: &Replay, poison: &QuarantinedEvent) -> Result<Parser> {
    let (event, needed) = (replay.file.display(), poison.format.protocol);
    let guest = replay.guest.as_ref();
    let file = guest.map(|guest| guest.file.as_path());
    let wasm = match (file, built_in(needed)) {
        (None, Some(wasm)) => wasm.to_vec(),
        (None, None) => {
            bail!("{event}: a parser of {needed} failed on this event, and none is built in: needed --guest FILE")
        }
        (Some(_), _) => module(file)?,
    };
    let name = module_name(file);
    let parser = engine.load(&wasm).with_context(|| name.clone())?;
    let Format { protocol, state } = parser.format;
    if let Some(named) = guest.and_then(|guest| guest.protocol).filter(|named| *named != protocol) {
        bail!("{name}: it parses {protocol} and is given for {named}");
    }
    if protocol != needed {
        bail!(
            "{event}: a parser of {needed} failed on this event, and {name} parses {protocol}: needed a module of {needed}"
        );
    }
    if state != poison.format.state {
        eprintln!(
            "picotap: {event}: the state of the connection is in format {}, and {name} has format {state}: it may misread it",
            poison.format.state
        );
    }
    Ok(parser)
}

fn module_name(file: Option<&Path>) -> String {
    file.map_or_else(|| "built-in module".into(), |path| path.display().to_string())
}

fn inspect(file: Option<&Path>) -> Result<ExitCode> {
    let name = module_name(file);
    let engine = Engine::new(4)?;
    let parser = match engine.load(&module(file)?) {
        Ok(parser) => Arc::new(parser),
        Err(error) => bail!("{name}: {error}"),
    };
    let mut out = std::io::stdout().lock();
    let (start, most) = parser.memory();
    let most = most.map_or("as much as the host lets it have".into(), |bytes| format!("at the most {bytes} bytes"));
    writeln!(out, "sha256        {}\nabi           {}", parser.sha256, parser.abi_version)?;
    writeln!(out, "protocol      {}\nstate format  {}", parser.format.protocol, parser.format.state)?;
    writeln!(out, "first window  {}", parser.first_window)?;
    writeln!(out, "bytes         {}\nimports       none", parser.bytes)?;
    writeln!(out, "memory        {start} bytes at the start, {most}")?;
    for (name, ty) in parser.exports() {
        writeln!(out, "export        {name}: {ty}")?;
    }
    match selftest(&parser, &|| false) {
        Ok(tried) => writeln!(out, "self-test     passed ({tried} exchanges)")?,
        Err(error) => bail!("{name}: {error}"),
    }
    Ok(ExitCode::SUCCESS)
}
