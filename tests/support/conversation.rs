//! A conversation is one TCP connection, played packet by packet. It knows where in the streams each message stands.

use std::net::SocketAddr;

use super::message::Message;
use super::wire::{ACK, FIN, Ip, PSH, Packet, RST, SYN, Side};

/// A message that a conversation has sent, with its offsets in its side's stream.
#[derive(Debug, Clone)]
pub struct Sent {
    pub conversation: usize,
    pub side: Side,
    pub start: u64,
    /// After the last byte of the head, and of the body.
    pub head_end: u64,
    pub end: u64,
    pub message: Message,
}

impl Sent {
    /// Whether every byte of its head is in one of these packets.
    pub fn head_survives(&self, packets: &[Packet]) -> bool {
        let mut at = self.start;
        while at < self.head_end {
            let holds = |p: &&Packet| {
                p.conversation == self.conversation
                    && p.side == self.side
                    && p.offset <= at
                    && at < p.offset + p.payload.len() as u64
            };
            match packets.iter().find(holds) {
                Some(packet) => at = packet.offset + packet.payload.len() as u64,
                None => return false,
            }
        }
        true
    }
}

#[derive(Debug, Clone)]
pub struct Conversation {
    pub number: usize,
    /// Client and server.
    pub ends: [SocketAddr; 2],
    pub isn: [u32; 2],
    /// Stream offset of the next byte that a side sends.
    pub next: [u64; 2],
    /// Whether a side's SYN and FIN take up their sequence number.
    pub syn: [bool; 2],
    pub fin: [bool; 2],
    pub mss: usize,
    pub window: [u16; 2],
    pub packets: Vec<Packet>,
}

impl Conversation {
    pub fn new(number: usize, client: &str, server: &str) -> Self {
        Self {
            number,
            ends: [client.parse().unwrap(), server.parse().unwrap()],
            isn: [1_000_000 + number as u32 * 7919, 2_000_000 + number as u32 * 104_729],
            next: [0, 0],
            syn: [true, true],
            fin: [false, false],
            mss: 1460,
            window: [64240, 65160],
            packets: vec![],
        }
    }

    /// Sequence number of a stream offset.
    pub const fn seq(&self, side: Side, offset: u64) -> u32 {
        self.isn[side.index()].wrapping_add(1).wrapping_add(offset as u32)
    }

    /// A packet as the side would send it now, without payload.
    pub fn packet(&self, side: Side, flags: u8) -> Packet {
        let (i, o) = (side.index(), side.other().index());
        let ack = self.seq(side.other(), self.next[o]).wrapping_add(u32::from(self.fin[o]));
        Packet {
            time: 0,
            pause: 0,
            conversation: self.number,
            side,
            offset: self.next[i],
            source: self.ends[i],
            destination: self.ends[o],
            seq: self.seq(side, self.next[i]).wrapping_add(u32::from(self.fin[i])),
            ack: if flags & ACK != 0 { ack } else { 0 },
            flags,
            window: self.window[i],
            urgent: 0,
            options: vec![],
            payload: vec![],
            ip: Ip { id: self.packets.len() as u16, ..Ip::default() },
            cut: None,
            snapped: None,
            raw: None,
            trailer: vec![],
            decoy: false,
        }
    }

    /// Puts a packet on the wire and gives it back for changes.
    pub fn put(&mut self, packet: Packet) -> &mut Packet {
        self.packets.push(packet);
        self.packets.last_mut().unwrap()
    }

    pub fn last(&mut self) -> &mut Packet {
        self.packets.last_mut().unwrap()
    }

    /// SYN of the client.
    pub fn syn(&mut self) -> &mut Packet {
        let mut packet = self.packet(Side::Client, SYN);
        packet.seq = self.isn[0];
        packet.options = vec![2, 4, 5, 0xb4];
        self.put(packet)
    }

    /// SYN and ACK of the server.
    pub fn syn_ack(&mut self) -> &mut Packet {
        let mut packet = self.packet(Side::Server, SYN | ACK);
        packet.seq = self.isn[1];
        packet.options = vec![2, 4, 5, 0xb4];
        self.put(packet)
    }

    /// A pure acknowledgement of everything.
    pub fn ack(&mut self, side: Side) -> &mut Packet {
        let packet = self.packet(side, ACK);
        self.put(packet)
    }

    /// The handshake.
    pub fn open(&mut self) {
        self.syn();
        self.syn_ack();
        self.ack(Side::Client);
    }

    /// Sends bytes in segments of the MSS; nothing acknowledges them.
    pub fn send(&mut self, side: Side, bytes: &[u8]) {
        for piece in bytes.chunks(self.mss) {
            self.segment(side, piece);
        }
        if let Some(last) = self.packets.last_mut() {
            last.flags |= PSH;
        }
    }

    /// Sends bytes as one segment.
    pub fn segment(&mut self, side: Side, bytes: &[u8]) -> &mut Packet {
        let mut packet = self.packet(side, ACK);
        packet.payload = bytes.to_vec();
        self.next[side.index()] += bytes.len() as u64;
        self.put(packet)
    }

    /// A segment at any offset of the stream, which does not advance the stream.
    pub fn segment_at(&mut self, side: Side, offset: u64, bytes: &[u8]) -> &mut Packet {
        let mut packet = self.packet(side, ACK);
        packet.offset = offset;
        packet.seq = self.seq(side, offset);
        packet.payload = bytes.to_vec();
        self.put(packet)
    }

    /// The offsets of a message, if it were sent now.
    pub fn locate(&self, side: Side, message: &Message) -> Sent {
        let start = self.next[side.index()];
        let head_end = start + message.head.len() as u64;
        Sent {
            conversation: self.number,
            side,
            start,
            head_end,
            end: head_end + message.body.len() as u64,
            message: message.clone(),
        }
    }

    pub fn request(&mut self, message: &Message) -> Sent {
        self.message(Side::Client, message)
    }

    pub fn response(&mut self, message: &Message) -> Sent {
        self.message(Side::Server, message)
    }

    pub fn message(&mut self, side: Side, message: &Message) -> Sent {
        let sent = self.locate(side, message);
        self.send(side, &message.all());
        sent
    }

    /// Sends messages back to back, in segments that do not care where one ends.
    pub fn batch(&mut self, side: Side, messages: &[Message]) -> Vec<Sent> {
        let from = self.next[side.index()];
        let mut sent = vec![];
        for message in messages {
            sent.push(self.locate(side, message));
            self.next[side.index()] += message.all().len() as u64;
        }
        self.next[side.index()] = from;
        self.send(side, &messages.iter().flat_map(Message::all).collect::<Vec<u8>>());
        sent
    }

    /// Request, response, and the client's acknowledgement.
    pub fn exchange(&mut self, request: &Message, response: &Message) -> (Sent, Sent) {
        let request = self.request(request);
        let response = self.response(response);
        self.ack(Side::Client);
        (request, response)
    }

    pub fn fin(&mut self, side: Side) -> &mut Packet {
        let packet = self.packet(side, FIN | ACK);
        self.fin[side.index()] = true;
        self.put(packet)
    }

    pub fn rst(&mut self, side: Side) -> &mut Packet {
        let packet = self.packet(side, RST | ACK);
        self.put(packet)
    }

    /// The client closes, the server closes, the client acknowledges.
    pub fn close(&mut self) {
        self.fin(Side::Client);
        self.fin(Side::Server);
        self.ack(Side::Client);
    }
}
