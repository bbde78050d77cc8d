//! The command line as a structure. The help, the man pages and the completions are made from it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::export::FormatName;
use crate::export::columns::Columns;
use crate::export::sorted::Order;
use crate::http::filter::Filter;
use crate::http::filter::field::Field;
use crate::http::media_type::MediaTypes;
use crate::http::network::Network;
use crate::http::route::Route;
use crate::pipeline::{DEFAULT_FAULT_LIMIT, GuestFile, Shard};
use crate::probe::Scope;
use crate::source::live::{DEFAULT_BUFFER_KIB, Direction, MAX_SNAPLEN};
use crate::tls::NameFilter;
use crate::view::ranked::By;

mod pointed;
mod tcpdump;
mod units;
mod values;
mod words;

pub use tcpdump::{Tcpdump, TcpdumpError};
pub use words::WordsError;

/// The end of the help.
const AFTER: &str = "\
Examples:
  picotap capture.pcap                        print one line per transaction in a file
  picotap capture.pcap 'tcp port 80'          the same for the packets that a capture filter chooses
  picotap -r /captures -r '/more/*.pcap*'     all captures there, in the order of capture
  zcat big.pcap.gz | picotap - --format zeek -o http.log
  picotap -i eth0 -o /var/log/picotap/http.json --metrics-addr 127.0.0.1:9464 'tcp port 80'
  picotap top -i eth0                         show the traffic on an interface in the terminal
  picotap -r day1.pcap -r day2.pcapng --errors --header content-type 'host 10.0.0.7'

tcpdump's -n, -l, -U, -t and -v are taken and change nothing: no names are looked up, and lines are written as they come.

--SWITCH=false turns off a switch that the configuration file turns on.

Exit codes: 0 success; 1 an input was damaged or something failed (everything that could be read was written);
2 wrong usage; 130 or 143 SIGINT or SIGTERM came before the end of a capture file (what was read was written). With -i
these signals are the way to stop, and the code is 0.";

/// Logs and measures HTTP/1, HTTP/2 and gRPC, and parses every byte of it inside a WebAssembly sandbox.
///
/// Reads capture files or captures from network interfaces, writes one line per request and response, and exports metrics
/// for Prometheus.
#[derive(Debug, Parser)]
#[command(name = "picotap", version, after_help = AFTER, args_conflicts_with_subcommands = true, max_term_width = 120)]
pub struct Cli {
    /// A command other than watching traffic.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options for watching traffic.
    #[command(flatten)]
    pub watch: Watch,
}

/// The commands beside watching traffic.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Parse HTTP requests from arguments, files or standard input inside a sandbox
    ///
    /// Exit codes: 0 all requests parsed; 1 some did not; 2 wrong usage.
    #[cfg(feature = "parse")]
    Parse(crate::parse::Args),
    /// Show traffic in the terminal: routes, hosts, who talks to whom, the slowest and the last transactions, capture health
    ///
    /// Reads or captures as picotap does without a command, and takes the same options. Lines are logged only with --output.
    /// The result of a file stays on the screen. Keys: ? lists them, q leaves.
    ///
    /// Exit codes: 0 left; 1 an input was damaged or something failed; 2 wrong usage, or no terminal; 130 or 143 SIGINT or
    /// SIGTERM came before the end of a capture file.
    Top(Box<Top>),
    /// Run a quarantined event through the parser again and print the outcome
    Replay(Replay),
    /// Print the completions for a shell
    ///
    /// For example: picotap completions bash > ~/.local/share/bash-completion/completions/picotap
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, of picotap or of one of its commands
    ///
    /// For example: picotap man | man -l -
    Man {
        /// The command [default: picotap itself]
        #[arg(value_parser = command_name)]
        command: Option<String>,
    },
    /// Say what --tls-probes can do on this machine
    Probes {
        /// The action.
        #[command(subcommand)]
        command: ProbesCommand,
    },
    /// Check a configuration file
    Config {
        /// The action.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Inspect a parser module
    Guest {
        /// The action.
        #[command(subcommand)]
        command: GuestCommand,
    },
}

