//! Conversations that rustls makes in memory.

use std::io::{Read, Write};
use std::sync::{Arc, LazyLock, Mutex};

use picotap::stream::Side;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CipherSuite, ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use rustls::{DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};

use super::{Identity, Script, Sent};

static IDENTITY: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let identity = Identity::new("ec");
    (identity.certificate(), identity.key())
});

/// Writes lines as NSS does.
#[derive(Debug, Default)]
pub struct Log(pub Mutex<String>);

impl rustls::KeyLog for Log {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        *self.0.lock().unwrap() += &format!("{label} {} {}\n", hex(client_random), hex(secret));
    }
}

/// Takes any certificate.
#[derive(Debug)]
pub struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// The two ends, and what was sent between them.
pub struct Talk {
    pub client: rustls::Connection,
    pub server: rustls::Connection,
    pub log: Arc<Log>,
    pub script: Script,
}

/// What the ends do beside talking.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setting {
    pub tickets: usize,
    /// The server allows so much early data.
    pub early_data: u32,
}

pub struct Ends {
    pub client: Arc<ClientConfig>,
    pub server: Arc<ServerConfig>,
    pub log: Arc<Log>,
}

impl Ends {
    pub fn new(version: &'static SupportedProtocolVersion, suite: CipherSuite, setting: Setting) -> Self {
        let mut provider = rustls::crypto::ring::default_provider();
        provider.cipher_suites.retain(|known| known.suite() == suite);
        let provider = Arc::new(provider);
        let log = Arc::new(Log::default());
        let (certificate, key) = &*IDENTITY;
        let key = PrivateKeyDer::try_from(key.clone()).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let server = server.with_protocol_versions(&[version]).unwrap().with_no_client_auth();
        let mut server = server.with_single_cert(vec![certificate.clone().into()], key).unwrap();
        server.send_tls13_tickets = setting.tickets;
        server.max_early_data_size = setting.early_data;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
        let client = client.dangerous().with_custom_certificate_verifier(Arc::new(Anybody));
        let mut client = client.with_no_client_auth();
        client.key_log = Arc::clone(&log) as Arc<dyn rustls::KeyLog>;
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        client.enable_early_data = setting.early_data > 0;
        Self { client: Arc::new(client), server: Arc::new(server), log }
    }

    pub fn talk(&self) -> Talk {
        let name = ServerName::try_from("picotap.test").unwrap();
        let client = ClientConnection::new(Arc::clone(&self.client), name).unwrap();
        let server = ServerConnection::new(Arc::clone(&self.server)).unwrap();
        let log = Arc::clone(&self.log);
        Talk { client: client.into(), server: server.into(), log, script: Script::default() }
    }
}

impl Talk {
    pub fn new(version: &'static SupportedProtocolVersion, suite: CipherSuite, setting: Setting) -> Self {
        let mut talk = Ends::new(version, suite, setting).talk();
        talk.handshake();
        talk
    }

    pub fn handshake(&mut self) {
        while self.client.is_handshaking() || self.server.is_handshaking() || self.wants_write() {
            for side in [Side::First, Side::Second] {
                self.pass(side, None);
            }
        }
    }

    fn wants_write(&self) -> bool {
        self.client.wants_write() || self.server.wants_write()
    }

    /// Carries what a side wants to send to the other.
    pub fn pass(&mut self, side: Side, plaintext: Option<&[u8]>) {
        let (from, to) = match side {
            Side::First => (&mut self.client, &mut self.server),
            Side::Second => (&mut self.server, &mut self.client),
        };
        let mut bytes = vec![];
        while from.wants_write() {
            from.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            to.read_tls(&mut rest).unwrap();
            to.process_new_packets().unwrap();
            let mut heard = vec![];
            let _closed = to.reader().read_to_end(&mut heard);
        }
        if !bytes.is_empty() {
            self.script.sent.push(Sent { side, bytes, plaintext: plaintext.map(<[u8]>::to_vec) });
        }
    }

    /// A side says something, in one record.
    pub fn say(&mut self, side: Side, plaintext: &[u8]) {
        let from = if side == Side::First { &mut self.client } else { &mut self.server };
        from.writer().write_all(plaintext).unwrap();
        self.pass(side, Some(plaintext));
    }

    pub fn update_keys(&mut self, side: Side) {
        let from = if side == Side::First { &mut self.client } else { &mut self.server };
        from.refresh_traffic_keys().unwrap();
        self.pass(side, None);
    }

    pub fn close(&mut self) {
        self.client.send_close_notify();
        self.pass(Side::First, None);
        self.server.send_close_notify();
        self.pass(Side::Second, None);
    }

    pub fn script(&self) -> Script {
        Script { key_log: self.log.0.lock().unwrap().clone(), ..self.script.clone() }
    }
}

pub const SUITES: &[(&SupportedProtocolVersion, CipherSuite, &str)] = &[
    (&rustls::version::TLS13, CipherSuite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
    (&rustls::version::TLS13, CipherSuite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"),
    (&rustls::version::TLS13, CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256"),
    (
        &rustls::version::TLS12,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ),
    (
        &rustls::version::TLS12,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
];
