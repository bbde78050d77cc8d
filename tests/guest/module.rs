//! A module is the built guest in wasmtime, as the program sets it, called directly: events are encoded by hand, replies
//! read back and checked against the contract's own rules.

use std::sync::OnceLock;

use picotap::abi;
use wasmtime::{Engine, Instance, Memory, Module as Compiled, Store, TypedFunc};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

// As the program has it: with the checks of the deadline.
#[path = "../../src/sandbox/settings.rs"]
mod settings;

pub(crate) const INPUT_BYTES: u32 = 1 << 20;
pub(crate) const OUTPUT_BYTES: u32 = 1 << 20;

/// An event with its bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Event {
    pub(crate) header: abi::Event,
    pub(crate) bytes: Vec<u8>,
    pub(crate) marks: Vec<u32>,
}

/// What a call gave.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) results: Vec<abi::Result>,
    pub(crate) records: Vec<abi::Record>,
    pub(crate) pairs: Vec<abi::Pair>,
    /// The text area, as far as it is used.
    pub(crate) text: Vec<u8>,
}

pub(crate) struct Module {
    pub(crate) store: Store<()>,
    pub(crate) memory: Memory,
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) parse: TypedFunc<u32, u32>,
    pub(crate) instance: Instance,
}

/// Addresses of the parts of a call: rows in memory, the others in the output buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) rows: usize,
    pub(crate) results: usize,
    pub(crate) records: usize,
    pub(crate) pairs: usize,
    pub(crate) text: usize,
}

fn compiled() -> &'static (Engine, Compiled) {
    static COMPILED: OnceLock<(Engine, Compiled)> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let engine = Engine::new(&settings::settings()).expect("engine");
        let module = Compiled::new(&engine, picotap::sandbox::BUILTIN_GUEST).expect("module");
        (engine, module)
    })
}

impl Module {
    pub(crate) fn new() -> Self {
        let (engine, compiled) = compiled();
        Self::of(engine, compiled)
    }