/// Actions on probes.
#[derive(Debug, Subcommand)]
pub enum ProbesCommand {
    /// Say whether the kernel takes probes, what would be probed, and which TLS of running processes cannot be read
    ///
    /// Exit codes: 0 something can be probed; 1 nothing can; 2 wrong usage.
    Check {
        /// What to look at, as of --tls-probes: auto, pid:N or a path
        #[arg(default_value = "auto")]
        scope: Scope,
    },
}

/// Actions on a configuration file.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check every line of a configuration file
    Check {
        /// Configuration file (TOML)
        file: PathBuf,
    },
}

/// Actions on a parser module.
#[derive(Debug, Subcommand)]
pub enum GuestCommand {
    /// Print the hash, protocol, versions, exports and memory limits of a module, and run the self-test on it
    Inspect {
        /// Parser module (.wasm) [default: the built-in one]
        file: Option<PathBuf>,
    },
}

/// Arguments of `picotap top`.
#[derive(Debug, Args)]
pub struct Top {
    /// Options for watching traffic.
    #[command(flatten)]
    pub watch: Watch,
}

/// Arguments of `picotap replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// File from the quarantine directory
    pub file: PathBuf,
    /// Parser module to use instead of the built-in one; required if there is none for the protocol of the event
    #[arg(long, value_name = "[PROTOCOL=]FILE.wasm", value_parser = guest_file(), value_hint = ValueHint::FilePath)]
    pub guest: Option<GuestFile>,
}

/// What becomes of a connection that is seen elsewhere already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Duplicates {
    /// It is left out
    Drop,
    /// It is logged as a connection of its own
    Keep,
}

/// Which headers are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum AllHeaders {
    /// All
    All,
}

