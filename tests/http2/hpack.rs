//! HPACK (RFC 7541): any block that an encoder writes decodes to the fields that it was given; what refers to entries that were
//! not seen is absent, and never anything else.

use std::ops::Range;

use httlib_hpack::Encoder;
use picotap::abi::flag;
use picotap::stream::Side::First;

use crate::feed::Feed;
use crate::nghttp2::{Deflater, Nghttp2};
use crate::support::random::Random;
use crate::wire::{Blocks, END_HEADERS, END_STREAM, Field, HEADERS, PREFACE, field, frame};

const NAMES: &[&str] = &[
    "accept",
    "cookie",
    "user-agent",
    "x-request-id",
    "content-type",
    "traceparent",
    "a",
    "via",
    "x-forwarded-for",
    "cache-control",
    "referer",
    "x-a-name-that-is-so-long-that-nobody-would-choose-it-for-a-header-field",
];

/// A value: one of a few, which are then indexed, or a new one of any bytes.
fn value(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0..4 => format!("value-{}", random.below(30)).into_bytes(),
        4 => Vec::new(),
        5 => {
            let len = random.below(600) as usize;
            random.bytes(len)
        }
        6 if random.one_in(20) => vec![b'x'; 3000 + random.below(3000) as usize],
        _ => format!("/path/{:x}/{}", random.next(), random.below(10)).into_bytes(),
    }
}

/// A head: the pseudo-header fields, then others.
fn head(random: &mut Random) -> Vec<Field> {
    let paths = ["/", "/index.html", "/a/b", "/c?d=e"];
    let mut fields = vec![field(":method", random.pick::<&str>(&["GET", "POST", "PATCH", "DELETE"]))];
    let path = random.pick(&paths);
    fields.push(field(
        ":path",
        &format!("{path}{}", if random.one_in(2) { String::new() } else { random.below(9).to_string() }),
    ));
    fields.push(field(":scheme", random.pick::<&str>(&["http", "https"])));
    for _ in 0..random.below(8) {
        fields.push((random.pick::<&str>(NAMES).as_bytes().to_vec(), value(random)));
    }
    fields
}

/// Encodes the heads of a connection, one after the other.
trait Encode {
    fn encode(&mut self, random: &mut Random, fields: &[Field]) -> Vec<u8>;
}

/// In one of all the ways that there are.
impl Encode for Encoder<'static> {
    fn encode(&mut self, random: &mut Random, fields: &[Field]) -> Vec<u8> {
        let mut block = Vec::new();
        if random.one_in(50) {
            let size = *random.pick(&[0, 64, 100, 500, 1000, 4096]);
            self.update_max_dynamic_size(size, &mut block).unwrap();
        }
        for (name, value) in fields {
            let mut flags = *random.pick(&[0, Self::WITH_INDEXING, Self::WITH_INDEXING, Self::NEVER_INDEXED]);
            flags |= *random.pick(&[0, Self::BEST_FORMAT, Self::BEST_FORMAT]);
            flags |= *random.pick(&[0, Self::HUFFMAN_NAME]) | *random.pick(&[0, Self::HUFFMAN_VALUE]);
            Self::encode(self, (name.clone(), value.clone(), flags), &mut block).unwrap();
        }
        block
    }
}

/// As most programs on the web do.
impl Encode for Deflater<'_> {
    fn encode(&mut self, random: &mut Random, fields: &[Field]) -> Vec<u8> {
        if random.one_in(50) {
            self.resize(*random.pick(&[0, 64, 100, 500, 1000, 4096]));
        }
        let secret = random.below(2 * fields.len() as u64) as usize;
        self.block(fields, secret)
    }
}

/// What is left of a head when its method and target are taken out.
fn others(fields: &[Field]) -> Vec<Field> {
    fields.iter().filter(|(name, _)| name != b":method" && name != b":path").cloned().collect()
}

fn text<'a>(fields: &'a [Field], wanted: &str) -> &'a [u8] {
    fields.iter().find(|(name, _)| name == wanted.as_bytes()).map_or(&[], |(_, value)| value)
}

/// Whether `some` are in `all`, in the same order.
fn is_part(some: &[Field], all: &[Field]) -> bool {
    let mut rest = all.iter();
    some.iter().all(|one| rest.any(|other| other == one))
}

/// Encodes so many heads and feeds them from block `join` on. Returns how many fields were absent, of how many.
fn run(seed: u64, blocks: usize, join: usize) -> (usize, usize) {
    run_with(&mut Encoder::with_dynamic_size(4096), seed, blocks, join)
}

