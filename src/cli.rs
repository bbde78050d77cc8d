//! The command line: what a person asks for, as a structure.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::export::FormatName;
use crate::http::filter::Filter;
use crate::pipeline::{DEFAULT_FAULT_LIMIT, DEFAULT_FAULT_MS, DEFAULT_MEMORY_MIB};
use crate::source::live::{DEFAULT_BUFFER_KIB, Direction, MAX_SNAPLEN};

/// What stands at the end of the help.
const AFTER: &str = "\
Examples:
  picotap --pcap capture.pcap                 one line for each transaction in a file
  zcat big.pcap.gz | picotap -r - --format zeek -o http.log
  picotap -i eth0 -o /var/log/picotap/http.json --metrics-addr 127.0.0.1:9464 'tcp port 80'
  picotap -r day1.pcap -r day2.pcapng --errors --header content-type 'host 10.0.0.7'

A switch may be given as --SWITCH=false, to turn off what the configuration file turns on.

Exit codes: 0 done; 1 an input was damaged or something failed (what was good has been written); 2 wrong usage.";

/// Watches HTTP/1.x traffic and parses every byte of it inside a WebAssembly sandbox.
///
/// Reads captures or a network interface, prints a line for each request with its response, and counts for Prometheus.
#[derive(Debug, Parser)]
#[command(name = "picotap", version, after_help = AFTER, args_conflicts_with_subcommands = true, max_term_width = 120)]
pub struct Cli {
    /// Something else than watching.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Watching.
    #[command(flatten)]
    pub watch: Watch,
}

/// What else picotap can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Parse HTTP given on the command line, in a file or on standard input, through one of five ways into a sandbox
    #[cfg(feature = "parse")]
    Parse(crate::parse::Args),
    /// Run a quarantined event through the parser again and say what happens
    Replay(Replay),
    /// Check a configuration file
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Look at a parser module
    Guest {
        /// What to do with it.
        #[command(subcommand)]
        command: GuestCommand,
    },
}

/// What can be done with a configuration file.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether every line of it is right
    Check {
        /// The file
        file: PathBuf,
    },
}

/// What can be done with a parser module.
#[derive(Debug, Subcommand)]
pub enum GuestCommand {
    /// Print version, hash, exports and limits of a module, and run the self-test
    Inspect {
        /// The module; without it, the built-in one
        file: Option<PathBuf>,
    },
}

/// Arguments of `picotap replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// A file from the quarantine directory
    pub file: PathBuf,
    /// Parser module to run it through instead of the built-in one
    #[arg(long, value_name = "FILE.wasm")]
    pub guest: Option<PathBuf>,
}

/// Arguments of watching.
#[derive(Debug, Clone, Args)]
pub struct Watch {
    /// Capture file to read (pcap or pcapng, plain, gzip or zstd); - is standard input; may be repeated
    #[arg(short = 'r', long = "pcap", value_name = "FILE", help_heading = "Input", conflicts_with = "interface")]
    pub pcap: Vec<PathBuf>,
    /// Interface to capture from, by name or number, or any; may be repeated
    #[arg(short = 'i', long, value_name = "IFACE", help_heading = "Input")]
    pub interface: Vec<String>,
    /// List the interfaces and exit
    #[arg(short = 'D', long, help_heading = "Input")]
    pub list_interfaces: bool,
    /// Stop after this many packets
    #[arg(short = 'c', long, value_name = "N", help_heading = "Input", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Do not put interfaces into promiscuous mode
    #[arg(short = 'p', long, help_heading = "Input")]
    pub no_promiscuous_mode: bool,
    /// Bytes to capture of each packet; 0 is the default
    #[arg(short = 's', long, value_name = "BYTES", default_value_t = MAX_SNAPLEN, help_heading = "Input")]
    pub snapshot_length: u32,
    /// Size of the kernel's buffer for an interface, in KiB
    #[arg(short = 'B', long, value_name = "KIB", default_value_t = DEFAULT_BUFFER_KIB, help_heading = "Input", value_parser = clap::value_parser!(u32).range(64..=2_097_151))]
    pub buffer_size: u32,
    /// Direction of the packets to capture: in, out or inout [default: inout; in on loopback]
    #[arg(short = 'Q', long, value_name = "DIRECTION", help_heading = "Input")]
    pub direction: Option<Direction>,
    /// Capture threads for each interface, among which the kernel spreads connections
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Input", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub fanout: u16,
    /// Skip packets whose IPv4 or TCP checksum is wrong
    #[arg(long, help_heading = "Input")]
    pub verify_checksums: bool,
    /// Capture filter in the language of pcap-filter(7), applied to files too
    #[arg(value_name = "FILTER", trailing_var_arg = true, help_heading = "Input")]
    pub filter_expression: Vec<String>,