/// When texts for people are in colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Options for watching traffic.
#[derive(Debug, Clone, Args)]
pub struct Watch {
    /// Read packets from FILE (pcap or pcapng; plain, gzip or zstd; - for standard input), from all captures in a directory, or
    /// from those that match a pattern in quotes ('*.pcap*'); may be repeated. Files are read in the order given, with a
    /// directory or a pattern in the order of capture
    #[arg(short = 'r', long = "pcap", value_name = "FILE", help_heading = "Input", conflicts_with = "interface")]
    pub pcap: Vec<PathBuf>,
    /// Capture from an interface, given by name or number, or "any" for all; may be repeated
    #[arg(short = 'i', long, value_name = "IFACE", help_heading = "Input")]
    pub interface: Vec<String>,
    /// Connections that are seen again on another interface, in a tunnel, or with other addresses [default: drop with "any" or
    /// several interfaces, otherwise keep]
    #[arg(long, value_name = "WHAT", help_heading = "Input")]
    pub duplicates: Option<Duplicates>,
    /// Take only shard K of N: of all connections, those whose addresses and ports fall to it by a hash that is the same in
    /// every run and on every machine. The lines of the shards 1/N to N/N together are those of a run without this option
    #[arg(long, value_name = "K/N", help_heading = "Input")]
    pub shard: Option<Shard>,
    /// List the available interfaces and exit
    #[arg(short = 'D', long, help_heading = "Input")]
    pub list_interfaces: bool,
    /// Stop after N packets
    #[arg(short = 'c', long, value_name = "N", help_heading = "Input", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Do not put interfaces into promiscuous mode
    #[arg(short = 'p', long, help_heading = "Input")]
    pub no_promiscuous_mode: bool,
    /// Capture at most SIZE of each packet, in bytes or as 4k; 0 means the default
    #[arg(short = 's', long, value_name = "SIZE", default_value_t = MAX_SNAPLEN, help_heading = "Input", value_parser = values::snapshot_length)]
    pub snapshot_length: u32,
    /// Size of the kernel's capture buffer per interface and capture thread, in KiB or as 64M
    #[arg(short = 'B', long, value_name = "SIZE", default_value_t = DEFAULT_BUFFER_KIB, help_heading = "Input", value_parser = values::buffer_size)]
    pub buffer_size: u32,
    /// Capture only packets in this direction: in, out or inout [default: inout; in on loopback]
    #[arg(short = 'Q', long, value_name = "DIRECTION", help_heading = "Input")]
    pub direction: Option<Direction>,
    /// Capture threads per interface; the kernel distributes connections among them
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Input", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub fanout: u16,
    /// Decrypt TLS with the secrets in FILE, a key log as browsers and curl write it (SSLKEYLOGFILE); may be repeated. Live, it is
    /// a file that grows or a named pipe. Secrets in a pcapng file are used without it
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub keylog: Vec<PathBuf>,
    /// Decrypt TLS with the secrets of the processes that run here, by eBPF probes in their TLS libraries (OpenSSL 3, Go): auto for all
    /// that run now or later; pid:N or the path of a library or program for one; off. Needs root, or the capabilities that
    /// deploy/OPERATORS.md lists. Off unless it is asked for: whoever reads the log reads what others sent encrypted
    #[arg(long, value_name = "auto|pid:N|PATH|off", help_heading = "Input")]
    pub tls_probes: Option<Scope>,
    /// Add the secrets that captured connections use to FILE, a key log that Wireshark reads with a capture of the same time. It opens
    /// these connections for whoever has it: it is made for its owner only (mode 0600), or must be so if it is there
    #[arg(long, value_name = "FILE", requires = "tls_probes", help_heading = "Input", value_hint = ValueHint::FilePath)]
    pub save_keylog: Option<PathBuf>,
    /// Decrypt only the TLS connections to servers with a name that matches: PATTERN[,PATTERN...], or none of them with ! in front,
    /// such as '*.example.com' or '!*.bank.example'; may be repeated, all must match
    #[arg(long, value_name = "PATTERN", help_heading = "Input")]
    pub tls_filter: Vec<NameFilter>,
    /// Skip packets with a wrong IPv4 or TCP checksum
    #[arg(long, help_heading = "Input")]
    pub verify_checksums: bool,
    /// Without -r and -i: capture files, as with -r, and then a capture filter. With them: a capture filter, see
    /// pcap-filter(7); it also applies to files. What may be either, a file's name or a word of a filter, is a file if it is the first
    /// word; a later one only if it has . or / in it
    #[arg(value_name = "FILE|FILTER", help_heading = "Input", value_hint = ValueHint::AnyPath)]
    pub filter_expression: Vec<String>,

