//! What records carry: plaintext of applications goes out; messages of the handshake change what is known, and keys.

use super::{Connection, Record};
use crate::stream::{Position, Side};
use crate::tls::cipher::Role;
use crate::tls::half::{Epoch, Phase};
use crate::tls::handshake::{Message, Messages};
use crate::tls::negotiation::Early;
use crate::tls::outcome::{Context, Dark, Output};
use crate::tls::record::ContentType;

/// ServerHelloDone (RFC 5246 section 7.4.5).
const SERVER_HELLO_DONE: u8 = 14;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;

impl Connection {
    /// A record that is not encrypted.
    pub(super) fn clear_record(&mut self, context: &mut Context<'_>, side: Side, kind: ContentType, body: &[u8]) {
        match kind {
            ContentType::Handshake => self.messages(context, side, None, body),
            ContentType::Alert => self.alert(side, body),
            // TLS 1.3 only pretends to; and so does a client that hopes for it.
            ContentType::ChangeCipherSpec => {
                if !self.negotiation.is_tls13() && self.negotiation.has_hellos() {
                    let half = self.half_mut(side);
                    half.phase = Phase::Needs(Epoch::Tls12);
                    half.messages = None;
                    let sure = !half.lossy;
                    if self.negotiation.role(side) == Some(Role::Server) {
                        self.negotiation.server_changes(sure);
                    }
                }
            }
            ContentType::ApplicationData => {}
        }
    }

    /// A record that was opened: with keys of which epoch, what kind it is, and its plaintext.
    pub(super) fn content(
        &mut self,
        context: &mut Context<'_>,
        record: &Record<'_>,
        (epoch, kind, plaintext): (Epoch, ContentType, &[u8]),
        output: &mut impl Output,
    ) {
        let (side, length) = (record.side, record.header.record() as u64);
        if kind == ContentType::ApplicationData && epoch != Epoch::Handshake {
            context.counters.plaintext += plaintext.len() as u64;
            context.counters.overhead += length - plaintext.len() as u64;
            let at = self.place(side, record.at);
            let half = self.half_mut(side);
            half.tell_gap(side, at, output);
            if !plaintext.is_empty() {
                output.data(side, Position { offset: half.plain, ..at }, plaintext);
                half.plain += plaintext.len() as u64;
            }
            half.borders.push(record.end, half.plain);
            return;
        }
        context.counters.handshake += length;
        match kind {
            ContentType::Handshake => self.messages(context, side, Some(epoch), plaintext),
            ContentType::Alert => {
                self.alert(side, plaintext);
                let closes = matches!(plaintext, [_, CLOSE_NOTIFY]);
                let at = self.place(side, record.at);
                let half = self.half_mut(side);
                if closes && !half.closed {
                    half.closed = true;
                    half.tell_gap(side, at, output);
                    output.closed(side, Position { offset: half.plain, ..at });
                }
            }
            // In a renegotiation.
            ContentType::ChangeCipherSpec if epoch == Epoch::Tls12 => {
                let half = self.half_mut(side);
                half.phase = Phase::Needs(Epoch::Tls12);
                half.messages = None;
            }
            _ => {}
        }
    }

    /// A place with what was acknowledged of the other side's plaintext.
    fn place(&mut self, side: Side, at: Position) -> Position {
        Position { peer_acked: self.half_mut(side.other()).borders.plaintext(at.peer_acked), ..at }
    }

    fn alert(&mut self, side: Side, body: &[u8]) {
        if let [FATAL, description] = body {
            let _side = side;
            self.negotiation.info.alert.get_or_insert(*description);
        }
    }

    /// Messages of a side, of which the last may be cut. `epoch`: of the keys, if they were encrypted.
    fn messages(&mut self, context: &mut Context<'_>, side: Side, epoch: Option<Epoch>, body: &[u8]) {
        let mut messages = self.half_mut(side).messages.take().map_or_else(Messages::default, |begun| *begun);
        let mut input = body;
        let hashes = context.keys.is_by_transcript() && epoch.is_none();
        loop {
            let negotiation = &mut self.negotiation;
            let mut raw = |hello: &[u8]| {
                if hashes {
                    negotiation.raw_hello(hello);
                }
            };
            let Some(message) = messages.next_raw(&mut input, &mut raw) else { break };
            // A message does not reach over a change of keys (RFC 8446 section 5.1).
            if self.message(context, side, epoch, message) {
                return;
            }
        }
        let half = self.half_mut(side);
        if half.dark().is_none() && messages.is_inside() {
            half.messages = Some(Box::new(messages));
        }
    }

    /// One message. Whether what follows has other keys, or is not read.
    fn message(&mut self, context: &mut Context<'_>, side: Side, epoch: Option<Epoch>, message: Message) -> bool {
        let role = self.negotiation.role(side);
        match (message, epoch) {
            (hello @ (Message::ClientHello(_) | Message::ServerHello(_)), None | Some(Epoch::Tls12)) => {
                let allowed = self.negotiation.hello(side, hello);
                if !allowed {
                    self.darken_both(context, Dark::Malformed);
                }
                return !allowed;
            }
            (Message::Unreadable(1 | 2), None) if !self.negotiation.has_hellos() => {
                self.darken_both(context, Dark::Malformed);
                return true;
            }
            (Message::Other(SERVER_HELLO_DONE), None) if role == Some(Role::Server) => self.negotiation.server_done(),
            (Message::EncryptedExtensions(extensions), Some(Epoch::Handshake)) if role == Some(Role::Server) => {
                self.negotiation.choose_alpn(extensions.alpn);
                let info = &mut self.negotiation.info;
                if info.early_data == Early::Offered {
                    info.early_data = if extensions.early_data { Early::Accepted } else { Early::Rejected };
                }
            }
            (Message::EndOfEarlyData, Some(Epoch::Early)) => {
                self.half_mut(side).phase = Phase::Needs(Epoch::Handshake);
                return true;
            }
            (Message::Finished, Some(Epoch::Handshake)) => {
                self.half_mut(side).phase = Phase::Needs(Epoch::Application);
                return true;
            }
            (Message::KeyUpdate, Some(Epoch::Application)) => {
                let next = match &self.half(side).phase {
                    Phase::Open(keys) => self.negotiation.updated(keys),
                    _ => None,
                };
                if let Some(next) = next {
                    self.half_mut(side).phase = Phase::Open(next);
                    return true;
                }
            }
            _ => {}
        }
        false
    }
}
