//! A plan is what the command line asks for, decided for this machine: every choice between arguments and a run.
//!
//! What a choice depends on beside the arguments is in [`Machine`], so that each is a function of values; but the capture filter
//! is checked by libpcap, which may look names up.

mod error;
mod lines;

use std::io::{self, IsTerminal};
use std::num::NonZero;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::error::PlanError;
use self::lines::{arrangement, check_bodies, check_fields, named_fields};
use crate::cli::{Duplicates, Watch, When};
use crate::daemon::privileges::{DropPrivileges, named_descriptor};
use crate::export::log::{Rotation, Target};
use crate::export::metrics::LabelCaps;
use crate::export::open;
use crate::export::terminal::Terminal;
use crate::export::{FormatName, Subject};
use crate::http::Settings;
use crate::http::body::BodySettings;
use crate::http::filter::field::{Field, Name};
use crate::http::filter::{Filter, Selection};
use crate::http::redact::Redaction;
use crate::http::route::Routes;
use crate::pipeline::{Config, GuestFile, Guests, Keep, PageOptions, ShadowModule};
use crate::probe::Scope;
use crate::source::live::LiveConfig;
use crate::source::{check_filter, directory_of, total_bytes};

/// Capture files below this size go through one sandbox: two save no time that matters.
const ONE_SANDBOX: u64 = 32 << 20;
/// Sandboxes for files at the most, unless the arguments say otherwise: one reader feeds about four.
const MAX_SANDBOXES: usize = 4;
/// Port on loopback where metrics of a live run are served, unless the arguments say otherwise.
const METRICS_PORT: u16 = 9464;

/// The facts that choices depend on beside the arguments.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// Processors that this process may use.
    pub cores: usize,
    /// Bytes of all capture files; `None` if they are not known before reading.
    pub input_bytes: Option<u64>,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether standard error is a terminal.
    pub stderr_is_terminal: bool,
    /// Whether the file to which lines are appended is a terminal.
    pub output_is_terminal: bool,
    /// What the environment says about colours, if it does.
    pub color: Option<bool>,
    /// Number of this process.
    pub process_id: u32,
}

impl Machine {
    /// This machine, with the files that the arguments name.
    #[must_use]
    pub fn observe(args: &Watch) -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, NonZero::get),
            input_bytes: total_bytes(&args.pcap),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            output_is_terminal: args.output.as_deref().is_some_and(open::is_terminal),
            color: color_wish(),
            process_id: std::process::id(),
        }
    }
}

/// NO_COLOR (no-color.org), then CLICOLOR_FORCE (bixense.com/clicolors), then whether the terminal is one that has colours.
fn color_wish() -> Option<bool> {
    match () {
        () if anstyle_query::no_color() => Some(false),
        () if anstyle_query::clicolor_force() => Some(true),
        () => (!anstyle_query::term_supports_color()).then_some(false),
    }
}

/// A run, but for the parser modules that are still to be read.
#[derive(Debug)]
pub struct Plan {
    /// The modules in it that have a file are still to be read.
    config: Config,
    shadow: Option<(PathBuf, u64)>,
    summary_terminal: Terminal,
    keep_open: Option<Vec<RawFd>>,
}