    /// Output format: json, text, ecs, zeek, clf, vhost (clf with host and duration), otlp, csv, tsv or har (an HTTP Archive) [default: text on a terminal, json otherwise]
    #[arg(long, value_name = "FORMAT", help_heading = "Output")]
    pub format: Option<FormatName>,
    /// Columns of --format csv (meant where there is none) and tsv: keys of the json format, separated by commas, such as
    /// ts,client,host,status,duration_us [default: the usual ones]
    #[arg(long, value_name = "FIELDS", help_heading = "Output")]
    pub fields: Option<Columns>,
    /// Colour the text format and the summary: auto, always or never; auto means on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_possible_values = true, help_heading = "Output")]
    pub color: When,
    /// Append lines to FILE, compressed if its name ends in .zst or .gz; or write them to syslog: (RFC 5424, to /dev/log or
    /// syslog:PATH) or to a Unix socket, unix:PATH; - is standard output [default: -]
    #[arg(short = 'o', long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Write the packets of the connections with logged lines to FILE, too: all that the lines were read from. It is pcapng if its name ends
    /// in .pcapng, otherwise pcap; - is standard output, and needs --output. A capture that is there is replaced
    #[arg(short = 'w', long, value_name = "FILE", help_heading = "Output")]
    pub write: Option<PathBuf>,
    /// Hold at most SIZE of packets until it is known whether they are to be written, in MiB or as 64M. What does not fit is counted
    #[arg(long, value_name = "SIZE", default_value = "64M", help_heading = "Output", value_parser = values::write_buffer)]
    pub write_buffer: u64,
    /// Also write the secrets with which TLS connections were decrypted, so that whoever has the file can read them; needs pcapng
    #[arg(long, help_heading = "Output", requires = "write")]
    pub write_secrets: bool,
    /// Also log this request and response header (json and ecs formats); may be repeated
    #[arg(long, value_name = "NAME", help_heading = "Output", value_parser = values::header_name)]
    pub header: Vec<String>,
    /// Log all request and response headers (json, ecs and har formats), at most 128 of a transaction: NAMES is all
    #[arg(long, value_name = "NAMES", help_heading = "Output")]
    pub headers: Option<AllHeaders>,
    /// Log the front of request and response bodies, at most SIZE of each, in bytes or as 16k (at most 64k): decompressed, without
    /// secrets, as request_body and response_body (json, ecs and har formats, --fields, and what people are shown)
    #[arg(long, value_name = "SIZE", help_heading = "Output", num_args = 0..=1, require_equals = true, default_missing_value = "4k", value_parser = values::body_size)]
    pub capture_bodies: Option<u32>,
    /// Of which types --capture-bodies logs bodies: TYPE/SUBTYPE, TYPE/*, */* or a suffix such as +json, separated by commas [default:
    /// application/json,application/xml,application/x-www-form-urlencoded,text/*,+json,+xml]
    #[arg(long, value_name = "TYPES", help_heading = "Output", requires = "capture_bodies")]
    pub body_types: Option<MediaTypes>,
    /// Name the processes at the ends of connections that run on this host: pid, command, and container and pod from the cgroup's path.
    /// A helper process keeps CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH for it: live only
    #[arg(long, help_heading = "Output")]
    pub processes: bool,
    /// Believe these proxies when they name the client in Forwarded or X-Forwarded-For (client_forwarded): ADDRESS or a network such as
    /// 10.0.0.0/8; may be repeated
    #[arg(long, value_name = "ADDRESS", help_heading = "Output", value_parser = values::proxy)]
    pub trusted_proxy: Vec<Network>,
    /// Name of this sensor: logged with each transaction (json and ecs formats), and part of the identifiers of connections
    #[arg(long, value_name = "NAME", help_heading = "Output", value_parser = values::sensor_name)]
    pub sensor: Option<String>,
    /// Omit the Community ID
    #[arg(long, help_heading = "Output")]
    pub no_community_id: bool,
    /// Log TLS connections instead of transactions, each at its end: who, server name, version, cipher, bytes, and whether it was
    /// decrypted or why not (json, text, ecs, zeek, csv and tsv formats). --filter takes the keys of these lines
    #[arg(long, help_heading = "Output")]
    pub tls: bool,
    /// Of files: write the lines in the order of FIELD, with - in front the greatest first, at the end. Lines without it come last. At most
    /// 256 MiB of lines are held
    #[arg(long, value_name = "[-]FIELD", help_heading = "Output", value_parser = values::order, allow_hyphen_values = true, conflicts_with = "top")]
    pub sort: Option<Order>,
    /// Of files: instead of lines write a table at the end, with a row for each value of FIELD: host, path, client, status or any
    /// other; at most 16384 values are counted in each sandbox
    #[arg(long, value_name = "FIELD", help_heading = "Output", value_parser = values::field)]
    pub top: Option<Field>,
    /// Rank the rows of --top by WHAT: count, p95 (of durations), bytes (of bodies, both ways) or failed
    #[arg(long, value_name = "WHAT", default_value = "count", help_heading = "Output", requires = "top")]
    pub by: By,
    /// Write only the first N lines of --sort, or rows of --top [default: all lines, 20 rows]
    #[arg(long, value_name = "N", help_heading = "Output", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Log only transactions for which EXPR holds: FIELD=VALUE, with = != < <= > >= : (has) ~ !~ (regular expression), joined by
    /// and, or, not and parentheses, such as "status>=500 or (host~'^api' and duration>1s)". FIELD is a key of the json format;
    /// deploy/ANALYSTS.md has them all. May be repeated, all must hold
    #[arg(long, value_name = "EXPR", help_heading = "Output", value_parser = pointed::filter)]
    pub filter: Vec<Filter>,
    /// Log only transactions that took at least TIME, in milliseconds or as 250us, 10ms or 1.5s
    #[arg(long, value_name = "TIME", help_heading = "Output", value_parser = values::slow)]
    pub slow: Option<Duration>,
    /// Log only errors: status 400 or above, a gRPC status other than OK, no response, or an incomplete message
    #[arg(long, help_heading = "Output")]
    pub errors: bool,
    /// Route of the paths that it fits, such as '/users/{id}': each {name} is one segment; may be repeated, the first that fits
    /// counts. Other paths get a route by the rule in deploy/ANALYSTS.md
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    pub route: Vec<Route>,
    /// Also redact the value of this key in queries, paths, fragments and bodies; may be repeated. deploy/ANALYSTS.md lists
    /// the keys that are always redacted
    #[arg(long, value_name = "KEY", help_heading = "Output")]
    pub redact_query: Vec<String>,
    /// Also redact the value of this header; may be repeated. deploy/ANALYSTS.md lists the headers that are always
    /// redacted
    #[arg(long, value_name = "NAME", help_heading = "Output", value_parser = values::header_name)]
    pub redact_header: Vec<String>,
    /// Do not redact credentials, cookies, tokens and signatures
    #[arg(long, help_heading = "Output")]
    pub no_redact: bool,
    /// Rotate the log file before it exceeds SIZE, in MiB or as 64M or 1GiB
    #[arg(long, value_name = "SIZE", help_heading = "Output", value_parser = values::rotate_size)]
    pub rotate_size: Option<u64>,
    /// Rotate the log file every TIME, in seconds or as 10m or 1h, counted from midnight UTC
    #[arg(long, value_name = "TIME", help_heading = "Output", value_parser = values::rotate_interval)]
    pub rotate_interval: Option<Duration>,
    /// Number of rotated log files to keep; they are compressed
    #[arg(long, value_name = "N", default_value_t = 7, help_heading = "Output")]
    pub rotate_keep: u16,
    /// Write a report to FILE at the end: a page with rates, latencies, hosts, routes and transactions, to open in a browser
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub report: Option<PathBuf>,
    /// Print the ledger at the end: what became of every packet and every payload byte
    #[arg(long, help_heading = "Output")]
    pub stats: bool,
    /// Print only errors to standard error
    #[arg(short = 'q', long, help_heading = "Output")]
    pub quiet: bool,

