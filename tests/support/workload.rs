//! A workload is the traffic of many keep-alive connections at once, large enough to measure with, and known to the last
//! byte: its transactions can be listed without reading the capture.
//!
//! Each connection is a client with an address and a port of its own that asks the same server twenty things, one after
//! the other. At every step one of the connections, picked at random, sends the next part of its story: its handshake,
//! a request, an answer with its acknowledgement, its end. So neighbouring packets nearly always belong to different
//! connections, and whatever a reader remembers of a connection is cold when its next packet comes.
//!
//! Standard library only: `examples/generate.rs` writes the capture files that the benchmarks read.

use std::io::{self, Write};

#[derive(Debug, Clone, Copy)]
pub struct Workload {
    pub connections: u32,
    /// Transactions on each connection.
    pub each: u32,
    /// Bytes of a response body on average.
    pub body: u32,
    pub seed: u64,
}

/// Bodies of 2 kB on average: about 570 MB in 775,000 packets.
pub const A: Workload = Workload { connections: 10_000, each: 20, body: 2000, seed: 1 };
/// Bodies of 100 bytes on average: about 180 MB in 460,000 packets.
pub const B: Workload = Workload { connections: 10_000, each: 20, body: 100, seed: 2 };

/// Flags of TCP.
const SYN: u8 = 2;
const ACK: u8 = 16;

/// Payload of a segment on an Ethernet of 1500 bytes.
const MSS: usize = 1460;
/// 2026-01-02T03:04:05Z in microseconds.
const START: u64 = 1_767_323_045_000_000;
const SERVER: ([u8; 4], u16) = ([10, 0, 0, 80], 80);

/// What one transaction is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub method: &'static str,
    pub target: String,
    pub status: u16,
    /// Body bytes of request and response, without chunk framing.
    pub request_body: u32,
    pub response_body: u32,
    pub chunked: bool,
}

impl Workload {
    /// Address and port of a connection's client.
    pub const fn client(&self, connection: u32) -> ([u8; 4], u16) {
        let host = connection % 2000;
        ([10, 1, (host >> 8) as u8, host as u8], 20_000 + (connection / 2000) as u16)
    }

    /// The longest body of a response. Three answers in twenty have none, and the rest makes up for it.
    const fn longest(&self) -> u32 {
        self.body * 2 * 20 / 17
    }

    /// The `n`-th transaction (from 0) of a connection.
    pub fn plan(&self, connection: u32, n: u32) -> Plan {
        let dice = mix(self.seed ^ (u64::from(connection) << 32 | u64::from(n)));
        let body = (mix(dice) % (u64::from(self.longest()) + 1)) as u32;
        let target = format!("/shop/{}/item/{n}?page={}&visitor={dice:016x}", connection, dice % 97);
        let (method, status, request_body, response_body, chunked) = match dice % 20 {
            0 => ("HEAD", 200, 0, 0, false),
            1 => ("GET", 304, 0, 0, false),
            2 => ("POST", 201, 40 + body % 100, body, false),
            3 => ("PUT", 204, 40 + body % 100, 0, false),
            4 => ("GET", 404, 0, body, false),
            5 => ("GET", 500, 0, body, false),
            6 | 7 => ("GET", 200, 0, body, true),
            _ => ("GET", 200, 0, body, false),
        };
        Plan { method, target, status, request_body, response_body, chunked }
    }

    /// Writes the capture (pcap, microseconds, little-endian, Ethernet). Gives the number of packets and of bytes.
    pub fn write(&self, out: &mut impl Write) -> io::Result<(u64, u64)> {
        self.write_over(out, |_| None)
    }

    /// The same with something between TCP and HTTP, such as TLS, which `layer` gives for each connection.
    pub fn write_over(
        &self,
        out: &mut impl Write,
        layer: impl Fn(u32) -> Option<Box<dyn Layer>>,
    ) -> io::Result<(u64, u64)> {
        self.interleave(out, |state, writer| {
            if state.step == 0 {
                state.layer = layer(state.number);
            }
            let goes_on = state.step(self, writer)?;
            if !goes_on {
                state.layer = None;
            }
            Ok(goes_on)
        })
    }

    /// The same with another story: `round` gives what a connection says in each of its rounds, from 0; nothing: it ends.
    pub fn write_rounds(
        &self,
        out: &mut impl Write,
        mut round: impl FnMut(u32, u32) -> Talk,
    ) -> io::Result<(u64, u64)> {
        self.interleave(out, |state, writer| state.round(self, writer, &mut round))
    }

