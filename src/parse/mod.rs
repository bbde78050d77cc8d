//! The `parse` command passes raw HTTP requests into a sandbox in one of five ways and prints the result.
//!
//! | way | how the request gets in | how the result gets out |
//! |---|---|---|
//! | `argv` | arguments of a program | structures in its memory, at an address that it returns; and its standard output |
//! | `memory` | the host writes into the guest's memory | the host reads the guest's memory |
//! | `externref` | the guest reads bytes from a host object through a reference | as above |
//! | `host-memory` | a host memory that the guest reads through a bridge | another such memory |
//! | `host-memory-import` | a host memory that is the guest's own | the same memory |
//!
//! `argv` also runs under WasmEdge. All of them contain the same C code and give the same replies, byte for byte.

mod argv;
mod bench;
mod engine;
mod externref;
mod host_memory;
mod layout;
mod memory;
mod native;
pub mod reply;
mod wasi;
mod wasmedge;

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use clap::ValueEnum;

use reply::Replies;

/// Longest request accepted, body included, in bytes.
pub const REQUEST_BYTES: usize = 1 << 20;
/// Most requests per call.
const BATCH_REQUESTS: usize = 1024;
/// Most bytes per call.
const BATCH_BYTES: usize = REQUEST_BYTES;

/// What is parsed when no request is given: two small requests, and that of picohttpparser's own benchmark (bench.c).
/// `guest/ways/argv.c` has the same three.
pub const BUILT_IN: [&[u8]; 3] = [
    b"GET /api/v1/bpf HTTP/1.1\r\nHost: tricorder.dev\r\nAccept: */*\r\n\r\n",
    b"PUT /api/v2/wasm HTTP/1.1\r\nHost: tricorder.dev\r\nContent-Type: application/wasm\r\nContent-Length: 0\r\n\r\n",
    b"GET /wp-content/uploads/2010/03/hello-kitty-darth-vader-pink.jpg HTTP/1.1\r\n\
    Host: www.kittyhell.com\r\n\
    User-Agent: Mozilla/5.0 (Macintosh; U; Intel Mac OS X 10.6; ja-JP-mac; rv:1.9.2.3) Gecko/20100401 Firefox/3.6.3 \
    Pathtraq/0.9\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: ja,en-us;q=0.7,en;q=0.3\r\n\
    Accept-Encoding: gzip,deflate\r\n\
    Accept-Charset: Shift_JIS,utf-8;q=0.7,*;q=0.7\r\n\
    Keep-Alive: 115\r\n\
    Connection: keep-alive\r\n\
    Cookie: wp_ozh_wsa_visits=2; wp_ozh_wsa_visit_lasttime=xxxxxxxxxx; \
    __utma=xxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.x; \
    __utmz=xxxxxxxxx.xxxxxxxxxx.x.x.utmccn=(referral)|utmcsr=reader.livedoor.com|utmcct=/reader/|utmcmd=referral\r\n\
    \r\n",
];

/// A way into the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Via {
    /// Arguments of a program that prints what it parsed
    Argv,
    /// The guest's own memory, as the daemon does
    #[default]
    Memory,
    /// A reference to a host object, from which the guest reads the bytes
    Externref,
    /// Two memories created by the host, reached through a bridge module
    HostMemory,
    /// A memory created by the host, imported as the guest's own
    HostMemoryImport,
}

/// The WebAssembly runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Runtime {
    /// Built in
    #[default]
    Wasmtime,
    /// libwasmedge, if installed; implies --via argv and excludes the other ways
    Wasmedge,
}

