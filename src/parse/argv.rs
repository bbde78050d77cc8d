//! The argv way: a program compiled with wasi-libc gets the requests as its arguments, prints what it parsed, and returns
//! the address of its results.
//!
//! This is the oldest way into a sandbox, and every runtime has it, `wasmtime run` and `wasmedge` included: the only contract
//! is that of `main`. It costs an instance per call, since a program runs once, and an argument ends at its first NUL, so a
//! request that contains NUL cannot be passed.

use wasmtime::{Caller, Extern, InstancePre, Linker, TypedFunc};
use zerocopy::FromBytes;

use super::engine::{self, Host, Needs};
use super::reply::{Alleged, Malformed, Replies, Span, Status};
use super::wasi::Wasi;
use super::{Error, Field, Way};
use crate::{abi, escape};

/// The program.
pub(super) const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pico.wasm"));
/// The name of the module that the program imports from.
pub(super) const WASI: &str = "wasi_snapshot_preview1";

/// `pico_parsed` of `guest/ways/argv.c`: the result for one argument.
#[derive(Debug, Clone, Copy, FromBytes)]
#[repr(C)]
struct Parsed {
    /// 1: parsed, 2: partial, 3: malformed.
    status: u32,
    /// If malformed: the kind of the record that reports it, and its code.
    kind: u32,
    code: u32,
    bytes: u32,
    minor: u32,
    /// Offsets in the argument.
    method: u32,
    method_len: u32,
    target: u32,
    target_len: u32,
    /// Address of `abi::Pair[num_headers]`, with offsets in the argument.
    headers: u32,
    num_headers: u32,
}

