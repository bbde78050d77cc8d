//! What the two sides agreed on, as far as their messages were seen, and the keys that follow from it.

use std::borrow::Cow;

use super::alert;
use super::cipher::{Opener, Role};
use super::client_hello::ClientHello;
use super::half::{Epoch, Keys};
use super::handshake::Message;
use super::ja4::Fingerprint;
use super::keys::Label;
use super::names;
use super::outcome::{Context, Dark};
use super::secrets::{Secret, updated};
use super::server_hello::ServerHello;
use super::suites::{self, Suite};
use super::transcript::Transcript;
use crate::stream::{Callers, Secured, Side};

const TLS12: u16 = 0x0303;
const TLS13: u16 = 0x0304;
/// Randoms of earlier negotiations that are remembered.
const MOST_EARLIER: usize = 8;

/// What is known of a connection, for people. What was not seen is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// Version, as on the wire: 0x0303 is TLS 1.2, 0x0304 TLS 1.3.
    pub version: Option<u16>,
    /// IANA's number of the cipher suite.
    pub suite: Option<u16>,
    /// The server that the client named.
    pub server_name: Option<Box<str>>,
    /// Protocols that the client offered.
    pub alpn_offered: Box<[Box<str>]>,
    /// The one that the server chose.
    pub alpn: Option<Box<str>>,
    /// Whether an earlier session was resumed.
    pub resumed: Option<bool>,
    /// Fingerprint of the client.
    pub ja4: Option<Fingerprint>,
    /// The named server may be only the front of the one that is meant.
    pub encrypted_hello: bool,
    /// Early data.
    pub early_data: Early,
    /// Description of a fatal alert that was sent in the clear or could be read (RFC 8446 section 6.2).
    pub alert: Option<u8>,
}

impl Info {
    /// Name of the version.
    #[must_use]
    pub fn version_name(&self) -> Option<&'static str> {
        Some(match self.version? {
            0x0300 => "SSLv3",
            0x0301 => "TLSv1.0",
            0x0302 => "TLSv1.1",
            TLS12 => "TLSv1.2",
            TLS13 => "TLSv1.3",
            _ => return None,
        })
    }

    /// Name of the alert, or its number as text.
    #[must_use]
    pub fn alert_name(&self) -> Option<Cow<'static, str>> {
        let alert = self.alert?;
        Some(alert::name(alert).map_or_else(|| alert.to_string().into(), Cow::Borrowed))
    }

    /// Name of the cipher suite.
    #[must_use]
    pub fn suite_name(&self) -> Option<&'static str> {
        self.suite.and_then(suites::name)
    }

    /// What is told with the plaintext.
    #[must_use]
    pub fn secured(&self) -> Secured {
        Secured {
            version: self.version_name(),
            cipher: self.suite_name(),
            server_name: self.server_name.clone(),
            alpn: self.alpn.clone(),
            resumed: self.resumed,
            ja4: self.ja4.map(|print| print.as_str().into()),
            callers: Callers::Unknown,
        }
    }

    /// The ends of the connection, of the processes that derived its secrets in this order. Neither side sends what the other derives from before it
    /// has derived its own: in TLS 1.3 the server is first, with its hello, in TLS 1.2 whoever changes the cipher first: the
    /// client, or the server that resumes.
    pub(super) fn callers(&self, in_order: &[u32]) -> Callers {
        let server_first = if self.version == Some(TLS13) { Some(true) } else { self.resumed };
        match (in_order, server_first) {
            ([one], _) => Callers::One(*one),
            ([server, client], Some(true)) | ([client, server], Some(false)) => {
                Callers::Both { client: *client, server: *server }
            }
            _ => Callers::Unknown,
        }
    }

    fn memory(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let offered = self.alpn_offered.iter().map(|name| size_of::<Box<str>>() + name.len()).sum::<usize>();
        offered + text(&self.server_name) + text(&self.alpn)
    }
}

/// What becomes of early data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Early {
    /// The client sends none.
    #[default]
    None,
    /// The client says that it sends some; the server has not answered, or its answer could not be read.
    Offered,
    /// The server took it.
    Accepted,
    /// The server did not take it.
    Rejected,
    /// Neither the server's answer was seen nor what tells it.
    Unknown,
}

