//! The contract itself: exports, verdicts, refusals, and what a call may not keep.

use picotap::abi;
use zerocopy::{FromZeros, IntoBytes};

use crate::host::{Host, Manner, c, s, said};
use crate::module::{Event, Module};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fn event(row: u32, side: u8, offset: u64, bytes: &[u8]) -> Event {
    let header = abi::Event {
        row,
        side,
        kind: abi::kind::BYTES,
        flags: abi::event_flag::SEGMENT,
        offset,
        peer_acked: abi::UNKNOWN,
        ..Default::default()
    };
    Event { header, bytes: bytes.to_vec(), marks: vec![] }
}

fn end(row: u32, side: u8, offset: u64) -> Event {
    let header = abi::Event {
        row,
        side,
        kind: abi::kind::END,
        reason: abi::reason::FIN,
        offset,
        peer_acked: abi::UNKNOWN,
        ..Default::default()
    };
    Event { header, ..Event::default() }
}

fn rows(count: usize) -> Vec<abi::Row> {
    vec![abi::Row::new_zeroed(); count]
}

fn verdicts(module: &mut Module, events: &[Event], rows: &mut [abi::Row]) -> Vec<(u8, u32)> {
    rows.iter_mut().for_each(|row| row.scratch = 0);
    let reply = module.call(events, rows, 64, 1024).expect("accepted");
    reply.results.iter().map(|r| (r.verdict, r.consumed)).collect()
}

const DONE: u8 = abi::verdict::DONE;
const MORE: u8 = abi::verdict::NEED_MORE;
const FULL: u8 = abi::verdict::OUTPUT_FULL;
const DEFERRED: u8 = abi::verdict::DEFERRED;

#[test]
fn the_module_imports_nothing_and_exports_what_is_promised() {
    let mut module = Module::new();
    let mut names: Vec<String> = module.instance.exports(&mut module.store).map(|e| e.name().to_owned()).collect();
    names.sort();
    let promised = [
        "allocate_input_output_bufs",
        "free_input_output_bufs",
        "get_input_buf",
        "get_output_buf",
        "get_output_item_count",
        "get_output_item_size",
        "memory",
        "pico_abi_version",
        "pico_first_window",
        "pico_parse_events",
        "pico_protocol",
        "pico_state_format",
    ];
    assert_eq!(names, promised);
    let ty = module.memory.ty(&module.store);
    assert_eq!(ty.maximum(), Some(ty.minimum()));
    let mut number = |name| {
        let export = module.instance.get_typed_func::<(), u32>(&mut module.store, name).unwrap();
        export.call(&mut module.store, ()).unwrap()
    };
    assert_eq!(number("pico_abi_version"), abi::VERSION);
    assert_eq!(number("get_output_item_size") as usize, size_of::<abi::Record>());
    assert_eq!(number("pico_state_format"), 5);
    assert_eq!((number("get_input_buf") % 64, number("get_output_buf") % 64), (0, 0));
}

#[test]
fn buffers_that_do_not_fit_are_refused() {
    let mut module = Module::new();
    let allocate =
        module.instance.get_typed_func::<(u32, u32), u32>(&mut module.store, "allocate_input_output_bufs").unwrap();
    for sizes in
        [(u32::MAX, u32::MAX), (1 << 22, 1 << 20), (1 << 20, 1 << 22), (0, 1 << 20), (1 << 20, 0), (u32::MAX - 63, 64)]
    {
        assert_ne!(allocate.call(&mut module.store, sizes).unwrap(), 0, "{sizes:?}");
    }
    let free = module.instance.get_typed_func::<(), ()>(&mut module.store, "free_input_output_bufs").unwrap();
    free.call(&mut module.store, ()).unwrap();
    assert_ne!(module.parse.call(&mut module.store, 0).unwrap(), 0);
    let address = module.instance.get_typed_func::<(), u32>(&mut module.store, "get_input_buf").unwrap();
    assert_eq!(address.call(&mut module.store, ()).unwrap(), 0);
}