/// Access to a program that has run: its exported functions and its memory.
pub(super) trait Program {
    /// Calls an exported function without arguments that returns a 32-bit number.
    fn number(&mut self, name: &'static str) -> Result<u32, Error>;
    /// Copies `into.len()` bytes at `address` of the program's memory.
    fn copy(&mut self, address: u32, into: &mut [u8]) -> Result<(), Error>;
}

/// Reads the results from the memory of a program that has run.
pub(super) fn results(program: &mut dyn Program, requests: &[&[u8]], replies: &mut Replies) -> Result<(), Error> {
    let size = program.number("get_result_struct_size")?;
    if size as usize != size_of::<Parsed>() {
        return Err(Error::invalid(Field::Size, size));
    }
    let count = program.number("get_result_count")?;
    if count as usize != requests.len() {
        return Err(Error::invalid(Field::Events, count));
    }
    let address = program.number("get_result_buf")?;
    let mut items = vec![0; requests.len() * size_of::<Parsed>()];
    program.copy(address, &mut items)?;
    let mut pairs = Vec::new();
    for (item, request) in items.chunks_exact(size_of::<Parsed>()).zip(requests) {
        let parsed = Parsed::read_from_bytes(item).map_err(|_| Error::invalid(Field::Short, item.len()))?;
        let code = u16::try_from(parsed.code).map_err(|_| Error::invalid(Field::Kind, parsed.code))?;
        match (parsed.status, u8::try_from(parsed.kind).unwrap_or(u8::MAX)) {
            (1, _) => {}
            (2, _) => replies.push_failed(Status::Partial),
            (3, abi::record::ERROR) => replies.push_failed(Status::Malformed(Malformed::Error(code))),
            (3, abi::record::NOT_HTTP) => replies.push_failed(Status::Malformed(Malformed::NotHttp(code))),
            (3, abi::record::RESPONSE) => replies.push_failed(Status::Malformed(Malformed::Response)),
            _ => return Err(Error::invalid(Field::Kind, parsed.kind)),
        }
        if parsed.status != 1 {
            continue;
        }
        if parsed.num_headers > abi::MAX_HEADERS {
            return Err(Error::invalid(Field::Pairs, parsed.num_headers));
        }
        pairs.resize(parsed.num_headers as usize * size_of::<abi::Pair>(), 0);
        if !pairs.is_empty() {
            program.copy(parsed.headers, &mut pairs)?;
        }
        let headers =
            pairs.chunks_exact(size_of::<abi::Pair>()).filter_map(|pair| abi::Pair::read_from_bytes(pair).ok());
        let alleged = Alleged {
            bytes: parsed.bytes,
            method: Span { at: parsed.method, len: parsed.method_len },
            target: Span { at: parsed.target, len: parsed.target_len },
            minor: u8::try_from(parsed.minor).map_err(|_| Error::invalid(Field::Kind, parsed.minor))?,
        };
        replies.push(alleged, request.len(), headers)?;
    }
    Ok(())
}

/// Rejects requests that contain NUL, which no runtime can pass as an argument.
pub(super) fn check(requests: &[&[u8]]) -> Result<(), Error> {
    for (index, request) in requests.iter().enumerate() {
        if let Some(at) = memchr::memchr(0, request) {
            return Err(Error::Nul { index, at });
        }
    }
    Ok(())
}

/// Checks the exit code of a run and returns what it printed.
pub(super) fn finish(wasi: Wasi) -> Result<Vec<u8>, Error> {
    match wasi.exit {
        None | Some(0 | 1) => Ok(wasi.stdout),
        Some(code) => {
            let mut message = Vec::new();
            escape::ascii(wasi.stderr.trim_ascii_end(), &mut message);
            Err(Error::Program { code, message: String::from_utf8_lossy(&message).into_owned() })
        }
    }
}

/// The program, compiled by wasmtime; each call makes an instance.
pub(super) struct Argv {
    program: InstancePre<Host<Wasi>>,
    printed: Vec<u8>,
}

/// The error by which `proc_exit` unwinds the program; it is no trap.
#[derive(Debug, thiserror::Error)]
#[error("the program has exited")]
struct Exit;

impl Argv {
    pub(super) fn new() -> Result<Self, Error> {
        let engine = engine::engine(Needs::Nothing)?;
        let module = engine::module(&engine, PROGRAM)?;
        let mut linker = Linker::new(&engine);
        link(&mut linker).map_err(Error::engine)?;
        let program = linker.instantiate_pre(&module).map_err(Error::engine)?;
        Ok(Self { program, printed: Vec::new() })
    }
}

impl Argv {
    /// Runs the program with `arguments`, and reads its results, which concern `requests`.
    fn run(&mut self, arguments: &[&[u8]], requests: &[&[u8]], replies: &mut Replies) -> Result<(), Error> {
        let mut store = engine::store(self.program.module().engine(), Wasi::new(arguments));
        let instance = self.program.instantiate(&mut store).map_err(Error::engine)?;
        let main: TypedFunc<(), ()> = engine::function(&mut store, &instance, "_start")?;
        store.set_epoch_deadline(engine::DEADLINE_TICKS);
        if let Err(error) = main.call(&mut store, ())
            && !error.is::<Exit>()
        {
            return Err(Error::engine(error));
        }
        self.printed = finish(std::mem::take(&mut store.data_mut().data))?;
        let memory = instance.get_memory(&mut store, "memory").ok_or(Error::Export("memory"))?;
        results(&mut Ran { store: &mut store, instance, memory }, requests, replies)
    }
}

impl Way for Argv {
    fn parse(&mut self, requests: &[&[u8]], replies: &mut Replies) -> Result<usize, Error> {
        check(requests)?;
        self.run(requests, requests, replies)?;
        Ok(requests.len())
    }

    fn printed(&self) -> Option<&[u8]> {
        Some(&self.printed)
    }
}

struct Ran<'a> {
    store: &'a mut wasmtime::Store<Host<Wasi>>,
    instance: wasmtime::Instance,
    memory: wasmtime::Memory,
}

impl Program for Ran<'_> {
    fn number(&mut self, name: &'static str) -> Result<u32, Error> {
        let function: TypedFunc<(), u32> = engine::function(self.store, &self.instance, name)?;
        engine::call(self.store, &function, ())
    }

    fn copy(&mut self, address: u32, into: &mut [u8]) -> Result<(), Error> {
        into.copy_from_slice(engine::part(self.memory.data(&self.store), address, into.len())?);
        Ok(())
    }
}

/// The program's memory and its WASI state.
fn both<'a>(caller: &'a mut Caller<'_, Host<Wasi>>) -> wasmtime::Result<(&'a mut [u8], &'a mut Wasi)> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory);
    let memory = memory.ok_or_else(|| wasmtime::format_err!("the program exports no memory"))?;
    let (memory, host) = memory.data_and_store_mut(caller);
    Ok((memory, &mut host.data))
}

type Calling<'a> = Caller<'a, Host<Wasi>>;