/// Why there are no keys.
pub(super) enum Absence {
    /// The hellos have not been seen.
    NotYet,
    /// No secret is known.
    Missing,
    Dark(Dark),
}

/// The server's choice, as far as keys depend on it.
#[derive(Debug, Clone, Copy)]
struct Server {
    random: [u8; 32],
    version: u16,
    /// Unknown where its hello was lost.
    suite: Option<u16>,
    compressed: bool,
    encrypt_then_mac: bool,
}

/// The negotiation of a connection: the present one, of several if it is renegotiated.
#[derive(Default)]
pub(super) struct Negotiation {
    pub(super) info: Info,
    /// The side that is the client.
    client: Option<Side>,
    random: Option<[u8; 32]>,
    /// The randoms of negotiations before this one.
    earlier: Vec<[u8; 32]>,
    /// As in [`ClientHello::tls13_suites`].
    offered: u8,
    server: Option<Server>,
    /// The hellos so far, if secrets may be named by them.
    transcript: Option<Box<Transcript>>,
    /// The hashes of the messages up to ServerHello, and of those before it.
    hashes: Option<Box<[[u8; 32]; 2]>>,
    /// The server asked for another hello.
    pub(super) retried: bool,
    /// The server's part of a full handshake was seen to its end (TLS 1.2).
    full: bool,
    /// Memory of what is known, on the heap: it is asked for often, and changes seldom.
    memory: usize,
}

impl Negotiation {
    pub(super) fn role(&self, side: Side) -> Option<Role> {
        self.client.map(|client| if client == side { Role::Client } else { Role::Server })
    }

    pub(super) const fn random(&self) -> Option<&[u8; 32]> {
        self.random.as_ref()
    }

    /// The client's randoms of the negotiations before this one, as far as they are remembered.
    pub(super) fn earlier(&self) -> &[[u8; 32]] {
        &self.earlier
    }

    /// The names by which secrets may be found: the client's random, and what is told by hashes.
    pub(super) fn names(&self) -> impl Iterator<Item = &[u8; 32]> + Clone {
        self.random.iter().chain(self.hashes.iter().flat_map(|hashes| hashes.iter()))
    }

    /// The hello that comes next, as it was sent.
    pub(super) fn raw_hello(&mut self, raw: &[u8]) {
        self.transcript.get_or_insert_default().keep(raw);
    }

    /// Reads a word: see [`super::connection::Connection::touch`].
    pub(super) fn touch(&self) -> u64 {
        u64::from(self.is_tls13()) ^ u64::from(self.client.is_some()) ^ self.memory as u64
    }

    pub(super) fn is_tls13(&self) -> bool {
        self.server.is_some_and(|server| server.version == TLS13)
    }

    pub(super) const fn has_hellos(&self) -> bool {
        self.random.is_some() && self.server.is_some()
    }

    /// Takes a hello. Whether it is one that this side may send.
    pub(super) fn hello(&mut self, side: Side, message: Message) -> bool {
        self.hash(&message);
        let allowed = self.take_hello(side, message);
        self.measure();
        allowed
    }

    /// The server's hello was lost. In TLS 1.3 secrets do without it: the suite is then the one with which a record opens. False if
    /// it cannot have been TLS 1.3.
    pub(super) const fn assume_tls13(&mut self) -> bool {
        let possible = self.random.is_some() && self.server.is_none() && self.offered != 0;
        if possible {
            let (random, encrypt_then_mac, compressed) = ([0; 32], false, false);
            self.server = Some(Server { random, version: TLS13, suite: None, compressed, encrypt_then_mac });
        }
        possible
    }

    /// A record was opened with these keys. Whether the suite was not known before.
    pub(super) fn prove(&mut self, keys: &Keys) -> bool {
        let Some(server) = self.server.as_mut().filter(|server| server.suite.is_none()) else { return false };
        server.suite =
            Suite::all_of_tls13().find(|suite| Some(suite.bulk) == keys.opener.aead()).map(|suite| suite.number);
        self.info.version = Some(server.version);
        self.info.suite = server.suite;
        true
    }