    /// Format of the lines: json, text, ecs, zeek or clf [default: text on a terminal, else json]
    #[arg(long, value_name = "FORMAT", help_heading = "Output")]
    pub format: Option<FormatName>,
    /// File to append lines to; standard output by default
    #[arg(short = 'o', long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Header to add to each line, of request and response; may be repeated
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    pub header: Vec<String>,
    /// Leave the community identifier out
    #[arg(long, help_heading = "Output")]
    pub no_community_id: bool,
    /// Log only what fits: KEY=PATTERN or KEY!=PATTERN with method, status, host or path; may be repeated, all must fit
    #[arg(long, value_name = "KEY=PATTERN", help_heading = "Output")]
    pub filter: Vec<Filter>,
    /// Log only transactions that took at least so many milliseconds
    #[arg(long, value_name = "MS", help_heading = "Output")]
    pub slow: Option<u32>,
    /// Log only errors: status 400 and above, no response, a message cut short
    #[arg(long, help_heading = "Output")]
    pub errors: bool,
    /// Key of a query, path or fragment whose value is hidden, beside token, password and others that README lists; may be repeated
    #[arg(long, value_name = "KEY", help_heading = "Output")]
    pub redact_query: Vec<String>,
    /// Header whose value is hidden, beside Authorization, Cookie and others that README lists; may be repeated
    #[arg(long, value_name = "NAME", help_heading = "Output", value_parser = header_name)]
    pub redact_header: Vec<String>,
    /// Show credentials, cookies, tokens and signatures as they are
    #[arg(long, help_heading = "Output")]
    pub no_redact: bool,
    /// Rotate the log file before it exceeds so many MiB
    #[arg(long, value_name = "MIB", help_heading = "Output", value_parser = clap::value_parser!(u32).range(1..))]
    pub rotate_size: Option<u32>,
    /// Rotate the log file every so many seconds, counted from midnight UTC
    #[arg(long, value_name = "SECONDS", help_heading = "Output", value_parser = clap::value_parser!(u32).range(1..))]
    pub rotate_interval: Option<u32>,
    /// Rotated log files to keep, compressed
    #[arg(long, value_name = "N", default_value_t = 7, help_heading = "Output")]
    pub rotate_keep: u16,
    /// Print the ledger at the end: where every packet and every byte went
    #[arg(long, help_heading = "Output")]
    pub stats: bool,
    /// Print nothing on standard error but errors
    #[arg(short = 'q', long, help_heading = "Output")]
    pub quiet: bool,

    /// Address for Prometheus to scrape: PORT (on loopback) or ADDRESS:PORT [default with -i: 9464]
    #[arg(long, value_name = "ADDR", value_parser = listen, help_heading = "Metrics")]
    pub metrics_addr: Option<SocketAddr>,
    /// Serve no metrics with -i
    #[arg(long, help_heading = "Metrics", conflicts_with = "metrics_addr")]
    pub no_metrics: bool,
    /// File to write the metrics to at the end, in the text format
    #[arg(long, value_name = "FILE", help_heading = "Metrics")]
    pub metrics_file: Option<PathBuf>,
    /// Label metrics with the server's host, for at most so many hosts; the others are _OTHER
    #[arg(long, value_name = "N", help_heading = "Metrics", value_parser = clap::value_parser!(u16).range(1..))]
    pub metrics_host_label: Option<u16>,

