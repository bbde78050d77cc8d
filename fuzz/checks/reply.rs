//! What must hold for any reply of a guest: the check ends without a panic, and what it accepts keeps every promise on which
//! the rest of picotap relies.

use std::cell::RefCell;

use picotap::abi::{self, Verdict, kind};
use picotap::batch::Slot;
use picotap::sandbox::call::{Allowed, Bounds, Call, Cursor, Encoded, INPUT_BYTES, Location, OUTPUT_BYTES, RowInput};
use picotap::sandbox::memory::{self, Checked, Meaning, Reply};
use zerocopy::{FromBytes, IntoBytes};

/// The items of a table that the input can change.
const ITEMS: usize = 40;

struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
    checked: Checked,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers {
        input: vec![0; INPUT_BYTES as usize],
        output: vec![0; OUTPUT_BYTES as usize],
        checked: Checked::default(),
    });
}

/// Takes bytes off the front of the input: zeros when it is empty.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    fn number(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }
}

/// A call with a few rows and events.
fn call(source: &mut Source<'_>, input: &mut [u8]) -> Call {
    let shape = source.byte();
    let records = if shape & 128 == 0 { 4096 } else { 8 };
    let mut call = Call::new(Bounds { records, pairs: 128, ..Bounds::default() });
    call.bodies = if shape & 64 == 0 { 0 } else { 20 };
    call.protocols = ["http1", "two", "three"].map(|name| name.parse().expect("a name")).to_vec();
    let rows = 1 + u32::from(shape & 3);
    for _ in 0..rows {
        let bits = source.byte();
        let extra_size = [0, 1024, 4096, 65536][usize::from(bits >> 6)];
        let row = RowInput {
            block: &[0; abi::BLOCK_SIZE],
            extra: if extra_size == 0 { &[] } else { &[7; 100] },
            extra_size,
            opener: 0,
            flags: 0,
            depth: 0,
            handed_by: 0,
            allowed: Allowed {
                grow: bits & 1 != 0,
                hand_over: bits & 2 != 0,
                just_handed_over: bits & 4 != 0,
                inner: bits & 8 != 0,
                protocol: bits >> 4 & 3,
            },
        };
        call.row(input, &row);
    }
    for index in 0..1 + u32::from(shape >> 2 & 7) {
        let (bits, len) = (source.byte(), u32::from(source.byte()));
        let kind = [kind::BYTES, kind::BYTES, kind::VOID, kind::END][usize::from(bits >> 4 & 3)];
        let len = if kind == kind::BYTES { 1 + len * if bits & 128 == 0 { 1 } else { 300 } } else { 0 };
        let event = abi::Event {
            row: u32::from(bits & 3) % rows,
            side: bits >> 2 & 1,
            kind,
            flags: bits >> 3 & 1 << 1,
            offset: u64::from(index) * 100,
            length: if kind == kind::VOID { 50 } else { 0 },
            ..abi::Event::default()
        };
        if !call.has_room(len as usize, 0, 0) {
            break;
        }
        let location = Location::Joined(u32::try_from(call.joined.len()).expect("small"));
        call.joined.extend((0..len).map(|_| b'x'));
        let encoded = Encoded {
            event,
            slot_row: event.row,
            after: Cursor::default(),
            location,
            first_mark: 0,
            num_marks: 1,
            took_waiting: false,
            first_of_row: false,
        };
        call.event(input, encoded, len, &Slot::default());
    }
    call
}

fn put(buffer: &mut [u8], at: usize, bytes: &[u8]) {
    buffer[at..at + bytes.len()].copy_from_slice(bytes);
}