/// Parse HTTP requests from arguments, files or standard input inside a sandbox
///
/// Exit codes: 0 all requests parsed; 1 some did not; 2 wrong usage.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// How requests are passed into the sandbox [default: memory]
    #[arg(long, value_enum)]
    pub via: Option<Via>,
    /// WebAssembly runtime
    #[arg(long, value_enum, default_value_t)]
    pub runtime: Runtime,
    /// Print one JSON object per request
    #[arg(long)]
    pub json: bool,
    /// Read a request from FILE (- for standard input); may be repeated
    #[arg(long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Benchmark all ways on the requests, and native picohttpparser and httparse for comparison
    #[arg(long, conflicts_with_all = ["via", "runtime", "json"])]
    pub bench: bool,
    /// Write the program of the argv way to FILE, to run it under other runtimes, and exit
    #[arg(long, value_name = "FILE", conflicts_with_all = ["via", "runtime", "json", "bench", "files", "requests"])]
    pub save_program: Option<PathBuf>,
    /// Requests, each as one argument (- for standard input) [default: three built-in requests]
    #[arg(value_name = "REQUEST")]
    pub requests: Vec<OsString>,
}

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The argv way cannot pass a request that contains NUL.
    #[error("request {}: NUL byte at offset {at}: arguments end at NUL, so use another way than --via argv", .index + 1)]
    Nul {
        /// Index of the request, from 0.
        index: usize,
        /// Offset of the NUL.
        at: usize,
    },
    /// A request is too long.
    #[error("request {}: too long: at least {len} bytes, and the limit is {REQUEST_BYTES}", .index + 1)]
    TooLong {
        /// Index of the request, from 0.
        index: usize,
        /// Bytes read; the request may be longer.
        len: u64,
    },
    /// `--runtime wasmedge` with another way.
    #[error("--runtime wasmedge supports only --via argv: its C API lacks what the other ways need")]
    Runtime,
    /// A request could not be read.
    #[error("{}: cannot be read: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The program could not be saved.
    #[error("{}: cannot be written: {error}", .path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The reply could not be written.
    #[error("standard output: {0}")]
    Write(#[from] io::Error),
    /// The thread for the deadline could not be started.
    #[error("the thread for the deadline cannot be started: {0}")]
    Clock(io::Error),
    /// The engine refused a module, or a guest trapped or exceeded its deadline.
    #[error("sandbox: {0}")]
    Engine(String),
    /// libwasmedge cannot be used.
    #[error("libwasmedge cannot be used: {0}; on Debian 13: apt-get install libwasmedge0")]
    NoWasmEdge(String),
    /// WasmEdge refused the program, or the program failed under it.
    #[error("wasmedge: {0}")]
    WasmEdge(String),
    /// The program exited with a failure.
    #[error("pico.wasm: exit code {code}: {message}")]
    Program {
        /// Exit code.
        code: u32,
        /// What it wrote to standard error, escaped.
        message: String,
    },
    /// A function of the guest returned an error.
    #[error("guest: {what} returned error {code}")]
    Refused {
        /// The function.
        what: &'static str,
        /// Its error code.
        code: u32,
    },
    /// A module lacks an export.
    #[error("guest: export {0} is missing")]
    Export(&'static str),
    /// The requests of one call do not fit into the input buffer.
    #[error("input buffer of {had} bytes: {needed} needed")]
    Room {
        /// Bytes needed.
        needed: usize,
        /// Bytes available.
        had: usize,
    },
    /// A value of the guest's reply is invalid.
    #[error("guest: invalid {field}: {value}")]
    Invalid {
        /// The field of the reply.
        field: Field,
        /// Its value.
        value: u64,
    },
    /// What the program printed differs from its results.
    #[error("pico.wasm: the printed lines differ from the results")]
    Printed,
}

/// The fields of a guest's reply that are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the text of each stands in its Display")]
pub enum Field {
    Address,
    Events,
    Kind,
    Order,
    Pairs,
    Records,
    Short,
    Size,
    Text,
    Verdict,
    Version,
}

impl Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Address => "buffer address",
            Self::Events => "number of events done",
            Self::Kind => "record kind",
            Self::Order => "event index of a record",
            Self::Pairs => "number of headers",
            Self::Records => "number of records",
            Self::Short => "reply size",
            Self::Size => "result size",
            Self::Text => "text offset",
            Self::Verdict => "verdict",
            Self::Version => "reply version",
        })
    }
}

impl Error {
    fn invalid(field: Field, value: impl TryInto<u64>) -> Self {
        Self::Invalid { field, value: value.try_into().unwrap_or(u64::MAX) }
    }

    /// The whole chain of causes, in one line.
    fn engine(error: impl Into<wasmtime::Error>) -> Self {
        Self::Engine(format!("{:#}", error.into()).replace('\n', " "))
    }

    /// Exit code: 2 for what the user can correct, else 1.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Nul { .. }
            | Self::TooLong { .. }
            | Self::Runtime
            | Self::Read { .. }
            | Self::Save { .. }
            | Self::NoWasmEdge(_) => 2,
            _ => 1,
        }
    }
}

/// A way into a sandbox, ready for use.
trait Way {
    /// Parses `requests` (at most a batch) and appends their replies. Returns how many of the requests, from the first, have
    /// a reply: at least one, unless there are none.
    fn parse(&mut self, requests: &[&[u8]], replies: &mut Replies) -> Result<usize, Error>;

    /// What the guest printed in the last call; `None` for a way whose guest does not print.
    fn printed(&self) -> Option<&[u8]> {
        None
    }
}

