//! The `picotap` program: reads the command line, runs, and says what went wrong.

use std::fs;
use std::io::{ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::{CommandFactory, FromArgMatches};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use picotap::cli::{Cli, Command, ConfigCommand, GuestCommand, Replay, Watch};
use picotap::config::{self, ConfigError};
use picotap::daemon::privileges::{self, DropPrivileges};
use picotap::daemon::shutdown::{Shutdown, Why};
use picotap::daemon::signals;
use picotap::export::FormatName;
use picotap::export::log::{LogError, Rotation, Target};
use picotap::export::open;
use picotap::http::Settings;
use picotap::http::filter::Selection;
use picotap::http::redact::Redaction;
use picotap::pipeline::{self, Config, Failure, Module, ShadowModule};
use picotap::sandbox::BUILTIN_GUEST;
use picotap::sandbox::engine::Engine;
use picotap::sandbox::quarantine::QuarantinedEvent;
use picotap::sandbox::quote::quote;
use picotap::sandbox::selftest::selftest;
use picotap::source::live::{self, LiveConfig};
use picotap::source::total_bytes;

/// Exit code for wrong usage, as clap's.
const USAGE: u8 = 2;
/// Capture files below this size go through one sandbox: two save no time that anybody would notice, and lose the order
/// of lines among connections.
const ONE_SANDBOX: u64 = 32 << 20;
/// Sandboxes for files at the most, unless it is said otherwise: one reader feeds about four.
const MAX_SANDBOXES: usize = 4;
/// Where metrics are served with an interface, unless something else is asked for.
const METRICS_PORT: u16 = 9464;

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
    let matches = config::matches(&Cli::command(), std::env::args_os()).map_err(|error| match error {
        ConfigError::Usage(error) => error.exit(),
        other => {
            eprintln!("picotap: {other}");
            ExitCode::from(USAGE)
        }
    })?;
    Cli::from_arg_matches(&matches).map_err(|error| error.exit())
}

fn dispatch(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        None => watch(cli.watch),
        #[cfg(feature = "parse")]
        Some(Command::Parse(args)) => Ok(ExitCode::from(picotap::parse::run(&args, &mut std::io::stdout().lock())?)),
        Some(Command::Replay(replay)) => run_replay(&replay),
        Some(Command::Config { command: ConfigCommand::Check { file } }) => check_config(&file),
        Some(Command::Guest { command: GuestCommand::Inspect { file } }) => inspect(file.as_deref()),
    }
}

/// Says what is wrong with the usage.
fn usage(text: &str) -> ExitCode {
    eprintln!("picotap: {text}\nFor more information, try 'picotap --help'.");
    ExitCode::from(USAGE)
}