    /// Takes a step of one connection after the other, at random, until all have ended: until `step` says false of them.
    fn interleave<W: Write>(
        &self,
        out: &mut W,
        mut step: impl FnMut(&mut State, &mut Writer<'_, W>) -> io::Result<bool>,
    ) -> io::Result<(u64, u64)> {
        let mut writer = Writer::new(self, out)?;
        let mut states: Vec<State> = (0..self.connections).map(|number| State::new(self, number)).collect();
        let mut open: Vec<u32> = (0..self.connections).collect();
        let mut dice = self.seed;
        while !open.is_empty() {
            dice = dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let index = ((u128::from(mix(dice)) * open.len() as u128) >> 64) as usize;
            if !step(&mut states[open[index] as usize], &mut writer)? {
                open.swap_remove(index);
            }
        }
        Ok((writer.packets, writer.bytes))
    }
}

/// What both ends put between TCP and HTTP. It gives what is sent.
pub trait Layer {
    fn begin(&mut self) -> Talk;
    fn say(&mut self, side: usize, text: &[u8]) -> Talk;
    fn end(&mut self) -> Talk;
}

/// What a connection says in a step: side (0: the client) and bytes of each segment.
pub type Talk = Vec<(usize, Vec<u8>)>;

/// SplitMix64's mixing function.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How far a connection is: step 0 is its handshake, then request and answer in turn, then its end.
struct State {
    number: u32,
    step: u32,
    /// Next sequence number of client and server.
    seq: [u32; 2],
    layer: Option<Box<dyn Layer>>,
}

impl State {
    fn new(workload: &Workload, number: u32) -> Self {
        let isn = mix(workload.seed.wrapping_mul(31) ^ u64::from(number));
        Self { number, step: 0, seq: [isn as u32, (isn >> 32) as u32], layer: None }
    }

    /// Takes the next step. Returns whether the connection continues.
    fn step(&mut self, workload: &Workload, w: &mut Writer<impl Write>) -> io::Result<bool> {
        let step = self.step;
        self.step += 1;
        if step == 0 {
            self.open(w, workload)?;
            let begun = self.layer.as_mut().map(|layer| layer.begin());
            self.flights(w, workload, begun.unwrap_or_default())?;
            return Ok(true);
        }
        let n = (step - 1) / 2;
        if n == workload.each {
            let ended = self.layer.as_mut().map(|layer| layer.end());
            self.flights(w, workload, ended.unwrap_or_default())?;
            self.close(w, workload)?;
            return Ok(false);
        }
        let plan = workload.plan(self.number, n);
        let mut text = std::mem::take(&mut w.text);
        text.clear();
        let side = usize::from(step.is_multiple_of(2));
        if side == 0 {
            request(&plan, w.pool, &mut text)
        } else {
            response(&plan, w.pool, &mut text)
        }
        if let Some(layer) = &mut self.layer {
            let said = layer.say(side, &text);
            self.flights(w, workload, said)?;
        } else {
            self.send(w, workload, side, &text)?;
        }
        // An answer of one segment is acknowledged by the next request.
        if side == 1 && text.len() > MSS {
            self.packet(w, workload, 0, ACK, &[])?;
        }
        w.text = text;
        Ok(true)
    }

    fn round(
        &mut self,
        workload: &Workload,
        w: &mut Writer<impl Write>,
        round: &mut impl FnMut(u32, u32) -> Talk,
    ) -> io::Result<bool> {
        if self.step == 0 {
            self.open(w, workload)?;
        }
        let talk = round(self.number, self.step);
        self.step += 1;
        let goes_on = !talk.is_empty();
        self.flights(w, workload, talk)?;
        if !goes_on {
            self.close(w, workload)?;
        }
        Ok(goes_on)
    }

    fn open(&mut self, w: &mut Writer<impl Write>, workload: &Workload) -> io::Result<()> {
        self.packet(w, workload, 0, SYN, &[])?;
        self.packet(w, workload, 1, SYN | ACK, &[])?;
        self.packet(w, workload, 0, ACK, &[])
    }

    fn close(&mut self, w: &mut Writer<impl Write>, workload: &Workload) -> io::Result<()> {
        self.packet(w, workload, 0, ACK | 1, &[])?;
        self.packet(w, workload, 1, ACK | 1, &[])?;
        self.packet(w, workload, 0, ACK, &[])
    }

    fn flights(&mut self, w: &mut Writer<impl Write>, workload: &Workload, flights: Talk) -> io::Result<()> {
        flights.iter().try_for_each(|(side, bytes)| self.send(w, workload, *side, bytes))
    }

    fn send(&mut self, w: &mut Writer<impl Write>, workload: &Workload, side: usize, bytes: &[u8]) -> io::Result<()> {
        bytes.chunks(MSS).try_for_each(|piece| self.packet(w, workload, side, ACK | 8, piece))
    }