fn run_with(encoder: &mut dyn Encode, seed: u64, blocks: usize, join: usize) -> (usize, usize) {
    let mut random = Random::new(seed);
    let mut feed = Feed::new();
    let mut heads = Vec::new();
    feed.bytes(First, PREFACE);
    if join != 0 {
        feed.slot().gap(First, 100);
    }
    for number in 0..blocks {
        let fields = head(&mut random);
        let block = encoder.encode(&mut random, &fields);
        if number < join {
            continue;
        }
        let stream = 2 * number as u32 + 1;
        // Where frames were lost, the first one must be proven by what follows it.
        let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
        bytes.extend(frame(3, 0, stream, [0, 0, 0, 8]));
        feed.bytes(First, bytes);
        heads.push((stream, fields));
        if number % 64 == 0 {
            feed.slot();
        }
    }
    feed.close();
    assert_eq!(feed.notes.requests.len(), heads.len());
    let (mut absent, mut all) = (0, 0);
    for (had, (stream, fields)) in feed.notes.requests.iter().zip(&heads) {
        assert_eq!(had.stream, *stream);
        let unknown = had.flags & flag::HPACK_UNKNOWN != 0;
        let wanted = others(fields);
        all += fields.len();
        if unknown {
            assert!(join != 0, "seed {seed}: everything was seen");
            assert!(had.method.is_empty() || had.method == text(fields, ":method"), "seed {seed}, stream {stream}");
            assert!(had.target.is_empty() || had.target == text(fields, ":path"), "seed {seed}, stream {stream}");
            assert!(is_part(&had.fields, &wanted), "seed {seed}, stream {stream}: {:?} {wanted:?}", had.fields);
            let there = had.fields.len() + usize::from(!had.method.is_empty()) + usize::from(!had.target.is_empty());
            assert!(there < fields.len(), "seed {seed}, stream {stream}: nothing is absent");
            absent += fields.len() - there;
            continue;
        }
        assert_eq!(had.method, text(fields, ":method"), "seed {seed}, stream {stream}");
        assert_eq!(had.target, text(fields, ":path"), "seed {seed}, stream {stream}");
        assert_eq!(had.fields, wanted, "seed {seed}, stream {stream}");
    }
    (absent, all)
}

#[test]
fn every_block_of_a_connection_decodes_to_its_fields() {
    for seed in 0..10 {
        run(seed, 500, 0);
    }
}

#[test]
#[ignore = "soak: a million blocks"]
fn a_million_blocks_decode_to_their_fields() {
    for seed in 0..1000 {
        run(1000 + seed, 1000, 0);
    }
}

/// With nghttp2: its blocks, which its own decoder reads too, and those of the other encoder, which both decoders read.
fn run_with_nghttp2(seeds: Range<u64>, blocks: usize) {
    let Some(library) = Nghttp2::load() else { return };
    for seed in seeds {
        run_with(&mut library.deflater(), seed, blocks, 0);
        let join = 1 + seed as usize % blocks;
        run_with(&mut library.deflater(), seed, join + 60, join);
        let (mut random, mut encoder) = (Random::new(seed), Encoder::with_dynamic_size(4096));
        let mut inflater = library.inflater();
        for _ in 0..blocks {
            let fields = head(&mut random);
            let block = Encode::encode(&mut encoder, &mut random, &fields);
            assert_eq!(inflater.fields(&block), fields, "seed {seed}: the encoder that judges us is right");
        }
    }
}

#[test]
fn nghttp2_agrees() {
    run_with_nghttp2(0..10, 300);
}

#[test]
#[ignore = "soak: a million blocks"]
fn nghttp2_agrees_on_a_million_blocks() {
    run_with_nghttp2(1000..2000, 1000);
}

#[test]
fn whatever_block_is_the_first_that_is_seen_nothing_is_wrong() {
    for join in 1..100 {
        run(join as u64, join + 60, join);
    }
}

#[test]
#[ignore = "soak: a million blocks"]
fn joined_at_a_thousand_blocks_nothing_is_wrong() {
    for join in 1..1000 {
        run(5000 + join as u64, join + 1000, join);
    }
}

/// What a browser sends again and again, and values that are new each time. Fields that are indexed before the join and never sent again
/// as text stay unknown; a client whose table turns over does not keep any for long.
#[test]
fn a_client_that_was_joined_becomes_known() {
    let mut blocks = Blocks::new();
    let mut feed = Feed::new();
    feed.bytes(First, PREFACE).slot().gap(First, 1);
    let (mut absent, mut all) = (0, 0);
    for number in 0..1100 {
        let path = format!("/assets/{number}/{}", "x".repeat(number % 40));
        let referer = format!("https://a.example/page/{}", number / 10);
        let cookie = format!("session={:032x}; n={number}", 77);
        let fields = [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a.example"),
            (":path", &path),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
            ("accept", "*/*"),
            ("accept-language", "en-US,en;q=0.5"),
            ("accept-encoding", "gzip, deflate, br, zstd"),
            ("referer", &referer),
            ("cookie", &cookie),
            ("te", "trailers"),
        ];
        let bytes = blocks.head(2 * number as u32 + 1, END_STREAM, &fields);
        if number >= 100 {
            feed.bytes(First, bytes).slot();
            let had = feed.notes.requests.last().map_or(0, |head| head.fields.len() + 2);
            (absent, all) = (absent + fields.len() - had, all + fields.len());
        }
    }
    feed.close();
    assert_eq!(feed.notes.requests.len(), 1000);
    assert!(absent * 100 <= all * 15, "{absent} of {all} fields are unknown");
}