fn watch(watch: Watch) -> Result<ExitCode> {
    if watch.list_interfaces {
        return list_interfaces();
    }
    let live = !watch.interface.is_empty();
    if watch.pcap.is_empty() && !live {
        return Ok(usage("nothing to watch: needed --pcap FILE, or -i IFACE (-D lists them)"));
    }
    if watch.output.is_none() && (watch.rotate_size.is_some() || watch.rotate_interval.is_some()) {
        return Ok(usage("standard output cannot be rotated: --rotate-size and --rotate-interval need --output FILE"));
    }
    if live {
        close_inherited(&watch)?;
    }
    let expression = watch.filter_expression.join(" ");
    let on_terminal = watch.output.is_none() && std::io::stdout().is_terminal();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let redaction = match watch.no_redact {
        true => Redaction::off(),
        false => Redaction::with(&watch.redact_query, &watch.redact_header),
    };
    let rotation = (watch.rotate_size.is_some() || watch.rotate_interval.is_some()).then(|| Rotation {
        size: watch.rotate_size.map(|mebibytes| u64::from(mebibytes) << 20),
        interval: watch.rotate_interval.map(|seconds| i64::from(seconds) * 1_000_000_000),
        keep: usize::from(watch.rotate_keep),
    });
    let address =
        watch.metrics_addr.or_else(|| (live && !watch.no_metrics).then(|| ([127, 0, 0, 1], METRICS_PORT).into()));
    let shadow = match &watch.shadow {
        Some(path) => Some(ShadowModule { wasm: read_module(path)?, sample: watch.shadow_sample }),
        None => None,
    };
    let settings = Settings { headers: watch.header.clone(), redaction, community_id: !watch.no_community_id };
    let selection = Selection {
        filters: watch.filter.clone(),
        slow: watch.slow.map(|ms| i64::from(ms) * 1_000_000),
        errors: watch.errors,
    };
    let workers = watch.workers.map_or_else(|| sandboxes(&watch, cores), usize::from);
    let guest = match &watch.guest {
        Some(path) => Module { wasm: read_module(path)?, file: Some(path.clone()) },
        None => Module::default(),
    };
    let config = if live { Config::live(sources(&watch, &expression)) } else { Config::files(watch.pcap.clone()) };
    let config = Config {
        filter: (!live && !expression.is_empty()).then_some(expression),
        count: watch.count,
        verify_checksums: watch.verify_checksums,
        workers,
        queue: watch.queue.map(usize::from),
        format: watch.format.unwrap_or(if on_terminal { FormatName::Text } else { FormatName::Json }),
        target: watch.output.clone().map_or(Target::Stdout, Target::File),
        rotation,
        settings,
        selection,
        metrics_address: address,
        metrics_file: watch.metrics_file.clone(),
        host_labels: watch.metrics_host_label.map(usize::from),
        guest,
        shadow,
        memory_limit: u64::from(watch.memory_limit) << 20,
        fault_limit: watch.fault_limit,
        fault_time: Duration::from_millis(u64::from(watch.fault_time)),
        quarantine: watch.quarantine_dir.clone(),
        drop_privileges: privileges_to_drop(&watch, live),
        summary: !watch.quiet && (watch.stats || std::io::stderr().is_terminal()),
        quiet: watch.quiet,
        ..config
    };
    let shutdown = Shutdown::default();
    signals::take_stop(&shutdown).context("signals cannot be taken")?;
    let (with_summary, gives_up) = (config.summary, config.drop_privileges.is_some());
    let report = pipeline::run(&config, &shutdown).map_err(|error| match error {
        Failure::Log(LogError::Open { ref source, .. })
            if gives_up && source.kind() == ErrorKind::PermissionDenied => anyhow!(
            "{error} (privileges are given up before files are opened: make the directory writable for that user, or name \
             another with --user)"
        ),
        // Each of these says all there is to say, its cause included.
        error => anyhow!("{error}"),
    })?;
    if report.stalled && !standard_error_takes() {
        return Ok(ExitCode::from(1));
    }
    for error in &report.errors {
        eprintln!("picotap: {error}");
    }
    if report.stopped != Some(Why::Closed) {
        if with_summary {
            eprint!("{}", report.summary.text(&report.ledger.losses()));
        }
        if watch.stats {
            eprint!("{}", report.ledger);
        }
    }
    Ok(if report.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Whether words on standard error would not hold the end up: it may be the same pipe that nobody reads.
fn standard_error_takes() -> bool {
    let stderr = std::io::stderr();
    let mut polled = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Sandboxes for an input: files need all cores, since a reader keeps only part of one busy; live capture has its own.
fn sandboxes(watch: &Watch, cores: usize) -> usize {
    if !watch.interface.is_empty() {
        return cores.saturating_sub(1).max(1);
    }
    if total_bytes(&watch.pcap).is_some_and(|bytes| bytes < ONE_SANDBOX) { 1 } else { cores.min(MAX_SANDBOXES) }
}

/// One source for each interface and member of its fan-out group.
fn sources(watch: &Watch, expression: &str) -> Vec<LiveConfig> {
    let base = u16::try_from(std::process::id() & 0xffff).unwrap_or(0);
    let source = |(index, name): (usize, &String)| LiveConfig {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        promiscuous: !watch.no_promiscuous_mode,
        snaplen: watch.snapshot_length,
        buffer_kib: watch.buffer_size,
        direction: watch.direction,
        filter: expression.to_owned(),
        fanout: (watch.fanout > 1).then_some(base),
        ..LiveConfig::new(name)
    };
    let members = usize::from(watch.fanout);
    watch.interface.iter().enumerate().map(source).flat_map(|source| std::iter::repeat_n(source, members)).collect()
}

/// What a live run needs after its start; all else is given up, whoever started it. A run over files gives up only what it is
/// asked to.
fn privileges_to_drop(watch: &Watch, live: bool) -> Option<DropPrivileges> {
    if watch.user.is_none() && !live {
        return None;
    }
    let made = watch.output.iter().chain(&watch.metrics_file).map(|path| place(path));
    let writable = made.chain(watch.quarantine_dir.clone()).collect();
    let readable = watch.guest.iter().chain(&watch.pcap).map(|path| place(path)).collect();
    Some(DropPrivileges { user: watch.user.clone(), readable, writable, make: watch.quarantine_dir.clone() })
}

/// The directory in which a file is made, renamed and replaced; of a path that names a descriptor, the file behind it.
fn place(path: &Path) -> PathBuf {
    if open::is_special(path) {
        return path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    }
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or_else(|| ".".into(), Path::to_path_buf)
}

/// Closes what the program was started with and does not name: a live run lasts for months, and parses what strangers send.
fn close_inherited(watch: &Watch) -> Result<()> {
    let paths = [&watch.output, &watch.metrics_file, &watch.guest, &watch.shadow, &watch.quarantine_dir];
    let named: Vec<_> = paths.into_iter().flatten().filter_map(|path| privileges::named_descriptor(path)).collect();
    let closed = privileges::close_inherited(&named).context("open descriptors cannot be listed in /proc/self/fd")?;
    if closed > 0 && !watch.quiet {
        eprintln!("picotap: {closed} open descriptors closed that it was started with and that no option names");
    }
    Ok(())
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

/// The parser module: a file, or the one that is built in.
fn module(file: Option<&Path>) -> Result<Vec<u8>> {
    file.map_or_else(|| Ok(BUILTIN_GUEST.to_vec()), read_module)
}

fn read_module(path: &Path) -> Result<Vec<u8>> {
    pipeline::load::read(path).with_context(|| format!("{}: cannot be read", path.display()))
}

fn check_config(file: &Path) -> Result<ExitCode> {
    match config::check(&Cli::command(), file) {
        Ok(options) => {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{}: good, {options} options", file.display())?;
            Ok(ExitCode::SUCCESS)
        }
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
    let parser = engine.load(&module(replay.guest.as_deref())?)?;
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

fn inspect(file: Option<&Path>) -> Result<ExitCode> {
    let name = file.map_or("built-in module".into(), |path| path.display().to_string());
    let engine = Engine::new(4)?;
    let parser = match engine.load(&module(file)?) {
        Ok(parser) => Arc::new(parser),
        Err(error) => bail!("{name}: {error}"),
    };
    let mut out = std::io::stdout().lock();
    let (start, most) = parser.memory();
    let most = most.map_or("as much as the host lets it have".into(), |bytes| format!("at the most {bytes} bytes"));
    writeln!(out, "sha256        {}\nabi           {}", parser.sha256, parser.abi_version)?;
    writeln!(out, "state format  {}\nbytes         {}\nimports       none", parser.state_format, parser.bytes)?;
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