impl Plan {
    /// Decides everything that the arguments leave open. Opens no input; names of hosts in a capture filter are looked up.
    ///
    /// # Errors
    /// All but [`PlanError::Module`]: the arguments contradict each other or say too little.
    pub fn new(args: &Watch, machine: &Machine) -> Result<Self, PlanError> {
        args.tcpdump.check()?;
        let live = is_live(args);
        if args.pcap.is_empty() && !live {
            return Err(PlanError::NoInput);
        }
        let rotation = rotation(args);
        if target(args).file().is_none() && rotation.is_some() {
            return Err(PlanError::NoLogFile);
        }
        if args.page && args.metrics_addr.is_none() && !live {
            return Err(PlanError::NoEndpoint);
        }
        let subject = if args.tls { Subject::Tls } else { Subject::Transactions };
        if !format(args, machine).has(subject) {
            return Err(PlanError::NoTlsFormat(format(args, machine)));
        }
        let probes = args.tls_probes.clone().filter(|scope| *scope != Scope::Off);
        if probes.is_some() && !live {
            return Err(PlanError::NoProbesOfFiles);
        }
        if args.processes && !live {
            return Err(PlanError::NoProcesses);
        }
        check_fields(args, machine, subject)?;
        check_keep(args)?;
        check_bodies(args, format(args, machine), page(args, live).is_some())?;
        let expression = capture_filter(args)?;
        let input =
            if live { Config::live(sources(args, &expression, machine.process_id)) } else { Config::files(&args.pcap) };
        let save_key_log = args.save_keylog.clone();
        if save_key_log.is_some() && probes.is_none() {
            return Err(PlanError::NoProbesToSave);
        }
        let config = Config {
            filter: (!live && !expression.is_empty()).then_some(expression),
            count: args.count,
            verify_checksums: args.verify_checksums,
            key_logs: args.keylog.clone(),
            probes,
            save_key_log,
            tls_filters: args.tls_filter.clone(),
            drop_duplicates: drop_duplicates(args),
            shard: args.shard,
            workers: workers(args, machine),
            cores: machine.cores,
            queue: args.queue.map(usize::from),
            format: format(args, machine),
            subject,
            columns: args.fields.clone(),
            arrangement: arrangement(args)?,
            target: target(args),
            keep: keep(args),
            terminal: terminal(args, machine, target(args) == Target::Stdout && machine.stdout_is_terminal),
            rotation,
            settings: Settings {
                routes: routes(args, machine),
                all_headers: all_headers(args, machine),
                ..settings(args)
            },
            selection: selection(args),
            metrics_address: args
                .metrics_addr
                .or_else(|| (live && !args.no_metrics).then(|| ([127, 0, 0, 1], METRICS_PORT).into())),
            metrics_address_may_fail: live && args.metrics_addr.is_none(),
            page: page(args, live),
            report: args.report.clone(),
            metrics_file: args.metrics_file.clone(),
            label_caps: LabelCaps {
                hosts: args.metrics_host_label.map(usize::from),
                routes: args.metrics_routes.map(usize::from),
                processes: args.metrics_processes.map(usize::from),
            },
            memory_limit: args.memory_limit,
            fault_limit: args.fault_limit,
            fault_time: args.fault_time,
            quarantine: args.quarantine_dir.clone(),
            quarantine_decrypted: args.quarantine_decrypted,
            processes: args.processes,
            guests: Guests::new(args.guest.iter().map(GuestFile::unread))?,
            drop_privileges: drop_privileges(args),
            summary: !args.quiet && (args.stats || machine.stderr_is_terminal),
            quiet: args.quiet,
            ..input
        };
        let shadow = args.shadow.clone().map(|path| (path, args.shadow_sample));
        let summary_terminal = terminal(args, machine, machine.stderr_is_terminal);
        Ok(Self { config, shadow, summary_terminal, keep_open: keep_open(args) })
    }

    /// The same for `picotap top`: lines are logged only into a file, and nothing is served or summed up unasked. `interface`:
    /// one to capture from, for an example.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn top(args: &Watch, machine: &Machine, interface: impl FnOnce() -> String) -> Result<Self, PlanError> {
        if args.pcap.is_empty() && !is_live(args) {
            return Err(PlanError::NothingToShow(interface()));
        }
        match &args.output {
            None => lines_option(args).map_or(Ok(()), |option| Err(PlanError::NoLines(option)))?,
            Some(path) if machine.output_is_terminal || target(args) == Target::Stdout => {
                return Err(PlanError::LinesOnTerminal(path.clone()));
            }
            Some(_) => {}
        }
        if args.page && args.metrics_addr.is_none() {
            return Err(PlanError::NoEndpoint);
        }
        let plan = Self::new(args, machine)?;
        let config = Config {
            lines: args.output.is_some(),
            shown: true,
            metrics_address: args.metrics_addr,
            summary: args.stats && !args.quiet,
            drop_privileges: plan.config.drop_privileges.map(|keep| DropPrivileges { terminal: true, ..keep }),
            settings: Settings { routes: Some(Routes::new(args.route.clone())), ..plan.config.settings },
            ..plan.config
        };
        Ok(Self { config, ..plan })
    }

    /// Whether the screen of `picotap top` has colours.
    #[must_use]
    pub fn has_colors(args: &Watch, machine: &Machine) -> bool {
        terminal(args, machine, machine.stdout_is_terminal).is_colored()
    }

    /// How the summary is written on standard error.
    #[must_use]
    pub fn summary_terminal(&self) -> Terminal {
        self.summary_terminal.clone()
    }

    /// The descriptors that the process was started with and that options name, if all others are to be closed.
    #[must_use]
    pub fn keep_open(&self) -> Option<&[RawFd]> {
        self.keep_open.as_deref()
    }

    /// Completes the plan with the parser modules that it names, which `read` reads.
    ///
    /// # Errors
    /// [`PlanError::Module`].
    pub fn load(self, read: impl Fn(&Path) -> io::Result<Vec<u8>>) -> Result<Config, PlanError> {
        let read = |path: &Path| read(path).map_err(|cause| PlanError::Module { path: path.to_path_buf(), cause });
        let shadow = match self.shadow {
            Some((path, sample)) => Some(ShadowModule { wasm: read(&path)?, file: Some(path), sample }),
            None => None,
        };
        Ok(Config { guests: self.config.guests.read(read)?, shadow, ..self.config })
    }
}