/// The examples of RFC 7541, appendices C.3 and C.4: three requests on one connection, without and with Huffman code.
#[test]
fn the_examples_of_the_rfc_decode() {
    let plain: [&[u8]; 3] = [
        b"\x82\x86\x84\x41\x0fwww.example.com",
        b"\x82\x86\x84\xbe\x58\x08no-cache",
        b"\x82\x87\x85\xbf\x40\x0acustom-key\x0ccustom-value",
    ];
    let coded: [&[u8]; 3] = [
        b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
        b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
        b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
    ];
    for blocks in [plain, coded] {
        let mut feed = Feed::new();
        feed.bytes(First, PREFACE);
        for (stream, block) in [1, 3, 5].into_iter().zip(blocks) {
            feed.bytes(First, frame(HEADERS, END_HEADERS, stream, block));
        }
        feed.close();
        let said = [
            "0:1 GET / :scheme=http :authority=www.example.com",
            "0:3 GET / :scheme=http :authority=www.example.com cache-control=no-cache",
            "0:5 GET /index.html :scheme=https :authority=www.example.com custom-key=custom-value",
        ];
        assert_eq!(feed.said(), said);
    }
}

#[test]
fn malformed_blocks_give_what_comes_before_and_leave_the_table_unknown() {
    let bad: [&[u8]; 7] = [
        b"\x80",                         // index 0
        b"\x40\x0acustom",               // a name that is cut off
        b"\x40\x82\xff\xff\x00",         // padding of eight ones and more
        b"\x40\x81\x00\x00",             // padding that is not all ones
        b"\x40\x84\xff\xff\xff\xff\x00", // EOS
        b"\xff\xff\xff\xff\xff\x7f",     // a number that is too large
        b"\x44",                         // a value that is not there
    ];
    for block in bad {
        let mut feed = Feed::new();
        let good = b"\x82\x86\x84\x41\x0fwww.example.com";
        feed.bytes(First, PREFACE).bytes(First, frame(HEADERS, END_HEADERS, 1, good));
        feed.bytes(First, frame(HEADERS, END_HEADERS, 3, [b"\x82\x84\xbe", block].concat()));
        feed.bytes(First, frame(HEADERS, END_HEADERS, 5, b"\x82\x86\x84\xbe"));
        feed.close();
        let said = [
            "0:1 GET / :scheme=http :authority=www.example.com",
            "0:3 GET / :authority=www.example.com [0x10000000]",
            "0:5 GET / :scheme=http [0x80000000]",
        ];
        assert_eq!(feed.said(), said, "{block:?}");
    }
}

#[test]
fn a_table_of_64_kib_is_kept_as_far_as_there_is_room() {
    let mut random = Random::new(7);
    let mut blocks = Blocks::new();
    let mut feed = Feed::new();
    feed.bytes(First, PREFACE);
    let mut grown = Vec::new();
    blocks.0.update_max_dynamic_size(65536, &mut grown).unwrap();
    let names: Vec<String> = (0..500).map(|number| format!("x-{number:03}")).collect();
    for (number, name) in names.iter().enumerate() {
        let value = format!("{:016x}", random.next());
        let fields = [(":method", "GET"), (":path", "/"), (name, &value)];
        let mut block = std::mem::take(&mut grown);
        block.extend(blocks.block(&fields));
        let stream = 2 * number as u32 + 1;
        feed.bytes(First, frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
            .bytes(First, frame(3, 0, stream, [0; 4]));
    }
    // All of them again, by their indices: the oldest is the last.
    for number in 0..500_u32 {
        let behind = 62 + number;
        let index = match behind.checked_sub(127) {
            None => vec![0x80 | behind as u8],
            Some(rest) if rest < 128 => vec![0xff, rest as u8],
            Some(rest) => vec![0xff, 0x80 | (rest & 127) as u8, (rest >> 7) as u8],
        };
        let block = [&[0x82, 0x84], &index[..]].concat();
        feed.bytes(First, frame(HEADERS, END_HEADERS | END_STREAM, 2001 + 2 * number, block));
    }
    feed.close();
    for (head, name) in feed.notes.requests[500..].iter().zip(names.iter().rev()) {
        assert_eq!((head.flags, head.fields.len(), &head.fields[0].0[..]), (0, 1, name.as_bytes()));
    }
}