/// What one step of the input makes of the reply.
fn change(source: &mut Source<'_>, call: &Call, head: &abi::Input, input: &mut [u8], output: &mut [u8]) {
    let (what, index, field, value) = (source.byte(), usize::from(source.byte()), source.byte(), source.number());
    let [results, records, pairs, rows] = [head.results, head.records, head.pairs, head.rows].map(|at| at as usize);
    let item = |at: usize, size: usize| at + index % ITEMS * size + usize::from(field) * 4 % size;
    match what % 8 {
        0 => put(output, usize::from(field) * 4 % size_of::<abi::Output>(), &value.to_le_bytes()),
        1 => put(output, item(results, size_of::<abi::Result>()), &value.to_le_bytes()),
        2 => put(output, item(records, size_of::<abi::Record>()), &value.to_le_bytes()),
        3 => put(output, item(pairs, size_of::<abi::Pair>()), &value.to_le_bytes()),
        4 => {
            let at =
                rows + index % call.rows() * size_of::<abi::Row>() + usize::from(field) * 4 % size_of::<abi::Row>();
            put(input, at, &value.to_le_bytes());
        }
        // A verdict that may hold: what is behind it in its row is deferred.
        5 => {
            let index = index % call.encoded.len();
            let event = call.encoded[index].event;
            let consumed = if field & 64 == 0 { value % (event.len + 1) } else { event.len };
            let result = abi::Result { verdict: 1 + (field & 7), consumed, ..abi::Result::default() };
            put(output, results + index * size_of::<abi::Result>(), result.as_bytes());
            for (later, encoded) in call.encoded.iter().enumerate().skip(index + 1) {
                if encoded.event.row == event.row && (field & 7 >= 3 || encoded.event.side == event.side) {
                    let deferred = abi::Result { verdict: Verdict::Deferred.code(), ..abi::Result::default() };
                    put(output, results + later * size_of::<abi::Result>(), deferred.as_bytes());
                }
            }
            if field & 7 == 2 {
                put(output, 8, &(u32::try_from(index).expect("small") + 1).to_le_bytes());
            }
            let row = rows + event.row as usize * size_of::<abi::Row>();
            put(input, row + 148, &((value >> 8 & 127) * 1024).to_le_bytes());
            put(input, row + 153, &[value.to_le_bytes()[3] & 3]);
        }
        // A record that may hold.
        6 => {
            let event = u32::from(field >> 4) % u32::try_from(call.encoded.len()).expect("small");
            let [start, end, text, len] = value.to_le_bytes().map(u32::from);
            let kind = 1 + field % 12;
            let record = abi::Record {
                kind,
                side: call.encoded[event as usize].event.side,
                code: match kind {
                    2 => 200,
                    4..=6 => 1,
                    _ => 0,
                },
                event,
                number: 1,
                start: start & 15,
                end: end & 63,
                text: (text & 127) | if text & 128 == 0 { 0 } else { abi::TEXT },
                text_len: len & 15,
                ..abi::Record::default()
            };
            let index = index % ITEMS;
            put(output, records + index * size_of::<abi::Record>(), record.as_bytes());
            put(output, 12, &(u32::try_from(index).expect("small") + 1).to_le_bytes());
        }
        _ => put(output, 20, &(value & 0x7_ffff).to_le_bytes()),
    }
}

