//! The `parse` command takes raw HTTP requests through one of five ways into a sandbox and prints what came out.
//!
//! | way | how the request gets in | how the result gets out |
//! |---|---|---|
//! | `argv` | arguments of a program | structures in its memory, at an address that it tells; and its print |
//! | `memory` | the host writes into the guest's memory | the host reads the guest's memory |
//! | `externref` | the guest pulls bytes out of a host object to which it has a reference | as above |
//! | `host-memory` | a host memory that the guest reads through a bridge | another such memory |
//! | `host-memory-import` | a host memory that is the guest's own | the same memory |
//!
//! `argv` also runs under WasmEdge. All of them have the same C in them, and give the same reply to the byte.

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

/// The longest request that is taken, body included.
pub const REQUEST_BYTES: usize = 1 << 20;
/// The most requests, and the most bytes, that one call gets.
const BATCH_REQUESTS: usize = 1024;
const BATCH_BYTES: usize = REQUEST_BYTES;

/// What is parsed when nothing is named: two small requests, and the one of picohttpparser's own benchmark (bench.c).
/// `guest/ways/argv.c` has the same ones.
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
    /// A reference to a host object, out of which the guest pulls the bytes
    Externref,
    /// Two memories that the host made, through a bridge
    HostMemory,
    /// A memory that the host made, as the guest's own
    HostMemoryImport,
}

/// What runs the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Runtime {
    /// Built in
    #[default]
    Wasmtime,
    /// libwasmedge, where it is installed; with --via argv (which it implies) only
    Wasmedge,
}

/// Parse raw HTTP requests inside a sandbox, by one of five ways into it
///
/// Exit code: 0 all parsed, 1 some not, 2 wrong usage.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// How the requests get into the sandbox [default: memory]
    #[arg(long, value_enum)]
    pub via: Option<Via>,
    /// What runs the guest
    #[arg(long, value_enum, default_value_t)]
    pub runtime: Runtime,
    /// Print one JSON object per request
    #[arg(long)]
    pub json: bool,
    /// Read a request from a file (may be given several times; `-` is standard input)
    #[arg(long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Measure all ways on the requests, native picohttpparser and httparse beside them
    #[arg(long, conflicts_with_all = ["via", "runtime", "json"])]
    pub bench: bool,
    /// Write the program of the argv way, for other runtimes' command lines, and do nothing else
    #[arg(long, value_name = "FILE", conflicts_with_all = ["via", "runtime", "json", "bench", "files", "requests"])]
    pub save_program: Option<PathBuf>,
    /// Requests, each a whole argument; `-` is standard input. None at all: three built-in ones
    #[arg(value_name = "REQUEST")]
    pub requests: Vec<OsString>,
}

/// Why the command could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The argv way cannot carry the request.
    #[error("request {}: a NUL byte at position {at}: an argument ends at NUL, so --via argv cannot carry it; the other ways can", .index + 1)]
    Nul {
        /// Which request, from 0.
        index: usize,
        /// Where.
        at: usize,
    },
    /// A request is too long.
    #[error("request {}: at least {len} bytes, and at most {REQUEST_BYTES} are taken", .index + 1)]
    TooLong {
        /// Which request, from 0.
        index: usize,
        /// How long it is, as far as it was read.
        len: u64,
    },
    /// `--runtime wasmedge` with another way.
    #[error("--runtime wasmedge goes with --via argv only: the other ways need what its C API does not give")]
    Runtime,
    /// A request could not be read.
    #[error("{}: {error}", .path.display())]
    Read {
        /// From where.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The program could not be saved.
    #[error("{}: {error}", .path.display())]
    Save {
        /// Where.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// The reply could not be written.
    #[error("standard output: {0}")]
    Write(#[from] io::Error),
    /// The deadline's clock has no thread.
    #[error("thread for the deadline: {0}")]
    Clock(io::Error),
    /// The engine refused a module, or a guest trapped or did not end in time.
    #[error("sandbox: {0}")]
    Engine(String),
    /// libwasmedge cannot be used.
    #[error("libwasmedge cannot be used: {0}; on Debian 13: apt-get install libwasmedge0")]
    NoWasmEdge(String),
    /// WasmEdge refused the program, or the program failed under it.
    #[error("wasmedge: {0}")]
    WasmEdge(String),
    /// The program ended with a code that means failure.
    #[error("pico.wasm: exit code {code}: {complaint}")]
    Program {
        /// Exit code.
        code: u32,
        /// What it wrote to standard error, escaped.
        complaint: String,
    },
    /// The guest says that it cannot do it.
    #[error("guest: {what} refused with {code}")]
    Refused {
        /// Function.
        what: &'static str,
        /// Its answer.
        code: u32,
    },
    /// A module lacks an export.
    #[error("guest: no export {0}")]
    Export(&'static str),
    /// An input buffer does not hold the requests of one call.
    #[error("input buffer: {needed} bytes needed, {had} there")]
    Room {
        /// Bytes needed.
        needed: usize,
        /// Bytes there.
        had: usize,
    },
    /// What the guest says cannot be true.
    #[error("guest: {lie} cannot be {value}")]
    Lie {
        /// About what.
        lie: Lie,
        /// What it said.
        value: u64,
    },
    /// The program printed other lines than its results give.
    #[error("pico.wasm printed other lines than its results give")]
    Printed,
}

/// What a guest's word was about that cannot be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the text of each stands in its Display")]
pub enum Lie {
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

impl Display for Lie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Address => "the address of a buffer",
            Self::Events => "the number of events done",
            Self::Kind => "the kind of a record",
            Self::Order => "the event of a record",
            Self::Pairs => "the number of headers",
            Self::Records => "the number of records",
            Self::Short => "the size of a reply",
            Self::Size => "the size of a result",
            Self::Text => "the position of a text",
            Self::Verdict => "a verdict",
            Self::Version => "the version of the reply",
        })
    }
}