/// The capture filter; empty if there is none.
fn capture_filter(args: &Watch) -> Result<String, PlanError> {
    let expression = args.filter_expression.join(" ");
    let Err(message) = check_filter(&expression) else { return Ok(expression) };
    let meant = expression.parse::<Filter>().is_ok();
    let hint = if meant { format!("; did you mean --filter '{expression}'?") } else { String::new() };
    Err(PlanError::CaptureFilter { expression, message, hint })
}

/// Whether the arguments name an interface.
fn is_live(args: &Watch) -> bool {
    !args.interface.is_empty()
}

/// One source for each interface and member of its fan-out group.
fn sources(args: &Watch, expression: &str, process_id: u32) -> Vec<LiveConfig> {
    let [.., high, low] = process_id.to_be_bytes();
    let source = |(index, name): (usize, &String)| LiveConfig {
        index: u32::try_from(index).unwrap_or(u32::MAX),
        promiscuous: !args.no_promiscuous_mode,
        snaplen: args.snapshot_length,
        buffer_kib: args.buffer_size,
        direction: args.direction,
        filter: expression.to_owned(),
        fanout: (args.fanout > 1).then_some(u16::from_be_bytes([high, low])),
        ..LiveConfig::new(name)
    };
    let members = usize::from(args.fanout);
    args.interface.iter().enumerate().map(source).flat_map(|source| std::iter::repeat_n(source, members)).collect()
}

/// Several interfaces, or all, may show the same packet.
fn drop_duplicates(args: &Watch) -> bool {
    let several = args.interface.len() > 1 || args.interface.iter().any(|name| name == "any");
    args.duplicates.map_or(several, |duplicates| duplicates == Duplicates::Drop)
}

/// Sandboxes: files take all cores, since the thread that reads also runs sandboxes; a live capture thread has one of its own.
fn workers(args: &Watch, machine: &Machine) -> usize {
    if let Some(workers) = args.workers {
        return usize::from(workers);
    }
    if is_live(args) {
        return machine.cores.saturating_sub(1).max(1);
    }
    match machine.input_bytes {
        Some(bytes) if bytes < ONE_SANDBOX => 1,
        _ => machine.cores.min(MAX_SANDBOXES),
    }
}

/// Text is for people: on a terminal.
fn format(args: &Watch, machine: &Machine) -> FormatName {
    let on_terminal = target(args) == Target::Stdout && machine.stdout_is_terminal;
    args.format.unwrap_or(match args.fields {
        _ if args.top.is_some() => FormatName::Text,
        Some(_) => FormatName::Csv,
        None if args.capture_bodies.is_some() => FormatName::Json,
        None if on_terminal => FormatName::Text,
        None => FormatName::Json,
    })
}

/// How texts for people are written. The option comes before the environment. Only a terminal limits lines.
fn terminal(args: &Watch, machine: &Machine, is_terminal: bool) -> Terminal {
    let color = match args.color {
        When::Always => true,
        When::Never => false,
        When::Auto => machine.color.unwrap_or(is_terminal),
    };
    Terminal::new(color, is_terminal)
}

/// The first option that is given and is about lines of the log.
fn lines_option(args: &Watch) -> Option<&'static str> {
    let given = [
        (args.format.is_some(), "--format"),
        (args.fields.is_some(), "--fields"),
        (args.sort.is_some(), "--sort"),
        (args.top.is_some(), "--top"),
        (args.tls, "--tls"),
        (!args.filter.is_empty(), "--filter"),
        (args.slow.is_some(), "--slow"),
        (args.errors, "--errors"),
        (args.rotate_size.is_some(), "--rotate-size"),
        (args.rotate_interval.is_some(), "--rotate-interval"),
    ];
    given.into_iter().find_map(|(given, option)| given.then_some(option))
}

/// Where lines go.
fn target(args: &Watch) -> Target {
    args.output.as_deref().map_or(Target::Stdout, Target::of)
}

/// Which packets are kept.
fn keep(args: &Watch) -> Option<Keep> {
    let keep = |file: &PathBuf| Keep { file: file.clone(), buffer: args.write_buffer, secrets: args.write_secrets };
    args.write.as_ref().map(keep)
}