/// The input is the shape of a call, and then steps of seven bytes.
pub(crate) fn check(bytes: &[u8]) {
    BUFFERS.with_borrow_mut(|Buffers { input, output, checked }| {
        let mut source = Source(bytes);
        let mut call = call(&mut source, input);
        call.finish(input, output);
        let (head, _) = abi::Input::read_from_prefix(input).expect("it was written");
        for (at, size) in [
            (head.results, size_of::<abi::Result>()),
            (head.records, size_of::<abi::Record>()),
            (head.pairs, size_of::<abi::Pair>()),
        ] {
            output[at as usize..][..ITEMS * size].fill(0);
        }
        let done = u32::try_from(call.encoded.len()).expect("small");
        let start = abi::Output { abi_version: abi::VERSION, events_done: done, ..abi::Output::default() };
        put(output, 0, start.as_bytes());
        for (index, encoded) in call.encoded.iter().enumerate() {
            let result = abi::Result { verdict: 1, consumed: encoded.event.len, ..abi::Result::default() };
            put(output, head.results as usize + index * size_of::<abi::Result>(), result.as_bytes());
        }
        for _ in 0..100 {
            if source.0.is_empty() {
                break;
            }
            change(&mut source, &call, &head, input, output);
        }
        // Whatever the guest says of it, no more than this is read.
        let _hint: usize = memory::alleged_event(output);
        for row in 0..=u32::try_from(call.rows()).expect("small") {
            assert!(call.extra_after(input, row).len() <= abi::MAX_EXTRA as usize);
        }
        match memory::check(&call, input, output, checked) {
            Ok(reply) => accepted(&call, &head, input, &reply),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    });
}

/// The promises of a reply that was accepted.
fn accepted(call: &Call, head: &abi::Input, input: &[u8], reply: &Reply<'_>) {
    let answers = reply.answers;
    assert!(!answers.is_empty() && answers.len() <= call.encoded.len());
    let last = answers.last().expect("at least one").verdict;
    assert!(answers.len() == call.encoded.len() || last == Verdict::OutputFull);
    let mut waits = [[false; 2]; 4];
    let mut turned = [false; 4];
    for (index, (answer, encoded)) in answers.iter().zip(&call.encoded).enumerate() {
        let event = &encoded.event;
        let (row, side) = (event.row as usize, usize::from(event.side));
        let is_bytes = event.kind == kind::BYTES;
        let rest = event.len.checked_sub(answer.consumed).expect("no more is consumed than there is");
        assert_eq!(answer.verdict == Verdict::Deferred, turned[row] || waits[row][side], "{index}");
        assert!(answer.skip == 0 || answer.verdict == Verdict::Done);
        assert!(answer.wake.is_none() || answer.verdict == Verdict::NeedMore);
        match answer.verdict {
            Verdict::Done => {
                assert_eq!(rest, 0);
                let end = event.offset + u64::from(event.len) + event.length;
                assert!(answer.skip == 0 || (answer.skip > end && event.kind != kind::END));
            }
            Verdict::NeedMore => {
                assert!(is_bytes && event.flags & abi::event_flag::FINAL == 0 && (1..=65536).contains(&rest));
                waits[row][side] = true;
            }
            Verdict::OutputFull => {
                assert_eq!(index + 1, answers.len());
                assert!(rest > 0 || !is_bytes);
            }
            Verdict::Deferred => {
                assert_eq!(answer.consumed, 0);
                turned[row] = true;
            }
            Verdict::Grow => {
                let bits = Call::row_after(input, event.row).expect("a row");
                assert!(is_bytes && rest > 0 && answer.grow > bits.extra_size.min(answer.grow - 1));
                assert!(answer.grow.is_multiple_of(abi::EXTRA_UNIT) && (1..=abi::MAX_EXTRA).contains(&answer.grow));
                turned[row] = true;
            }
            Verdict::HandOver => {
                assert!(is_bytes && usize::from(answer.hand_to) < call.protocols.len());
                turned[row] = true;
            }
            Verdict::Inner => {
                assert!(is_bytes);
                let mut tunnels = reply.records().filter(|record| matches!(record.meaning, Meaning::Tunnel(_)));
                assert!(tunnels.any(|record| record.fields.event as usize == index));
                turned[row] = true;
            }
        }
    }
    let (mut before, mut area_before) = (0, 0);
    assert!(reply.records().len() <= head.max_records as usize && reply.pairs.len() <= head.max_pairs as usize);
    for record in reply.records() {
        let fields = record.fields;
        assert!(fields.event >= before && fields.side < 2 && fields.reserved == 0);
        before = fields.event;
        let answer = &answers[fields.event as usize];
        assert!(answer.verdict != Verdict::Deferred && fields.start <= fields.end && fields.end <= answer.consumed);
        let texts = !matches!(
            record.meaning,
            Meaning::End | Meaning::NotHttp(_) | Meaning::Error(_) | Meaning::Reset | Meaning::Body
        );
        if record.meaning == Meaning::Body {
            let len = u64::from(fields.end - fields.start);
            assert!(len > 0 && fields.decoded + len <= u64::from(call.bodies));
        }
        if !texts {
            assert_eq!(fields.num_pairs, 0);
            continue;
        }
        let pairs = &reply.pairs[fields.first_pair as usize..][..fields.num_pairs as usize];
        assert!(pairs.len() <= abi::MAX_HEADERS as usize);
        let all = [(fields.text, fields.text_len), (fields.target, fields.target_len)].into_iter();
        let all = all.chain(pairs.iter().flat_map(|p| [(p.name, p.name_len), (p.value, p.value_len)]));
        for (position, len) in all.filter(|(_, len)| *len > 0) {
            if position & abi::TEXT == 0 {
                assert!(position >= fields.start && position + len <= fields.end);
            } else {
                let start = position & !abi::TEXT;
                assert!(start >= area_before && start as usize + len as usize <= reply.text.len());
                area_before = start + len;
            }
        }
    }
    for row in 0..u32::try_from(call.rows()).expect("small") {
        let used = Call::row_after(input, row).expect("a row").extra_used;
        assert_eq!(call.extra_after(input, row).len(), used as usize);
    }
}