    /// Serve metrics for Prometheus on PORT (loopback only) or ADDRESS:PORT [default with -i: 9464]
    #[arg(long, value_name = "ADDR", value_parser = values::listen, help_heading = "Metrics")]
    pub metrics_addr: Option<SocketAddr>,
    /// Do not serve metrics and the page with -i
    #[arg(long, help_heading = "Metrics", conflicts_with = "metrics_addr")]
    pub no_metrics: bool,
    /// Serve the page with the traffic also where the address is not one of loopback: whoever can connect sees it
    #[arg(long, help_heading = "Metrics", conflicts_with_all = ["no_page", "no_metrics"])]
    pub page: bool,
    /// Serve no page: metrics and health only
    #[arg(long, help_heading = "Metrics")]
    pub no_page: bool,
    /// Also serve the page under this host name, beside localhost and addresses; may be repeated
    #[arg(long, value_name = "NAME", help_heading = "Metrics", value_parser = values::host_name)]
    pub page_host: Vec<String>,
    /// Write the metrics to FILE at the end, in Prometheus text format
    #[arg(long, value_name = "FILE", help_heading = "Metrics")]
    pub metrics_file: Option<PathBuf>,
    /// Label metrics with the server's host, for at most N hosts; the rest are _OTHER
    #[arg(long, value_name = "N", help_heading = "Metrics", value_parser = clap::value_parser!(u16).range(1..))]
    pub metrics_host_label: Option<u16>,
    /// Label metrics with the route, for at most N routes; the rest are _OTHER
    #[arg(long, value_name = "N", help_heading = "Metrics", value_parser = clap::value_parser!(u16).range(1..))]
    pub metrics_routes: Option<u16>,
    /// Label metrics with the command of the server's process, for at most N commands; the rest are _OTHER
    #[arg(long, value_name = "N", help_heading = "Metrics", requires = "processes", value_parser = clap::value_parser!(u16).range(1..))]
    pub metrics_processes: Option<u16>,