    /// Hashes the hello that was kept for it. A server's that is the first of all names nothing.
    fn hash(&mut self, message: &Message) {
        let Some(mut transcript) = self.transcript.take() else { return };
        match message {
            Message::ClientHello(_) => {
                if self.retried {
                    transcript.take();
                } else {
                    transcript.restart();
                }
                self.transcript = Some(transcript);
                self.hashes = None;
            }
            Message::ServerHello(hello) => {
                let Some(suite) = Suite::of(hello.suite).filter(|suite| suite.is_tls13()) else { return };
                if hello.is_retry() {
                    transcript.retry(suite.hash);
                    transcript.take();
                    self.transcript = Some(transcript);
                    return;
                }
                let before = transcript.name(suite.hash);
                transcript.take();
                self.hashes = Some(Box::new([transcript.name(suite.hash), before]));
            }
            _ => {}
        }
    }

    /// Notes what is kept on the heap.
    fn measure(&mut self) {
        self.memory = self.info.memory() + self.earlier.capacity() * size_of::<[u8; 32]>();
    }

    /// Takes the protocol that the server chose.
    pub(super) fn choose_alpn(&mut self, alpn: Option<Box<str>>) {
        self.info.alpn = alpn;
        self.measure();
    }

    fn take_hello(&mut self, side: Side, message: Message) -> bool {
        match message {
            Message::ClientHello(hello) => {
                if self.client.is_some_and(|client| client != side) {
                    return false;
                }
                self.client = Some(side);
                self.client_hello(*hello);
                true
            }
            Message::ServerHello(hello) => {
                if self.client == Some(side) {
                    return false;
                }
                self.client = Some(side.other());
                self.server_hello(&hello);
                true
            }
            _ => false,
        }
    }

    fn client_hello(&mut self, hello: ClientHello) {
        // In a renegotiation the server has yet to answer this one.
        if self.random.is_some() && !self.retried {
            self.server = None;
        }
        let first = self.random.is_none();
        let before = self.random.replace(hello.random).filter(|before| *before != hello.random);
        self.earlier.extend(before.filter(|_| self.earlier.len() < MOST_EARLIER));
        self.offered = hello.tls13_suites;
        self.full = false;
        let info = &mut self.info;
        info.early_data = match (hello.early_data, self.retried) {
            (true, false) => Early::Offered,
            (_, true) if info.early_data != Early::None => Early::Rejected,
            _ => Early::None,
        };
        // The second hello after a retry says less.
        if first {
            info.server_name = hello.server_name;
            info.alpn_offered = hello.alpn;
            info.ja4 = Some(hello.ja4);
            info.encrypted_hello = hello.encrypted_hello;
        }
    }

    fn server_hello(&mut self, hello: &ServerHello) {
        self.info.version = Some(hello.version);
        self.info.suite = Some(hello.suite);
        if hello.is_retry() {
            self.retried = true;
            if self.info.early_data == Early::Offered {
                self.info.early_data = Early::Rejected;
            }
            return;
        }
        self.retried = false;
        self.server = Some(Server {
            random: hello.random,
            version: hello.version,
            suite: Some(hello.suite),
            compressed: hello.compressed,
            encrypt_then_mac: hello.encrypt_then_mac,
        });
        if hello.version == TLS13 {
            self.info.resumed = Some(hello.psk);
            // Early data needs a pre-shared key.
            if !hello.psk && self.info.early_data == Early::Offered {
                self.info.early_data = Early::Rejected;
            }
        } else {
            self.info.alpn.clone_from(&hello.alpn);
            if self.info.early_data == Early::Offered {
                self.info.early_data = Early::Rejected;
            }
        }
    }

    /// The server has said all of a full handshake (TLS 1.2).
    pub(super) const fn server_done(&mut self) {
        self.full = true;
    }