/// Refuses files for packets that would not be what is meant.
fn check_keep(args: &Watch) -> Result<(), PlanError> {
    let Some(file) = &args.write else { return Ok(()) };
    let ends_in = |name: &str| file.extension().is_some_and(|end| end == name);
    if ends_in("gz") || ends_in("zst") {
        return Err(PlanError::PacketsCompressed(file.clone()));
    }
    if args.write_secrets && !ends_in("pcapng") && file.as_os_str() != "-" {
        return Err(PlanError::SecretsInPcap(file.clone()));
    }
    match target(args) {
        Target::Stdout if file.as_os_str() == "-" => Err(PlanError::PacketsAmongLines),
        Target::File(log) if log == *file => Err(PlanError::PacketsInLog(log)),
        _ => Ok(()),
    }
}

fn rotation(args: &Watch) -> Option<Rotation> {
    (args.rotate_size.is_some() || args.rotate_interval.is_some()).then(|| Rotation {
        size: args.rotate_size,
        interval: args.rotate_interval.map(nanoseconds),
        keep: usize::from(args.rotate_keep),
    })
}

fn settings(args: &Watch) -> Settings {
    let redaction = match args.no_redact {
        true => Redaction::off(),
        false => Redaction::with(&args.redact_query, &args.redact_header),
    };
    Settings {
        headers: args.header.clone(),
        trusted_proxies: args.trusted_proxy.clone(),
        bodies: args
            .capture_bodies
            .map(|bytes| BodySettings { bytes, types: args.body_types.clone().unwrap_or_default() }),
        redaction,
        community_id: !args.no_community_id,
        sensor: args.sensor.clone().unwrap_or_default(),
        ..Settings::default()
    }
}

/// An archive has all headers.
fn all_headers(args: &Watch, machine: &Machine) -> bool {
    args.headers.is_some() || format(args, machine) == FormatName::Har
}

/// The routes, if anything shows them.
fn routes(args: &Watch, machine: &Machine) -> Option<Routes> {
    let shown = args.report.is_some() || args.metrics_routes.is_some() || page(args, is_live(args)).is_some();
    let named = named_fields(args).any(|field| *field == Field::Named(Name::Route));
    let wanted = shown || named || matches!(format(args, machine), FormatName::Json | FormatName::Otlp);
    wanted.then(|| Routes::new(args.route.clone()))
}

fn selection(args: &Watch) -> Selection {
    Selection { filters: args.filter.clone(), slow: args.slow.map(nanoseconds), errors: args.errors }
}

/// As long as can be said in nanoseconds, 292 years.
fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

/// The page of the endpoint, if there is one: on loopback, or where it was asked for.
fn page(args: &Watch, live: bool) -> Option<PageOptions> {
    let is_loopback = args.metrics_addr.map_or(live && !args.no_metrics, |address| address.ip().is_loopback());
    let served = !args.no_page && (args.page || is_loopback);
    served.then(|| PageOptions { hosts: args.page_host.clone() })
}

/// The privileges that a live run keeps after its start, whoever started it. A run over files drops none, unless --user asks
/// for it.
fn drop_privileges(args: &Watch) -> Option<DropPrivileges> {
    if args.user.is_none() && !is_live(args) {
        return None;
    }
    let target = target(args);
    let made = target.file().into_iter().chain(args.metrics_file.as_deref()).chain(args.report.as_deref());
    let made = made.map(directory);
    let writable = made.chain(args.quarantine_dir.clone()).collect();
    let guests = args.guest.iter().map(|guest| &guest.file);
    let captures = args.pcap.iter().map(|path| directory_of(path));
    let readable = guests.map(|path| directory(path)).chain(captures).collect();
    Some(DropPrivileges {
        user: args.user.clone(),
        readable,
        writable,
        make: args.quarantine_dir.clone(),
        terminal: false,
    })
}

/// The directory in which a file is made, renamed and replaced; of a path that names a descriptor, the file behind it.
fn directory(path: &Path) -> PathBuf {
    if open::is_special(path) {
        return path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    }
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or_else(|| ".".into(), Path::to_path_buf)
}

/// A live run closes inherited descriptors that no option names: it lasts for months, and parses what strangers send.
fn keep_open(args: &Watch) -> Option<Vec<RawFd>> {
    let one = [&args.output, &args.write, &args.metrics_file, &args.report, &args.shadow, &args.quarantine_dir]
        .into_iter()
        .flatten();
    let paths = one.chain(args.guest.iter().map(|guest| &guest.file)).chain(&args.keylog);
    is_live(args).then(|| paths.filter_map(|path| named_descriptor(path)).collect())
}

#[cfg(test)]
mod tests;