    /// Sandboxes, and threads that run them; over files the one that reads is one of them if there are no more cores [default:
    /// with -i the number of cores less one; for files the number of cores, at most 4, and 1 below 32 MiB, where more would be
    /// slower]
    #[arg(long, value_name = "N", help_heading = "Sandbox", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
    /// Slots of 256 KiB that may wait for each sandbox [default: 4; with -i 256 divided among the sandboxes, at least 32 each]
    #[arg(long, value_name = "N", help_heading = "Sandbox", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub queue: Option<u16>,
    /// Parser module for a protocol; FILE alone replaces the built-in one for http1, with which connections start. May be
    /// repeated, once for each protocol; SIGHUP reloads all. A FILE whose name contains = needs PROTOCOL= or its directory
    #[arg(long, value_name = "[PROTOCOL=]FILE.wasm", help_heading = "Sandbox", value_parser = guest_file(), value_hint = ValueHint::FilePath)]
    pub guest: Vec<GuestFile>,
    /// Second parser module for one of the protocols, to run on a sample of connections; differences are counted, none of its
    /// output is logged
    #[arg(long, value_name = "FILE.wasm", help_heading = "Sandbox")]
    pub shadow: Option<PathBuf>,
    /// Run the second parser on one connection in N
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Sandbox", value_parser = clap::value_parser!(u64).range(1..))]
    pub shadow_sample: u64,
    /// Store events on which the parser failed in DIR, for `picotap replay`
    #[arg(long, value_name = "DIR", help_heading = "Sandbox")]
    pub quarantine_dir: Option<PathBuf>,
    /// Write such events of decrypted TLS connections too: the files then hold their plaintext
    #[arg(long, requires = "quarantine_dir", help_heading = "Sandbox")]
    pub quarantine_decrypted: bool,
    /// Faults per second after which a sandbox drops its input for the rest of that second; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = DEFAULT_FAULT_LIMIT, help_heading = "Sandbox")]
    pub fault_limit: u32,
    /// Time per second that a sandbox may spend on faults, in milliseconds or as 500ms; beyond that it drops the rest of the
    /// slot, and with -i its input for the rest of that second
    #[arg(long, value_name = "TIME", default_value = "500ms", help_heading = "Sandbox", value_parser = values::fault_time)]
    pub fault_time: Duration,
    /// Memory limit for connections and their held payload, in MiB or as 512M or 1GiB
    #[arg(long, value_name = "SIZE", default_value = "256M", help_heading = "Sandbox", value_parser = values::memory_limit)]
    pub memory_limit: u64,

    /// User (name, UID or UID:GID) to switch to once everything is open; needs root [default as root with -i: picotap, or
    /// nobody if there is no such user]
    #[arg(long, value_name = "USER", help_heading = "Daemon")]
    pub user: Option<String>,
    /// Read options from FILE (TOML); options on the command line override it
    #[arg(long, value_name = "FILE", help_heading = "Daemon")]
    pub config: Option<PathBuf>,

    /// Options of tcpdump that picotap does not have.
    #[command(flatten)]
    pub tcpdump: Tcpdump,
}

