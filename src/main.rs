//! The `picotap` program: reads the command line, runs, and says what went wrong.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use picotap::cli::{Cli, Command, GuestCommand, Replay, Watch};
use picotap::export::FormatName;
use picotap::http::Settings;
use picotap::http::redact::Redaction;
use picotap::pipeline::shutdown::{Shutdown, Why};
use picotap::pipeline::{self, Config};
use picotap::sandbox::BUILTIN_GUEST;
use picotap::sandbox::engine::Engine;
use picotap::sandbox::quarantine::Poison;

/// Exit code for wrong usage, as clap's.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        None => watch(cli.watch),
        #[cfg(feature = "parse")]
        Some(Command::Parse(args)) => parse(&args),
        Some(Command::Replay(replay)) => run_replay(&replay),
        Some(Command::Guest { command: GuestCommand::Inspect { file } }) => inspect(file.as_deref()),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("picotap: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// Says what is wrong with the usage.
fn usage(text: &str) -> ExitCode {
    eprintln!("picotap: {text}\nFor more information, try 'picotap --help'.");
    ExitCode::from(USAGE)
}

fn watch(watch: Watch) -> Result<ExitCode> {
    if watch.pcap.is_empty() {
        return Ok(usage("nothing to watch: needed --pcap FILE"));
    }
    let format = match &watch.format {
        None if watch.output.is_none() && std::io::stdout().is_terminal() => FormatName::Text,
        None => FormatName::Json,
        Some(name) => match name.parse() {
            Ok(format) => format,
            Err(error) => return Ok(usage(&format!("--format: {error}"))),
        },
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let redaction = if watch.no_redact { Redaction::off() } else { Redaction::with_keys(&watch.redact_query) };
    let config = Config {
        files: watch.pcap,
        filter: (!watch.filter.is_empty()).then(|| watch.filter.join(" ")),
        count: watch.count,
        verify_checksums: watch.verify_checksums,
        workers: watch.workers.map_or_else(|| cores.saturating_sub(1).max(1), usize::from),
        format,
        output: watch.output,
        settings: Settings { headers: watch.header, redaction, community_id: !watch.no_community_id },
        guest: module(watch.guest.as_deref())?,
        memory_limit: u64::from(watch.memory_limit) << 20,
        fault_limit: watch.fault_limit,
        quarantine: watch.quarantine_dir,
    };
    let shutdown = Shutdown::default();
    shutdown.on_signals().context("signals cannot be taken")?;
    let report = pipeline::run(config, &shutdown)?;
    for error in &report.errors {
        eprintln!("picotap: {error}");
    }
    if watch.stats && report.stopped != Some(Why::Closed) {
        eprint!("{}", report.ledger);
    }
    Ok(if report.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The parser module: a file, or the one that is built in.
fn module(file: Option<&Path>) -> Result<Vec<u8>> {
    match file {
        None => Ok(BUILTIN_GUEST.to_vec()),
        Some(path) => fs::read(path).with_context(|| format!("{}: cannot be read", path.display())),
    }
}

#[cfg(feature = "parse")]
fn parse(args: &picotap::parse::Args) -> Result<ExitCode> {
    Ok(ExitCode::from(picotap::parse::run(args, &mut std::io::stdout().lock())?))
}

fn run_replay(replay: &Replay) -> Result<ExitCode> {
    let name = replay.file.display();
    let file = fs::read(&replay.file).with_context(|| format!("{name}: cannot be read"))?;
    let poison = Poison::from_bytes(&file).with_context(|| name.to_string())?;
    let engine = Engine::new(2)?;
    let parser = engine.load(&module(replay.guest.as_deref())?)?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "event     {} bytes of side {} of connection {}",
        poison.bytes.len(),
        poison.event.side,
        poison.connection
    )?;
    writeln!(out, "recorded  {} with module {}", poison.fault, poison.sha256)?;
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
    let engine = Engine::new(2)?;
    let wasm = module(file)?;
    let parser = match engine.load(&wasm) {
        Ok(parser) => parser,
        Err(error) => bail!("{}: {error}", file.map_or("built-in module".into(), |path| path.display().to_string())),
    };
    let mut out = std::io::stdout().lock();
    let (start, most) = parser.memory();
    writeln!(out, "sha256        {}\nabi           {}", parser.sha256, parser.abi_version)?;
    writeln!(out, "state format  {}\nbytes         {}\nimports       none", parser.state_format, parser.bytes)?;
    writeln!(
        out,
        "memory        {start} bytes at the start, {} at the most",
        most.map_or("unbounded".into(), |m| m.to_string())
    )?;
    for (name, ty) in parser.exports() {
        writeln!(out, "export        {name}: {ty}")?;
    }
    Ok(ExitCode::SUCCESS)
}