    fn packet(
        &mut self,
        w: &mut Writer<impl Write>,
        workload: &Workload,
        side: usize,
        flags: u8,
        payload: &[u8],
    ) -> io::Result<()> {
        let (client, seq) = (workload.client(self.number), self.seq);
        let acked = if flags & 16 == 0 { 0 } else { seq[1 - side] };
        let ends = if side == 0 { (client, SERVER) } else { (SERVER, client) };
        self.seq[side] = seq[side].wrapping_add(payload.len() as u32 + u32::from(flags & 3 != 0));
        w.packet(ends.0, ends.1, seq[side], acked, flags, payload)
    }
}

fn request(plan: &Plan, pool: &[u8], out: &mut Vec<u8>) {
    let head = format!(
        "{} {} HTTP/1.1\r\nHost: shop.example.test\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 \
         Firefox/128.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: \
         en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nCookie: \
         session=0123456789abcdef0123456789abcdef\r\nConnection: keep-alive\r\n",
        plan.method, plan.target
    );
    out.extend(head.as_bytes());
    if plan.request_body > 0 {
        out.extend(format!("Content-Length: {}\r\n", plan.request_body).as_bytes());
    }
    out.extend(b"\r\n");
    out.extend(&pool[..plan.request_body as usize]);
}

fn response(plan: &Plan, pool: &[u8], out: &mut Vec<u8>) {
    let reason = match plan.status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        304 => "Not Modified",
        404 => "Not Found",
        _ => "Internal Server Error",
    };
    let head = format!(
        "HTTP/1.1 {} {reason}\r\nServer: nginx/1.22.1\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\nContent-Type: text/html; \
         charset=utf-8\r\nETag: \"{:x}\"\r\nCache-Control: max-age=3600, must-revalidate\r\nVary: Accept-Encoding\r\n",
        plan.status, plan.response_body
    );
    out.extend(head.as_bytes());
    let body = plan.response_body as usize;
    match plan.status {
        204 | 304 => out.extend(b"\r\n"),
        _ if plan.chunked => {
            out.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in pool[..body].chunks(1000) {
                out.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
                out.extend(chunk);
                out.extend(b"\r\n");
            }
            out.extend(b"0\r\n\r\n");
        }
        _ => {
            out.extend(format!("Content-Length: {body}\r\n\r\n").as_bytes());
            out.extend(&pool[..body]);
        }
    }
}

struct Writer<'a, W> {
    out: &'a mut W,
    frame: Vec<u8>,
    text: Vec<u8>,
    pool: &'static [u8],
    packets: u64,
    bytes: u64,
}

impl<'a, W: Write> Writer<'a, W> {
    fn new(workload: &Workload, out: &'a mut W) -> io::Result<Self> {
        let mut header = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        header.extend(262_144u32.to_le_bytes());
        header.extend(1u32.to_le_bytes());
        out.write_all(&header)?;
        // Bodies are of all bytes: nothing that a reader could take for HTTP, and nothing that compresses.
        let len = workload.longest() as usize + 200;
        let pool: Vec<u8> = (0..len as u64).map(|i| mix(workload.seed ^ (i << 20)) as u8).collect();
        Ok(Self { out, frame: vec![], text: vec![], pool: pool.leak(), packets: 0, bytes: header.len() as u64 })
    }

    fn packet(
        &mut self,
        from: ([u8; 4], u16),
        to: ([u8; 4], u16),
        seq: u32,
        ack: u32,
        flags: u8,
        payload: &[u8],
    ) -> io::Result<()> {
        let frame = &mut self.frame;
        frame.clear();
        // Thirteen microseconds a packet: 75,000 packets a second.
        let time = START + self.packets * 13;
        let length = 54 + payload.len() as u32;
        for word in [(time / 1_000_000) as u32, (time % 1_000_000) as u32, length, length] {
            frame.extend(word.to_le_bytes());
        }
        frame.extend([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
        let ip = frame.len();
        frame.extend([0x45, 0]);
        frame.extend((40 + payload.len() as u16).to_be_bytes());
        frame.extend((self.packets as u16).to_be_bytes());
        frame.extend([0x40, 0, 64, 6, 0, 0]);
        frame.extend(from.0);
        frame.extend(to.0);
        let tcp = frame.len();
        frame.extend(from.1.to_be_bytes());
        frame.extend(to.1.to_be_bytes());
        frame.extend(seq.to_be_bytes());
        frame.extend(ack.to_be_bytes());
        frame.extend([0x50, flags, 0xfa, 0xf0, 0, 0, 0, 0]);
        frame.extend(payload);
        let check = !fold(sum(&frame[ip..tcp]));
        frame[ip + 10..ip + 12].copy_from_slice(&check.to_be_bytes());
        let pseudo = sum(&frame[ip + 12..ip + 20]) + 6 + u64::from(20 + payload.len() as u32);
        let check = !fold(pseudo + sum(&frame[tcp..]));
        frame[tcp + 16..tcp + 18].copy_from_slice(&check.to_be_bytes());
        self.packets += 1;
        self.bytes += frame.len() as u64;
        self.out.write_all(frame)
    }
}

/// Sum of 16-bit words (RFC 1071), four bytes at a time.
fn sum(bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(4);
    let total: u64 = chunks.by_ref().map(|w| u64::from(u32::from_be_bytes([w[0], w[1], w[2], w[3]]))).sum();
    let rest = chunks.remainder();
    let at = |i: usize| rest.get(i).copied().unwrap_or(0);
    total + u64::from(u32::from_be_bytes([at(0), at(1), at(2), at(3)]))
}

const fn fold(mut total: u64) -> u16 {
    while total >> 16 != 0 {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}
