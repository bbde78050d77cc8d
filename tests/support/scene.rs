//! A scene is what happened on a wire: conversations, their packets in the order of capture, how they were framed, and
//! the lines that must be printed.

use super::capture::{Compression, Format, Frame, Order, file};
use super::conversation::{Conversation, Sent};
use super::encapsulation::Encapsulation;
use super::line::Line;
use super::random::Random;
use super::wire::{ACK, FIN, Packet, RST, SYN, Side};

/// 2026-01-02T03:04:05Z
pub const START: i64 = 1_767_323_045_000_000_000;
/// Nanoseconds between packets.
pub const STEP: i64 = 100_000;

#[derive(Debug, Clone)]
pub struct File {
    pub name: String,
    pub format: Format,
    pub compression: Compression,
    /// Packets up to this index are in it.
    pub until: usize,
    /// Bytes cut off its end.
    pub damage: usize,
}

#[derive(Debug)]
pub struct Scene {
    /// All packets, in the order of capture.
    pub packets: Vec<Packet>,
    pub ends: Vec<[std::net::SocketAddr; 2]>,
    /// By conversation; the first for those that have none of their own.
    pub encapsulations: Vec<Encapsulation>,
    pub files: Vec<File>,
    pub lines: Vec<Line>,
    pub args: Vec<String>,
    pub exit: i32,
    pub step: i64,
    conversations: usize,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            packets: vec![],
            ends: vec![],
            encapsulations: vec![Encapsulation::default()],
            files: vec![File {
                name: "capture.pcap".into(),
                format: Format::Pcap(Order::Little, false),
                compression: Compression::None,
                until: usize::MAX,
                damage: 0,
            }],
            lines: vec![],
            args: vec![],
            exit: 0,
            step: STEP,
            conversations: 0,
        }
    }
}

impl Scene {
    /// A connection from a port of its own to 10.0.0.80:80.
    pub fn connection(&mut self) -> Conversation {
        let client = format!("10.0.0.1:{}", 40001 + self.conversations);
        self.between(&client, "10.0.0.80:80")
    }

    pub fn connection_v6(&mut self) -> Conversation {
        let client = format!("[2001:db8::1]:{}", 40001 + self.conversations);
        self.between(&client, "[2001:db8::80]:80")
    }

    pub fn between(&mut self, client: &str, server: &str) -> Conversation {
        let conversation = Conversation::new(self.conversations, client, server);
        self.conversations += 1;
        self.ends.push(conversation.ends);
        conversation
    }

    /// Captures everything that a conversation has sent since it was last captured.
    pub fn capture(&mut self, conversation: &mut Conversation) {
        self.packets.append(&mut conversation.packets);
    }

    pub fn encapsulation(&mut self, encapsulation: Encapsulation) {
        self.encapsulations = vec![encapsulation];
    }

    pub fn format(&mut self, name: &str, format: Format, compression: Compression) {
        self.files[0].name = name.into();
        self.files[0].format = format;
        self.files[0].compression = compression;
    }

    /// Expects a transaction: the `seq`-th of the connection that was seen as the `conn`-th.
    pub fn line(&mut self, conn: u64, seq: u64, request: Option<&Sent>, response: Option<&Sent>) -> &mut Line {
        self.lines.push(Line::new(conn, seq, request.cloned(), response.cloned()));
        self.lines.last_mut().unwrap()
    }

    /// Expects a whole transaction.
    pub fn whole(&mut self, conn: u64, seq: u64, (request, response): &(Sent, Sent)) -> &mut Line {
        self.line(conn, seq, Some(request), Some(response))
    }

    /// Takes what several connections send, part by part and each in its order, as chance will have it.
    pub fn interleave(&mut self, mut parts: Vec<Vec<Vec<Packet>>>, random: &mut Random) {
        parts.iter_mut().for_each(|own| own.reverse());
        while !parts.is_empty() {
            let at = random.below(parts.len() as u64) as usize;
            match parts[at].pop() {
                Some(packets) => self.packets.extend(packets),
                None => drop(parts.swap_remove(at)),
            }
        }
    }

    /// Gives every packet its time: one step after the one before, plus its pause.
    pub fn stamp(&mut self) {
        let mut time = START;
        for packet in &mut self.packets {
            time += packet.pause;
            packet.time = time;
            time += self.step;
        }
    }

    /// Time of the packet that first carried a byte of a side's stream.
    pub fn carried(&self, conversation: usize, side: Side, offset: u64) -> Option<i64> {
        let holds = |p: &&Packet| {
            p.conversation == conversation
                && p.side == side
                && !p.decoy
                && p.raw.is_none()
                && p.offset <= offset
                && offset < p.offset + p.payload.len() as u64
        };
        self.packets.iter().find(holds).map(|p| p.time)
    }

    /// Time of the packet with which a conversation begins, of those that can: not a reset, nor an acknowledgement alone.
    pub fn began(&self, conversation: usize, number: usize) -> i64 {
        let begins = |p: &&Packet| {
            let data = p.flags & ACK != 0 && !p.payload.is_empty();
            let syn = p.flags & SYN != 0 && p.flags & FIN == 0;
            p.conversation == conversation && p.raw.is_none() && p.flags & RST == 0 && (syn || data)
        };
        self.packets.iter().filter(begins).nth(number).expect("a packet begins the connection").time
    }

    /// The name that is given with `--sensor`.
    pub fn sensor(&self) -> Option<&str> {
        let at = self.args.iter().position(|arg| arg == "--sensor")?;
        self.args.get(at + 1).map(String::as_str)
    }

    /// Frames of some packets.
    pub fn frames(&self, packets: &[Packet]) -> Vec<Frame> {
        let mut frames = vec![];
        for packet in packets {
            let encapsulation = self.encapsulations.get(packet.conversation).unwrap_or(&self.encapsulations[0]);
            let parts = match (&packet.raw, packet.cut) {
                (Some(raw), _) => vec![raw.clone()],
                (None, Some(cut)) => cut(&packet.bytes()).iter().map(|p| encapsulation.frame(packet.side, p)).collect(),
                (None, None) => vec![encapsulation.frame(packet.side, &packet.bytes())],
            };
            let last = parts.len() as i64 - 1;
            for (i, mut bytes) in parts.into_iter().enumerate() {
                bytes.extend(&packet.trailer);
                let original = bytes.len() as u32;
                bytes.truncate(packet.snapped.unwrap_or(usize::MAX));
                // Fragments come a microsecond apart, the last at the packet's time.
                let time = packet.time - (last - i as i64) * 1000;
                frames.push(Frame { time, link: encapsulation.link, bytes, original });
            }
        }
        frames
    }

    /// Name and bytes of each file.
    pub fn written(&self) -> Vec<(String, Vec<u8>)> {
        let mut from = 0;
        let mut out = vec![];
        for spec in &self.files {
            let until = spec.until.min(self.packets.len());
            let mut bytes = file(&self.frames(&self.packets[from..until]), spec.format, spec.compression);
            bytes.truncate(bytes.len() - spec.damage);
            out.push((spec.name.clone(), bytes));
            from = until;
        }
        out
    }

    /// The lines that must be printed, in order of time, connection and number on it.
    pub fn expected(&self) -> Vec<String> {
        let lines = self.lines.iter().map(|line| line.render(self)).collect();
        super::program::sorted(lines)
    }
}