fn link(linker: &mut Linker<Host<Wasi>>) -> wasmtime::Result<()> {
    linker.func_wrap(WASI, "args_sizes_get", |mut caller: Calling<'_>, count: u32, bytes: u32| {
        both(&mut caller).map(|(memory, wasi)| wasi.args_sizes_get(memory, count, bytes))
    })?;
    linker.func_wrap(WASI, "args_get", |mut caller: Calling<'_>, table: u32, buffer: u32| {
        both(&mut caller).map(|(memory, wasi)| wasi.args_get(memory, table, buffer))
    })?;
    let fd_write = |mut caller: Calling<'_>, descriptor: u32, pieces: u32, count: u32, written: u32| {
        both(&mut caller).map(|(memory, wasi)| wasi.fd_write(memory, descriptor, pieces, count, written))
    };
    linker.func_wrap(WASI, "fd_write", fd_write)?;
    linker.func_wrap(WASI, "proc_exit", |mut caller: Calling<'_>, code: u32| -> wasmtime::Result<()> {
        caller.data_mut().data.exit = Some(code);
        Err(Exit.into())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::BUILT_IN;

    #[test]
    fn without_arguments_the_program_parses_the_built_in_requests() {
        let mut argv = Argv::new().unwrap();
        let (mut given, mut own) = (Replies::default(), Replies::default());
        argv.run(&BUILT_IN, &BUILT_IN, &mut given).unwrap();
        let printed = argv.printed.clone();
        argv.run(&[], &BUILT_IN, &mut own).unwrap();
        assert_eq!((own, &argv.printed), (given, &printed));
    }

    #[test]
    fn the_program_imports_four_functions_and_no_more() {
        let argv = Argv::new().unwrap();
        let mut names: Vec<String> = argv.program.module().imports().map(|import| import.name().to_owned()).collect();
        names.sort();
        assert_eq!(names, ["args_get", "args_sizes_get", "fd_write", "proc_exit"]);
    }

    #[test]
    fn the_program_refuses_a_request_that_is_too_long() {
        let long = vec![b'a'; crate::parse::REQUEST_BYTES + 1];
        let error = Argv::new().unwrap().parse(&[&long], &mut Replies::default()).unwrap_err().to_string();
        assert!(error.starts_with("pico.wasm: exit code 2: pico: a request is longer"), "{error}");
    }

    /// A program with a memory and three exported numbers: size of a result, number of results, address.
    struct Fake {
        numbers: [u32; 3],
        memory: Vec<u8>,
    }

    impl Program for Fake {
        fn number(&mut self, name: &'static str) -> Result<u32, Error> {
            let names = ["get_result_struct_size", "get_result_count", "get_result_buf"];
            Ok(self.numbers[names.iter().position(|known| *known == name).unwrap()])
        }

        fn copy(&mut self, address: u32, into: &mut [u8]) -> Result<(), Error> {
            into.copy_from_slice(engine::part(&self.memory, address, into.len())?);
            Ok(())
        }
    }

    /// The outcome of reading one result at address 4, for a request of 20 bytes.
    fn read(numbers: [u32; 3], result: [u32; 11]) -> String {
        let mut memory = vec![0; 4];
        memory.extend(result.iter().flat_map(|word| word.to_le_bytes()));
        memory.resize(256, 0);
        let mut replies = Replies::default();
        match results(&mut Fake { numbers, memory }, &[b"GET / HTTP/1.1\r\n\r\n.."], &mut replies) {
            Ok(()) => format!("{:?}", replies.heads()[0].status),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_invalid_result_is_rejected() {
        let good = [1, 0, 0, 18, 1, 0, 3, 4, 1, 0, 0];
        let with = |index: usize, value: u32| {
            let mut result = good;
            result[index] = value;
            read([44, 1, 4], result)
        };
        assert_eq!(read([44, 1, 4], good), "Parsed { bytes: 18 }");
        assert_eq!(read([40, 1, 4], good), "guest: invalid result size: 40");
        assert_eq!(read([44, 2, 4], good), "guest: invalid number of events done: 2");
        assert_eq!(read([44, 1, 0], good), "guest: invalid buffer address: 0");
        assert_eq!(read([44, 1, 213], good), "guest: invalid buffer address: 213");
        assert_eq!(read([44, 1, u32::MAX], good), "guest: invalid buffer address: 4294967295");
        assert_eq!(with(0, 4), "guest: invalid record kind: 0");
        assert_eq!(with(3, 21), "guest: invalid text offset: 0");
        assert_eq!(with(5, 18), "guest: invalid text offset: 18");
        assert_eq!(with(8, u32::MAX), "guest: invalid text offset: 4");
        assert_eq!(with(10, 129), "guest: invalid number of headers: 129");
        assert_eq!(with(10, 1), "guest: invalid buffer address: 0");
    }
}
