//! The parts of picotap that stand before its sandbox, compiled by themselves from the same files: what reads bytes from the
//! wire, without the engine, of which a build with a fuzzer's instruments takes very long.
//!
//! The library has picotap's name, so that the checks are the same text here and under `tests/`.

// What the names of faults are made of: the engine itself is not here, under its name.
extern crate self as wasmtime;

#[path = "../../src/abi.rs"]
pub mod abi;
#[path = "../../src/batch.rs"]
pub mod batch;
#[path = "../../src/config.rs"]
pub mod config;
#[path = "../../src/counters.rs"]
pub mod counters;
#[path = "../../src/escape.rs"]
pub mod escape;
#[path = "../../src/flow/mod.rs"]
pub mod flow;
#[path = "../../src/glob.rs"]
pub mod glob;
#[path = "../../src/http/mod.rs"]
pub mod http;
#[path = "../../src/packet/mod.rs"]
pub mod packet;
#[path = "../../src/prefetch.rs"]
mod prefetch;
/// Of probes, what reads the files that processes run.
#[path = "../../src/probe"]
pub mod probe {
    mod code;
    pub mod elf;
    mod library;
    mod pclntab;

    pub use self::library::Library;
}
#[path = "../../src/source/mod.rs"]
pub mod source;
#[path = "../../src/stream.rs"]
pub mod stream;
#[path = "../../src/tls/mod.rs"]
pub mod tls;

/// Of the sandbox, what reads a guest's reply.
#[path = "../../src/sandbox"]
pub mod sandbox {
    pub mod call;
    pub mod fault;
    pub mod memory;
    pub mod protocol;
    pub mod quote;
}

/// In the place of the engine's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{self:?}")]
#[expect(missing_docs, reason = "as the engine names them")]
pub enum Trap {
    StackOverflow,
    MemoryOutOfBounds,
    HeapMisaligned,
    UnreachableCodeReached,
    IntegerDivisionByZero,
    IntegerOverflow,
    BadConversionToInteger,
    TableOutOfBounds,
    IndirectCallToNull,
    BadSignature,
    Interrupt,
    Other,
}

/// In the place of the engine's type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(Trap);

impl Error {
    /// As the engine's: what it is, if it is one of these.
    pub fn downcast_ref<T: 'static>(&self) -> Option<&T> {
        let trap: &dyn std::any::Any = &self.0;
        trap.downcast_ref()
    }
}

/// In the place of the processes at both ends: nobody looks for them here.
pub mod process {
    use std::sync::Arc;

    /// What is known of a process.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    #[expect(missing_docs, reason = "as there")]
    pub struct Process {
        pub pid: Option<u32>,
        pub command: Box<[u8]>,
        pub container: Option<Box<str>>,
        pub pod: Option<Box<str>>,
    }

    /// Those of both ends.
    pub type Both = [Option<Arc<Process>>; 2];

    /// Knows none.
    #[derive(Debug, Clone)]
    pub struct Speakers;

    impl Speakers {
        /// Those of a connection.
        pub(crate) fn of<E>(&self, _: u64, _: usize, _: &E) -> Both {
            Both::default()
        }

        /// Who derived the secrets of a connection.
        pub(crate) fn called<C>(&mut self, _: u64, _: C) {}
    }
}