    /// Sandboxes to parse in, each with a thread [default: as many as there are cores, live one less; one for files below
    /// 32 MiB, so that their lines come in order]
    #[arg(long, value_name = "N", help_heading = "Sandbox", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Slots of 256 KiB that may wait for each sandbox [default: 8; live 256 shared among the sandboxes, at least 32 each]
    #[arg(long, value_name = "N", help_heading = "Sandbox", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub queue: Option<u16>,
    /// Parser module to use instead of the built-in one; SIGHUP loads it anew
    #[arg(long, value_name = "FILE.wasm", help_heading = "Sandbox")]
    pub guest: Option<PathBuf>,
    /// Second parser module, run on a sample of connections and compared; nothing of it is printed
    #[arg(long, value_name = "FILE.wasm", help_heading = "Sandbox")]
    pub shadow: Option<PathBuf>,
    /// One connection in so many is the sample
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Sandbox", value_parser = clap::value_parser!(u64).range(1..))]
    pub shadow_sample: u64,
    /// Directory that keeps events on which the parser failed, for `picotap replay`
    #[arg(long, value_name = "DIR", help_heading = "Sandbox")]
    pub quarantine_dir: Option<PathBuf>,
    /// Faults in a second after which a worker drops what comes for the rest of that second; 0: never
    #[arg(long, value_name = "N", default_value_t = DEFAULT_FAULT_LIMIT, help_heading = "Sandbox")]
    pub fault_limit: u32,
    /// Milliseconds in a second that a worker's faults may take; beyond that it drops the rest of the slot, and
    /// live what comes for the rest of that second
    #[arg(long, value_name = "MS", default_value_t = DEFAULT_FAULT_MS, help_heading = "Sandbox", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub fault_time: u32,
    /// Memory for connections and held payload, in MiB
    #[arg(long, value_name = "MIB", default_value_t = DEFAULT_MEMORY_MIB, help_heading = "Sandbox", value_parser = clap::value_parser!(u32).range(4..=1_048_576))]
    pub memory_limit: u32,

    /// User to become once everything is open, from root [default as root with -i: picotap, else nobody]
    #[arg(long, value_name = "USER", help_heading = "Daemon")]
    pub user: Option<String>,
    /// Read options from this file (TOML); the command line goes before it
    #[arg(long, value_name = "FILE", help_heading = "Daemon")]
    pub config: Option<PathBuf>,
}

/// `PORT` or `ADDRESS:PORT`.
fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.parse().map_err(|_| format!("needed a port or ADDRESS:PORT (such as 9464 or 127.0.0.1:9464), got {text:?}"))
}

/// The name of a header: what else is asked for would never be found, and the secret be shown.
fn header_name(text: &str) -> Result<String, String> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match !text.is_empty() && text.bytes().all(is_letter) {
        true => Ok(text.to_owned()),
        false => Err(format!("needed the name of a header (such as X-Session-Key), got {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, FromArgMatches};

    use crate::config;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn filter_words_follow_the_options() {
        let cli = Cli::parse_from(["picotap", "-r", "x.pcap", "--stats", "tcp", "port", "80"]);
        assert_eq!(cli.watch.filter_expression.join(" "), "tcp port 80");
    }

    #[test]
    fn a_bare_port_listens_on_loopback() {
        assert_eq!(listen("9464"), Ok(SocketAddr::from(([127, 0, 0, 1], 9464))));
        assert!(listen("eth0").is_err());
    }

    #[test]
    fn a_switch_that_is_off_conflicts_with_nothing() {
        let words = |words: &[&str]| {
            use std::io::Write;
            let mut written = tempfile::NamedTempFile::new().expect("a file");
            written.write_all(b"metrics-addr = '1'").expect("written");
            let path = written.path().display().to_string();
            let all = ["picotap", "-i", "lo", "--config", &path].into_iter().chain(words.iter().copied());
            let matches = config::matches(&Cli::command(), all.map(std::ffi::OsString::from))?;
            Ok::<_, config::ConfigError>(Cli::from_arg_matches(&matches)?.watch)
        };
        let off = words(&["--no-metrics=false"]).expect("nothing against it");
        assert!(!off.no_metrics && off.metrics_addr.is_some());
        let on = words(&["--no-metrics"]).expect("it drives the address out");
        assert!(on.no_metrics && on.metrics_addr.is_none());
        words(&["--no-metrics=false", "--metrics-addr", "2"]).expect("nothing against it");
        assert!(words(&["--no-metrics", "--metrics-addr", "2"]).is_err());
    }

    #[test]
    fn a_header_to_hide_must_be_one() {
        assert!(header_name("X-Session_Key.1").is_ok());
        for text in ["", "content type", "cookie:", "a\nb", "\u{e9}"] {
            assert!(header_name(text).is_err(), "{text}");
        }
    }
}