#[test]
fn an_empty_call_is_answered() {
    assert_eq!(verdicts(&mut Module::new(), &[], &mut rows(0)), []);
}

#[test]
fn a_side_that_waits_defers_its_later_events_and_then_the_connection() {
    let events = [
        event(0, 0, 0, b"GET /"),
        event(1, 0, 0, GET),
        event(0, 1, 0, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        event(0, 0, 5, b" HT"),
        event(0, 1, 38, b"HTTP"),
        event(1, 0, GET.len() as u64, GET),
        end(0, 0, 8),
    ];
    assert_eq!(
        verdicts(&mut Module::new(), &events, &mut rows(2)),
        [(MORE, 0), (DONE, 27), (DONE, 38), (DEFERRED, 0), (DEFERRED, 0), (DONE, 27), (DEFERRED, 0),]
    );
}

#[test]
fn a_rest_behind_a_whole_head_waits() {
    let events = [event(0, 0, 0, &[GET, b"GET /2"].concat())];
    assert_eq!(verdicts(&mut Module::new(), &events, &mut rows(1)), [(MORE, 27)]);
}

#[test]
fn heads_and_lines_wait_for_a_line_feed_and_fragments_for_any_byte() {
    let wake = |bytes: &[u8]| {
        let reply = Module::new().call(&[event(0, 0, 0, bytes)], &mut rows(1), 8, 128).unwrap();
        (reply.results[0].wake, reply.results[0].wake_byte)
    };
    assert_eq!(wake(b"GET / HTTP/1.1\r\nHost"), (1, b'\n'));
    assert_eq!(wake(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5"), (1, b'\n'));
    assert_eq!(wake(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA"), (1, b'\n'));
    assert_eq!(wake(b"\x16"), (0, 0));
}

#[test]
fn no_more_waits_than_may_wait() {
    for bytes in [
        vec![b'a'; 70_000],
        [b"GET /".to_vec(), vec![b'a'; 70_000]].concat(),
        [b"CONNECT a:1 HTTP/1.1\r\n\r\n".to_vec(), vec![b'a'; 70_000]].concat(),
    ] {
        let mut module = Module::new();
        for len in [65_534, 65_535, 65_536, 65_537, 70_000] {
            module.call(&[event(0, 0, 0, &bytes[..len])], &mut rows(1), 8, 128).expect("accepted");
        }
    }
}

#[test]
fn a_final_event_is_consumed() {
    for bytes in [
        &b"GET / HT"[..],
        b"\r\n",
        b"H",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5",
        b"\x16",
        b"CONNECT a:1 HTTP/1.1\r\n\r\nx",
    ] {
        let mut last = event(0, 0, 0, bytes);
        last.header.flags |= abi::event_flag::FINAL;
        let verdict = verdicts(&mut Module::new(), &[last], &mut rows(1));
        assert_eq!(verdict, [(DONE, bytes.len() as u32)], "{}", bytes.escape_ascii());
    }
}

#[test]
fn skips_name_the_end_of_a_stretch() {
    let skip = |head: &str, body: &str| {
        let bytes = format!("POST / HTTP/1.1\r\n{head}\r\n\r\n{body}");
        let len = bytes.len() as u64;
        let reply = Module::new().call(&[event(0, 0, 0, bytes.as_bytes())], &mut rows(1), 8, 128).unwrap();
        let skip = reply.results[0].skip;
        if skip == abi::FOREVER || skip == 0 { skip } else { skip - len }
    };
    assert_eq!(skip("Content-Length: 100", ""), 100);
    assert_eq!(skip("Content-Length: 100", "abc"), 97);
    assert_eq!(skip("Content-Length: 3", "abc"), 0);
    assert_eq!(skip("Transfer-Encoding: chunked", "64\r\nabc"), 97);
    assert_eq!(skip("Transfer-Encoding: chunked", "ffffffffffffffff\r\nabc"), abi::FOREVER);
    assert_eq!(skip("Content-Length: 9223372036854775807", "abc"), 9_223_372_036_854_775_804);
    let until_close = event(0, 1, 0, b"HTTP/1.1 200 OK\r\n\r\n");
    let reply = Module::new().call(&[event(0, 0, 0, GET), until_close.clone()], &mut rows(1), 8, 128).unwrap();
    assert_eq!(reply.results[1].skip, abi::FOREVER);
    // It may answer HEAD: what follows must be seen.
    let reply = Module::new().call(&[until_close], &mut rows(1), 8, 128).unwrap();
    assert_eq!(reply.results[0].skip, 0);
}

#[test]
fn a_body_of_a_gigabyte_costs_two_events() {
    let mut module = Module::new();
    let mut rows = rows(1);
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n";
    let reply = module.call(&[event(0, 0, 0, head)], &mut rows, 8, 128).unwrap();
    let (from, to) = (head.len() as u64, reply.results[0].skip);
    assert_eq!(to - from, 1 << 30);
    let mut skipped = event(0, 0, from, b"");
    skipped.header.kind = abi::kind::VOID;
    skipped.header.length = 1 << 30;
    skipped.header.lost = 5;
    let reply = module.call(&[skipped, event(0, 0, to, GET)], &mut rows, 8, 128).unwrap();
    let end = reply.records[0];
    assert_eq!((end.kind, end.decoded, end.lost, end.flags), (abi::record::END, 1 << 30, 5, abi::flag::GAP));
    assert_eq!(reply.records[1].number, 2);
}

#[test]
fn a_full_output_reports_where_to_continue() {
    let mut module = Module::new();
    let mut rows = rows(1);
    let reply = module.call(&[event(0, 0, 0, &GET.repeat(10)), event(0, 0, 270, GET)], &mut rows, 8, 128).unwrap();
    assert_eq!(reply.results.len(), 1);
    assert_eq!((reply.results[0].verdict, reply.results[0].consumed, reply.records.len()), (FULL, 27 * 3, 6));
    let head = [b"GET / HTTP/1.1\r\n".to_vec(), b"A: b\r\n".repeat(100), b"\r\n".to_vec()].concat();
    let reply = module.call(&[event(0, 0, 81, &head.repeat(2))], &mut rows, 64, 128).unwrap();
    assert_eq!(
        (reply.results[0].verdict, reply.results[0].consumed, reply.pairs.len()),
        (FULL, head.len() as u32, 100)
    );
    let reply = module.call(&[event(0, 0, 81 + head.len() as u64, &head)], &mut rows, 64, 128).unwrap();
    assert_eq!((reply.results[0].verdict, reply.pairs.len()), (DONE, 100));
}

#[test]
fn the_block_is_all_that_is_remembered() {
    let mut one = Module::new();
    let mut rows = rows(1);
    one.call(&[event(0, 0, 0, b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nab")], &mut rows, 8, 128).unwrap();
    let reply = Module::new().call(&[event(0, 0, 40, b"cd")], &mut rows, 8, 128).unwrap();
    assert_eq!((reply.records[0].kind, reply.records[0].decoded), (abi::record::END, 4));
}

#[test]
fn a_call_leaves_no_trace_for_the_next() {
    let mut used = Module::new();
    for bytes in [&b"\x16\x03"[..], b"GET / HTTP/1.1\r\nbad\r\n\r\n", GET, b"GET /"] {
        used.call(&[event(0, 0, 0, bytes)], &mut rows(1), 8, 128).unwrap();
    }
    let (mut a, mut b) = (rows(1), rows(1));
    let used = used.call(&[event(0, 0, 0, GET)], &mut a, 8, 128).unwrap();
    let new = Module::new().call(&[event(0, 0, 0, GET)], &mut b, 8, 128).unwrap();
    assert_eq!((used.records, used.pairs, a), (new.records, new.pairs, b));
}

#[test]
fn mistakes_of_the_host_are_refused() {
    let mut module = Module::new();
    let refused = |module: &mut Module, change: &dyn Fn(&mut Event)| {
        let mut one = event(0, 0, 0, GET);
        change(&mut one);
        module.call(&[one], &mut rows(1), 8, 128).is_err()
    };
    assert!(!refused(&mut module, &|_| ()));
    assert!(refused(&mut module, &|e| e.header.row = 1));
    assert!(refused(&mut module, &|e| e.header.side = 2));
    assert!(refused(&mut module, &|e| e.header.kind = 0));
    assert!(refused(&mut module, &|e| e.header.kind = 4));
    assert!(refused(&mut module, &|e| e.header.kind = abi::kind::END));
    assert!(module.call(&[event(0, 0, 0, GET)], &mut rows(1), 7, 128).is_err());
    assert!(module.call(&[event(0, 0, 0, GET)], &mut rows(1), 8, 127).is_err());
    // bytes that were consumed already
    assert!(module.call(&[event(0, 0, 0, GET), event(0, 0, 26, GET)], &mut rows(1), 8, 128).is_err());
    assert!(module.call(&[event(0, 0, 0, GET)], &mut rows(1), 1 << 20, 128).is_err());
    assert!(module.call(&[event(0, 0, 0, GET)], &mut rows(1), u32::MAX, u32::MAX).is_err());
}

#[test]
fn a_broken_layout_is_refused() {
    let mut module = Module::new();
    let words = size_of::<abi::Input>() / 4;
    for word in 0..words - 2 {
        for value in [1u32, 3, 0x7fff_fff8, u32::MAX - 7, u32::MAX] {
            module.lay_out(&[event(0, 0, 0, GET)], &rows(1), 8, 128);
            let address = module.input + 4 * word;
            module.memory.data_mut(&mut module.store)[address..address + 4].copy_from_slice(value.as_bytes());
            // Refused or not, it must not trap: memory outside of the buffers is never accessed.
            module.parse.call(&mut module.store, 1).expect("no trap");
        }
    }
    module.lay_out(&[event(0, 0, 0, GET)], &rows(1), 8, 128);
    assert_ne!(module.parse.call(&mut module.store, 2).unwrap(), 0);
}

#[test]
fn the_event_worked_on_is_named() {
    let mut module = Module::new();
    module.call(&[event(0, 0, 0, GET), event(0, 0, 27, GET), event(0, 0, 54, b"G")], &mut rows(1), 64, 128).unwrap();
    let output = &module.memory.data(&module.store)[module.output..];
    assert_eq!(output[4..12], [2u32.to_le_bytes(), 3u32.to_le_bytes()].concat()[..]);
}

#[test]
fn a_head_split_over_two_calls_is_whole_in_the_second() {
    let records = said(Manner::default(), &[c("GET / HTTP/1.1\r\nHo"), c("st: a\r\n\r\n")]);
    assert_eq!((records[0].start, records[0].end, records[0].pairs[0].0.as_str()), (0, 27, "Host"));
}

#[test]
fn a_dripped_head_is_presented_once_a_line() {
    let mut host = Host::new(Manner::default());
    let head = format!("GET / HTTP/1.1\r\n{}\r\n", "A: bcdefghij\r\n".repeat(50));
    for byte in head.bytes() {
        host.happens(&c([byte]));
    }
    host.flush();
    assert_eq!(host.said.len(), 2);
    assert!(host.shown < 60 * head.len() as u64, "{} bytes shown", host.shown);
}

#[test]
fn one_batch_may_hold_request_and_response() {
    let manner = Manner { events_per_call: 2, ..Manner::default() };
    let records = said(manner, &[c(GET), s("HTTP/1.1 204 No Content\r\n\r\n")]);
    let events: Vec<u32> = records.iter().map(|one| one.record.event).collect();
    assert_eq!(events, [0, 0, 1, 1]);
}