impl Error {
    fn lie(lie: Lie, value: impl TryInto<u64>) -> Self {
        Self::Lie { lie, value: value.try_into().unwrap_or(u64::MAX) }
    }

    /// The whole chain, with the reason for the trap, in one line.
    fn engine(error: impl Into<wasmtime::Error>) -> Self {
        Self::Engine(format!("{:#}", error.into()).replace('\n', " "))
    }

    /// What the command exits with: 2 for what the user can put right, else 1.
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
    /// Has the guest parse `requests` (not more than a batch), and adds the replies of the first of them: of how many.
    /// At least one, if there are any.
    fn parse(&mut self, requests: &[&[u8]], replies: &mut Replies) -> Result<usize, Error>;

    /// What the guest itself printed about the requests of the last call, if it prints.
    fn printed(&self) -> Option<&[u8]> {
        None
    }
}

/// Makes a way ready: compiles its modules and instantiates them.
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

/// The requests of the next call: as many, from the first, as a batch holds.
fn batch<'a, 'b>(requests: &'a [&'b [u8]]) -> &'a [&'b [u8]] {
    let mut bytes = 0;
    let fits = |request: &&&[u8]| {
        bytes += request.len();
        bytes <= BATCH_BYTES
    };
    let count = requests.iter().take(BATCH_REQUESTS).take_while(fits).count();
    requests.get(..count.max(1)).unwrap_or(requests)
}

/// Parses any number of requests by one way: the replies, in order, and what the guest printed, if it prints.
///
/// # Errors
/// A request that the way cannot carry or that is too long; a fault of the guest; a runtime that is not there.
pub fn parse(via: Via, runtime: Runtime, requests: &[&[u8]]) -> Result<(Replies, Option<Vec<u8>>), Error> {
    if let Some((index, request)) = requests.iter().enumerate().find(|(_, request)| request.len() > REQUEST_BYTES) {
        return Err(Error::TooLong { index, len: request.len() as u64 });
    }
    let mut way = open(via, runtime)?;
    let mut replies = Replies::default();
    let mut printed: Option<Vec<u8>> = None;
    let mut rest = requests;
    while !rest.is_empty() {
        let place = requests.len() - rest.len();
        let done = way.parse(batch(rest), &mut replies).map_err(|error| match error {
            Error::Nul { index, at } => Error::Nul { index: index + place, at },
            other => other,
        })?;
        if let Some(lines) = way.printed() {
            let all = printed.get_or_insert_default();
            if !all.is_empty() {
                all.push(b'\n');
            }
            all.extend_from_slice(lines);
        }
        rest = rest.get(done.max(1)..).unwrap_or_default();
    }
    Ok((replies, printed))
}

/// Does what the command line says: the exit code.
///
/// # Errors
/// See [`Error::exit_code`] for what to exit with.
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

/// The requests that the command line names, those of files after those of arguments.
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

/// All of a file, or of standard input, but no more than shows that it is too long.
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