    /// The server changes its keys in the clear; `sure`: nothing of what it said before was lost. If it has not said all of a
    /// full handshake by then, it resumes.
    pub(super) fn server_changes(&mut self, sure: bool) {
        if sure && self.server.is_some() {
            self.info.resumed = Some(!self.full);
        }
    }

    /// Secrets of a role may be in the store under this label.
    const fn label(role: Role, epoch: Epoch) -> Label {
        match (epoch, role) {
            (Epoch::Tls12, _) => Label::Master,
            (Epoch::Early, _) => Label::ClientEarly,
            (Epoch::Handshake, Role::Client) => Label::ClientHandshake,
            (Epoch::Handshake, Role::Server) => Label::ServerHandshake,
            (Epoch::Application, Role::Client) => Label::ClientTraffic,
            (Epoch::Application, Role::Server) => Label::ServerTraffic,
        }
    }

    /// Keys of a side, one for each secret that is known.
    #[expect(clippy::vec_box, reason = "keys are not moved: that would leave copies of them behind")]
    pub(super) fn keys(&self, context: &Context<'_>, side: Side, epoch: Epoch) -> Result<Vec<Box<Keys>>, Absence> {
        let (Some(random), Some(server), Some(role)) = (&self.random, self.server, self.role(side)) else {
            return Err(Absence::NotYet);
        };
        if server.version != TLS12 && server.version != TLS13 {
            return Err(Absence::Dark(Dark::UnsupportedVersion));
        }
        if !names::admit(context.names, self.info.server_name.as_deref()) {
            return Err(Absence::Dark(Dark::Filtered));
        }
        let tls13 = server.version == TLS13;
        let suites = match server.suite {
            Some(number) => {
                let suite = Suite::of(number).filter(|_| !server.compressed);
                let suite = suite.ok_or(Absence::Dark(Dark::UnsupportedSuite))?;
                if (epoch == Epoch::Tls12) == tls13 || suite.is_tls13() != tls13 {
                    return Err(Absence::Dark(Dark::Malformed));
                }
                vec![suite]
            }
            // TLS 1.2 needs the server's random.
            None if self.names().any(|name| context.keys.get(name, Label::Master).next().is_some()) => {
                return Err(Absence::Dark(Dark::Gap));
            }
            None => Suite::all_of_tls13().filter(|suite| self.offered >> (suite.number - 0x1301) & 1 == 1).collect(),
        };
        let label = Self::label(role, epoch);
        let secrets = self.names().flat_map(|name| context.keys.want(random, name, label));
        let key = |suite: Suite, secret: Secret| {
            let (opener, secret) = if tls13 {
                (Opener::tls13(suite, &secret)?, Some(secret))
            } else {
                let etm = server.encrypt_then_mac;
                (Opener::tls12(suite, &secret, random, &server.random, etm, role)?, None)
            };
            Some(Box::new(Keys { opener, epoch, secret, number: 0 }))
        };
        let keys: Vec<_> =
            secrets.flat_map(|secret| suites.iter().filter_map(move |suite| key(*suite, secret.clone()))).collect();
        let evicted = || self.names().any(|name| context.keys.was_evicted(name));
        match (keys.is_empty(), keys.is_empty() && evicted()) {
            (false, _) => Ok(keys),
            (true, true) => Err(Absence::Dark(Dark::KeysEvicted)),
            (true, false) => Err(Absence::Missing),
        }
    }

    /// The keys after a KeyUpdate.
    pub(super) fn updated(&self, keys: &Keys) -> Option<Box<Keys>> {
        let suite = Suite::of(self.server?.suite?)?;
        let secret = updated(suite.hash, keys.secret.as_ref()?)?;
        let opener = Opener::tls13(suite, &secret)?;
        Some(Box::new(Keys { opener, epoch: keys.epoch, secret: Some(secret), number: 0 }))
    }

    pub(super) fn memory(&self) -> usize {
        let hashing = self.transcript.as_ref().map_or(0, |kept| size_of::<Transcript>() + kept.memory());
        let hashes = self.hashes.as_ref().map_or(0, |_| size_of::<[[u8; 32]; 2]>());
        self.memory + hashing + hashes
    }
}
