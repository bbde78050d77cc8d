//! What is wrong with the arguments.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::cli::TcpdumpError;
use crate::export::FormatName;
use crate::pipeline::GuestsError;

/// Why there is no plan, or why it cannot be carried out.
#[derive(Debug, Error)]
pub enum PlanError {
    /// No input.
    #[error("nothing to watch: needed a capture FILE (or --pcap FILE), or -i IFACE (-D lists them)")]
    NoInput,
    /// No input to show.
    #[error("top: nothing to show: needed -i IFACE or a capture FILE, such as: picotap top -i {0}")]
    NothingToShow(String),
    /// Options of a log that there is not.
    #[error(
        "top: {0} is about logged lines, and none are logged without --output FILE (the key / filters what is shown)"
    )]
    NoLines(&'static str),
    /// Lines would be printed into what is shown.
    #[error("top: --output {0} is a terminal, and lines would tear the screen: needed a file")]
    LinesOnTerminal(PathBuf),
    /// A page without an endpoint.
    #[error("nothing is served: --page needs --metrics-addr or -i")]
    NoEndpoint,
    /// Processes of what is over.
    #[error("--processes looks at what runs now: needed -i IFACE in the place of a capture FILE")]
    NoProcesses,
    /// A format without lines about TLS connections.
    #[error("--tls has no lines in format {0}: needed --format json, text, ecs, zeek, csv or tsv")]
    NoTlsFormat(FormatName),
    /// A filter that is not about TLS connections.
    #[error(
        "--tls logs connections, which have no {0}: needed --filter with their fields, such as host, client, server or tls.version"
    )]
    NoTlsFilter(String),
    /// An order of what has no end.
    #[error(
        "--sort and --top write at the end of files: needed a capture FILE in the place of -i (live, picotap top shows the same)"
    )]
    NoEnd,
    /// A limit of what is not arranged.
    #[error("--limit is about --sort and --top: needed one of them (-c N stops after N packets)")]
    NoArrangement,
    /// A table of the wrong kind.
    #[error("--top writes a table of transactions for people: leave {0} out")]
    TopAlone(&'static str),
    /// Columns of what is no table.
    #[error("--fields are the columns of a table: needed --format csv or tsv, or none")]
    NoTable,
    /// A column that these lines do not have.
    #[error("{0}: {1} is a field of {2}")]
    NoColumn(&'static str, String, &'static str),
    /// A filter that is about TLS connections only.
    #[error("--filter {0} is about the lines of --tls: needed --tls, or a field of transactions")]
    NoTransactionFilter(String),
    /// A filter by a header that is not kept, or its column.
    #[error("{field}: headers are kept only where they are asked for: needed --header {name} too")]
    NoHeader {
        /// The field.
        field: String,
        /// Name of the header.
        name: String,
    },
    /// Packets and lines in one stream.
    #[error("-w -: standard output has the lines: needed --output FILE for them, or a FILE behind -w")]
    PacketsAmongLines,
    /// The same in a file.
    #[error("-w {}: --output writes the lines there: needed another FILE behind -w", .0.display())]
    PacketsInLog(PathBuf),
    /// Packets in a file that would not be what its name says.
    #[error("-w {}: packets are not compressed: needed a FILE that ends in .pcapng or .pcap", .0.display())]
    PacketsCompressed(PathBuf),
    /// Secrets where there is no place for them.
    #[error("--write-secrets: pcap has no place for secrets: needed -w {}", .0.with_extension("pcapng").display())]
    SecretsInPcap(PathBuf),
    /// Bodies that nothing shows.
    #[error(
        "--capture-bodies: {0} have no bodies: needed --format json, ecs or har, --fields with request_body or response_body, or --report FILE"
    )]
    NoBodies(String),
    /// A filter by a body that is not kept, or its column.
    #[error("{0}: bodies are kept only where they are asked for: needed --capture-bodies too")]
    NoBody(String),
    /// Secrets are to be saved, and there are no probes.
    #[error("--save-keylog saves what probes see: needed --tls-probes auto, pid:N or a path")]
    NoProbesToSave,
    /// Probes beside files.
    #[error("--tls-probes reads the secrets of processes that run now: needed -i IFACE")]
    NoProbesOfFiles,
    /// Rotation without a file.
    #[error("only a file can be rotated: --rotate-size and --rotate-interval need --output FILE")]
    NoLogFile,
    /// A capture filter that is none.
    #[error("capture filter {expression:?}: {message}: see pcap-filter(7){hint}")]
    CaptureFilter {
        /// As it was given.
        expression: String,
        /// libpcap's message.
        message: String,
        /// What may have been meant.
        hint: String,
    },
    /// An option of tcpdump that picotap cannot follow.
    #[error("{0}")]
    Tcpdump(#[from] TcpdumpError),
    /// Parser modules that cannot be used together.
    #[error("{0}")]
    Guests(#[from] GuestsError),
    /// A parser module cannot be read.
    #[error("{path}: cannot be read: {cause}")]
    Module {
        /// Its file.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
}