/// Compiles and instantiates the modules of a way.
fn open(via: Via, runtime: Runtime) -> Result<Box<dyn Way>, Error> {
    Ok(match (runtime, via) {
        (Runtime::Wasmedge, Via::Argv) => Box::new(wasmedge::WasmEdge::new()?),
        (Runtime::Wasmedge, _) => return Err(Error::Runtime),
        (Runtime::Wasmtime, Via::Argv) => Box::new(argv::Argv::new()?),
        (Runtime::Wasmtime, Via::Memory) => Box::new(memory::Memory::new()?),
        (Runtime::Wasmtime, Via::Externref) => Box::new(externref::Reference::new()?),
        (Runtime::Wasmtime, Via::HostMemory) => Box::new(host_memory::HostMemory::new()?),
        (Runtime::Wasmtime, Via::HostMemoryImport) => Box::new(memory::Memory::imported()?),
    })
}

/// The requests of the next call: as many, from the first, as fit into a batch.
fn batch<'a, 'b>(requests: &'a [&'b [u8]]) -> &'a [&'b [u8]] {
    let mut bytes = 0;
    let fits = |request: &&&[u8]| {
        bytes += request.len();
        bytes <= BATCH_BYTES
    };
    let count = requests.iter().take(BATCH_REQUESTS).take_while(fits).count();
    debug_assert!(count > 0 || requests.is_empty(), "a request is longer than a batch");
    requests.get(..count.max(1)).unwrap_or(requests)
}

/// Parses any number of requests. Returns the replies, in order, and what the guest printed, if it prints.
///
/// # Errors
/// A request is too long or cannot be passed this way, the guest fails, or the runtime is not installed.
pub fn parse(via: Via, runtime: Runtime, requests: &[&[u8]]) -> Result<(Replies, Option<Vec<u8>>), Error> {
    if let Some((index, request)) = requests.iter().enumerate().find(|(_, request)| request.len() > REQUEST_BYTES) {
        return Err(Error::TooLong { index, len: request.len() as u64 });
    }
    let mut way = open(via, runtime)?;
    let mut replies = Replies::default();
    let mut printed: Option<Vec<u8>> = None;
    let mut rest = requests;
    while !rest.is_empty() {
        let first = requests.len() - rest.len();
        let done = way.parse(batch(rest), &mut replies).map_err(|error| match error {
            Error::Nul { index, at } => Error::Nul { index: index + first, at },
            other => other,
        })?;
        if let Some(lines) = way.printed() {
            let all = printed.get_or_insert_default();
            if !all.is_empty() {
                all.push(b'\n');
            }
            all.extend_from_slice(lines);
        }
        debug_assert!((1..=rest.len()).contains(&done), "{done} of {} requests", rest.len());
        rest = rest.get(done.max(1)..).unwrap_or_default();
    }
    Ok((replies, printed))
}

/// Runs the command. Returns the exit code.
///
/// # Errors
/// See [`Error`]; [`Error::exit_code`] is the exit code for it.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<u8, Error> {
    if let Some(path) = &args.save_program {
        let saved = fs::write(path, argv::PROGRAM);
        return saved.map(|()| 0).map_err(|error| Error::Save { path: path.clone(), error });
    }
    let via = match (args.runtime, args.via) {
        (Runtime::Wasmedge, None) => Via::Argv,
        (_, via) => via.unwrap_or_default(),
    };
    if args.runtime == Runtime::Wasmedge && via != Via::Argv {
        return Err(Error::Runtime);
    }
    let owned = gather(args)?;
    let requests: Vec<&[u8]> =
        if owned.is_empty() { BUILT_IN.to_vec() } else { owned.iter().map(Vec::as_slice).collect() };
    if args.bench {
        bench::run(&requests, out)?;
        return Ok(0);
    }
    let (replies, printed) = parse(via, args.runtime, &requests)?;
    if args.json {
        replies.write_json(&requests, out)?;
    } else {
        let mut lines = Vec::new();
        replies.write_text(&requests, &mut lines)?;
        if printed.is_some_and(|printed| printed != lines) {
            return Err(Error::Printed);
        }
        out.write_all(&lines)?;
    }
    out.flush()?;
    Ok(u8::from(!replies.all_parsed()))
}

/// The requests of the command line: arguments first, then files.
fn gather(args: &Args) -> Result<Vec<Vec<u8>>, Error> {
    let mut requests = Vec::new();
    for request in &args.requests {
        if request == "-" {
            requests.push(read(PathBuf::from("-"), requests.len())?);
        } else {
            requests.push(request.clone().into_vec());
        }
    }
    for file in &args.files {
        requests.push(read(file.clone(), requests.len())?);
    }
    Ok(requests)
}

/// Reads a file or standard input, at most one byte more than the limit.
fn read(path: PathBuf, index: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let limit = REQUEST_BYTES as u64 + 1;
    let done = if path.as_os_str() == "-" {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(&path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    match done {
        Err(error) => Err(Error::Read { path, error }),
        Ok(len) if len > REQUEST_BYTES => Err(Error::TooLong { index, len: len as u64 }),
        Ok(_) => Ok(bytes),
    }
}