    pub(crate) fn of(engine: &Engine, compiled: &Compiled) -> Self {
        assert_eq!(compiled.imports().len(), 0);
        let mut store = Store::new(engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = Instance::new(&mut store, compiled, &[]).expect("instance");
        let memory = instance.get_memory(&mut store, "memory").expect("memory");
        let allocate =
            instance.get_typed_func::<(u32, u32), u32>(&mut store, "allocate_input_output_bufs").expect("allocate");
        assert_eq!(allocate.call(&mut store, (INPUT_BYTES, OUTPUT_BYTES)).expect("call"), 0);
        let mut number = |name: &str| {
            let function = instance.get_typed_func::<(), u32>(&mut store, name).expect("export");
            function.call(&mut store, ()).expect("call")
        };
        let (input, output) = (number("get_input_buf") as usize, number("get_output_buf") as usize);
        let parse = instance.get_typed_func(&mut store, "pico_parse_events").expect("parse");
        Self { store, memory, input, output, parse, instance }
    }

    /// Lays a call out, without making it.
    pub(crate) fn lay_out(&mut self, events: &[Event], rows: &[abi::Row], max_records: u32, max_pairs: u32) -> Layout {
        let marks: Vec<u32> = events.iter().flat_map(|e| e.marks.iter().copied()).collect();
        let arena: Vec<u8> = events.iter().flat_map(|e| e.bytes.iter().copied()).collect();
        let mut input = vec![0u8; size_of::<abi::Input>()];
        let at_events = input.len();
        let (mut next_mark, mut next_byte) = (0, 0);
        for event in events {
            let mut header = event.header;
            header.data = next_byte;
            header.len = event.bytes.len() as u32;
            header.marks = next_mark;
            header.num_marks = event.marks.len() as u32;
            next_byte += header.len;
            next_mark += header.num_marks;
            input.extend_from_slice(header.as_bytes());
        }
        let at_rows = input.len();
        input.extend_from_slice(rows.as_bytes());
        let at_marks = input.len();
        input.extend_from_slice(marks.as_bytes());
        let at_arena = input.len();
        input.extend_from_slice(&arena);
        let results = size_of::<abi::Output>();
        let records = results + events.len() * size_of::<abi::Result>();
        let pairs = records + max_records as usize * size_of::<abi::Record>();
        let text = pairs + max_pairs as usize * size_of::<abi::Pair>();
        let head = abi::Input {
            abi_version: abi::VERSION,
            num_events: events.len() as u32,
            num_rows: rows.len() as u32,
            num_marks: marks.len() as u32,
            events: at_events as u32,
            rows: at_rows as u32,
            marks: at_marks as u32,
            arena: at_arena as u32,
            arena_len: arena.len() as u32,
            results: results as u32,
            records: records as u32,
            max_records,
            pairs: pairs as u32,
            max_pairs,
            text: text as u32,
            max_text: abi::MIN_TEXT,
            ..abi::Input::default()
        };
        input[..at_events].copy_from_slice(head.as_bytes());
        assert!(input.len() <= INPUT_BYTES as usize, "input of {} bytes", input.len());
        self.memory.data_mut(&mut self.store)[self.input..][..input.len()].copy_from_slice(&input);
        Layout { rows: self.input + at_rows, results, records, pairs, text }
    }

    /// Lays a call out and makes it: `Err` is the refusal's number.
    pub(crate) fn call(
        &mut self,
        events: &[Event],
        rows: &mut [abi::Row],
        max_records: u32,
        max_pairs: u32,
    ) -> Result<Reply, u32> {
        let at = self.lay_out(events, rows, max_records, max_pairs);
        let refused = self.parse.call(&mut self.store, events.len() as u32).expect("no trap");
        if refused != 0 {
            return Err(refused);
        }
        let Layout { results, records, pairs, text, .. } = at;
        let data = self.memory.data(&self.store);
        let rows = rows.as_mut_bytes();
        rows.copy_from_slice(&data[at.rows..][..rows.len()]);
        let output = &data[self.output..];
        let mut reply = Reply::default();
        let mut said = abi::Output::new_zeroed();
        said.as_mut_bytes().copy_from_slice(&output[..results]);
        assert_eq!(said.abi_version, abi::VERSION);
        assert!(
            said.events_done as usize <= events.len() && said.num_records <= max_records && said.num_pairs <= max_pairs
        );
        assert!(said.reserved.iter().all(|word| *word == 0));
        assert!(said.text_len <= abi::MIN_TEXT);
        reply.results = read(&output[results..], said.events_done);
        reply.records = read(&output[records..], said.num_records);
        reply.pairs = read(&output[pairs..], said.num_pairs);
        reply.text = output[text..][..said.text_len as usize].to_vec();
        check(events, &reply);
        Ok(reply)
    }
}

fn read<T: FromBytes>(from: &[u8], count: u32) -> Vec<T> {
    from.chunks_exact(size_of::<T>()).take(count as usize).map(|b| T::read_from_bytes(b).expect("sized")).collect()
}

/// What the host checks, more strictly: every promise of the contract that one reply can break.
fn check(events: &[Event], reply: &Reply) {
    for (i, result) in reply.results.iter().enumerate() {
        let event = &events[i];
        let len = event.bytes.len() as u32;
        match result.verdict {
            abi::verdict::DONE => {
                assert_eq!(result.consumed, len);
                assert!(
                    result.skip == 0 || result.skip > event.header.offset + u64::from(len),
                    "a skip is beyond the event"
                );
            }
            abi::verdict::NEED_MORE => {
                assert!(result.consumed < len && len - result.consumed <= abi::MAX_WAITING);
                assert_eq!(event.header.flags & abi::event_flag::FINAL, 0, "a final event is consumed");
            }
            abi::verdict::OUTPUT_FULL => {
                assert_eq!(i + 1, reply.results.len());
                assert!(!reply.records.is_empty() || reply.results.iter().any(|r| r.consumed > 0), "progress");
            }
            abi::verdict::DEFERRED => assert_eq!(result.consumed, 0),
            abi::verdict::INNER => assert!(result.consumed <= len),
            other => panic!("verdict {other}"),
        }
    }
    let last = reply.results.last();
    assert!(reply.results.len() == events.len() || last.is_some_and(|r| r.verdict == abi::verdict::OUTPUT_FULL));
    let mut event = 0;
    let mut pairs = 0;
    for record in &reply.records {
        assert!(record.event >= event, "records follow the events");
        event = record.event;
        let len = events[event as usize].bytes.len() as u32;
        assert!(record.start <= record.end && record.end <= len, "{record:?} in {len}");
        let area = reply.text.len() as u32;
        let lies = |at: u32, len_of: u32| {
            let (at, end) = if at & abi::TEXT == 0 { (at, len) } else { (at & !abi::TEXT, area) };
            at + len_of <= end
        };
        assert!(lies(record.text, record.text_len) && lies(record.target, record.target_len), "{record:?}");
        assert!(record.num_pairs == 0 || record.first_pair == pairs);
        pairs += record.num_pairs;
        assert_eq!((record.reserved, record.stream), (0, 0));
        for pair in &reply.pairs[record.first_pair as usize..][..record.num_pairs as usize] {
            assert!(lies(pair.name, pair.name_len) && lies(pair.value, pair.value_len));
        }
    }
    assert_eq!(pairs as usize, reply.pairs.len());
}