/// `[PROTOCOL=]FILE`, of any bytes.
fn guest_file() -> ValueParser {
    OsStringValueParser::new().try_map(GuestFile::parse).into()
}

/// Accepts a command that there is.
fn command_name(text: &str) -> Result<String, String> {
    let command = Cli::command();
    if command.find_subcommand(text).is_some() {
        return Ok(text.to_owned());
    }
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    Err(format!("expected one of {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::values::{header_name, listen, sensor_name};
    use super::*;
    use clap::FromArgMatches;

    use crate::config;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_filter_follows_the_options() {
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
        let parsed = |arguments: &[&str]| {
            use std::io::Write;
            let mut written = tempfile::NamedTempFile::new().expect("a file");
            written.write_all(b"metrics-addr = '1'").expect("written");
            let path = written.path().display().to_string();
            let all = ["picotap", "-i", "lo", "--config", &path].into_iter().chain(arguments.iter().copied());
            let matches = config::matches(&Cli::command(), all.map(std::ffi::OsString::from))?;
            Ok::<_, config::ConfigError>(Cli::from_arg_matches(&matches)?.watch)
        };
        let off = parsed(&["--no-metrics=false"]).expect("no conflict");
        assert!(!off.no_metrics && off.metrics_addr.is_some());
        let on = parsed(&["--no-metrics"]).expect("it removes the file's address");
        assert!(on.no_metrics && on.metrics_addr.is_none());
        parsed(&["--no-metrics=false", "--metrics-addr", "2"]).expect("no conflict");
        assert!(parsed(&["--no-metrics", "--metrics-addr", "2"]).is_err());
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        use crate::pipeline::{DEFAULT_FAULT_MS, DEFAULT_MEMORY_MIB};
        let watch = Cli::parse_from(["picotap"]).watch;
        assert_eq!(watch.fault_time, Duration::from_millis(u64::from(DEFAULT_FAULT_MS)));
        assert_eq!(watch.memory_limit, u64::from(DEFAULT_MEMORY_MIB) << 20);
    }

    #[test]
    fn a_number_alone_has_the_unit_that_it_always_had() {
        let line = "-s 96 -B 100 --slow 20 --rotate-size 3 --rotate-interval 60 --fault-time 250 --memory-limit 5";
        let unit =
            "-s 96B -B 100KiB --slow 20ms --rotate-size 3MiB --rotate-interval 1m --fault-time 0.25s --memory-limit 5M";
        let shown =
            |line: &str| format!("{:?}", Cli::parse_from(std::iter::once("picotap").chain(line.split(' '))).watch);
        assert_eq!(shown(line), shown(unit));
        let refused = |line: &str| Cli::try_parse_from(std::iter::once("picotap").chain(line.split(' '))).is_err();
        for line in
            ["-s 4GiB", "-B 63k", "-B 2GiB", "--slow -1", "--slow 50d", "--rotate-size 1k", "--rotate-interval 1ms"]
        {
            assert!(refused(line), "{line}");
        }
        assert!(refused("--fault-time 0") && refused("--fault-time 1001") && refused("--memory-limit 3"));
    }

    #[test]
    fn a_sensor_has_a_name_that_can_stand_in_a_log() {
        for text in ["node-1", "Büro 2", &"x".repeat(255)] {
            assert!(sensor_name(text).is_ok(), "{text}");
        }
        for text in ["", "a\nb", "\u{85}", &"x".repeat(256)] {
            assert!(sensor_name(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_header_to_log_or_to_redact_must_be_a_header_name() {
        assert!(header_name("X-Session_Key.1").is_ok());
        for text in ["", "content type", "cookie:", "a\nb", "\u{e9}"] {
            assert!(header_name(text).is_err(), "{text}");
            for option in ["--header", "--redact-header"] {
                assert!(Cli::try_parse_from(["picotap", "-r", "x.pcap", option, text]).is_err(), "{option} {text}");
            }
        }
    }
}
