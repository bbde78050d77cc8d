//! Secrets out of what a TLS library was seen to compute. OpenSSL derives every secret by one function, whose arguments are
//! the secret that is derived from, a label, and what else goes in: in TLS 1.3 the hash of the messages so far (RFC 8446
//! section 7.1), in TLS 1.2 the randoms of both sides (RFC 5246 section 6.3). What comes out follows from these.
//!
//! A connection is named by its transcript hash (see [`super::transcript`]) or by the client's random. The secrets of
//! applications are derived from another secret and another hash than those of the handshake. But the one follows from the
//! other, so it is remembered which handshake it belongs to.

use std::collections::{HashMap, VecDeque};

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::keys::{KeyStore, Label};
use super::secrets::{Hash, Secret, expand_label_with, extract};
use super::transcript::name;
use crate::counters::{counters, families};

/// Handshakes that are remembered until the secrets of applications are derived. Each takes some 150 bytes.
const MAX_HANDSHAKES: usize = 32_768;

families! {
    CALLS = Counter "picotap_tls_probe_calls_total" ["result"] "derivations of TLS secrets that probes saw", "Calls of TLS libraries that derive or have secrets, as probes saw them, by what became of them.";
    FILES = Gauge "picotap_tls_probed_files" [] "files that are probed", "Libraries and programs whose TLS is probed.";
    ATTACHED = Counter "picotap_tls_probe_files_total" ["result"] "files to probe", "Libraries and programs that were found to have TLS that can be probed, by what became of it.";
}

counters! {
    /// What probes saw.
    pub struct ProbeCounters {
        /// A secret of a connection follows from it.
        secrets => CALLS["secret"],
        /// It derives secrets of applications, from a handshake that was not seen or is forgotten.
        unmatched => CALLS["unmatched"],
        /// Its arguments are not those of TLS.
        invalid => CALLS["invalid"],
        /// It was not told, since nobody took those before it in time.
        lost => CALLS["lost"],
        /// Files that are probed.
        files => FILES,
        /// Files that were probed.
        attached => ATTACHED["attached"],
        /// Files that could not be looked at or probed.
        failed => ATTACHED["failed"],
        /// Files that nobody runs any more, and that were let go.
        detached => ATTACHED["detached"],
    }
}

/// What was derived, or had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derived {
    /// The client's early traffic secret, from the early secret; with the hash of ClientHello.
    Early,
    /// A traffic secret of the handshake, from the handshake secret; with the hash of the messages up to ServerHello.
    Handshake,
    /// A first traffic secret of applications, from the master secret; with the hash of the messages up to the server's Finished.
    Application,
    /// The keys of TLS 1.2, from the master secret; with the client's random.
    KeyBlock,
    /// Nothing: a secret as a key log has it, with the client's random.
    Logged(Label),
}

/// A call.
pub struct Call<'a> {
    /// What it derives.
    pub what: Derived,
    /// The secret from which.
    pub secret: &'a [u8],
    /// The hash or random with which.
    pub with: &'a [u8],
    /// The process that called, as the machine numbers it: one end of the connection.
    pub process: u32,
}

/// Takes calls, and gives secrets to the store.
#[derive(Default)]
pub struct Calls {
    /// By the hash of the master secret, the handshake's name.
    handshakes: HashMap<[u8; 32], [u8; 32]>,
    /// The keys of it, the oldest first.
    order: VecDeque<[u8; 32]>,
}

impl Calls {
    /// Takes a call.
    pub fn take(&mut self, call: &Call<'_>, store: &mut KeyStore) {
        let before = *store.probes();
        if self.derive(call, store).is_none() && before.unmatched == store.probes().unmatched {
            store.probes_mut().invalid += 1;
        }
    }

    fn derive(&mut self, call: &Call<'_>, store: &mut KeyStore) -> Option<()> {
        let Call { what, secret, with, process } = *call;
        match what {
            Derived::KeyBlock | Derived::Logged(Label::Master) => {
                let master = Secret::new(secret).filter(|_| secret.len() == 48)?;
                let random = with.try_into().ok()?;
                store.insert_probed(random, Label::Master, &master);
                store.note_caller(&random, process);
            }
            Derived::Logged(label) => {
                hash(secret)?;
                let random = with.try_into().ok()?;
                store.insert_probed(random, label, &Secret::new(secret)?);
                // The client derives early secrets first, those of applications last.
                if matches!(label, Label::ClientHandshake | Label::ServerHandshake) {
                    store.note_caller(&random, process);
                }
            }
            Derived::Early => {
                let hash = hashes(secret, with)?;
                store.insert_probed(name(with), Label::ClientEarly, &derived(hash, secret, "c e traffic", with)?);
            }
            Derived::Handshake => {
                let hash = hashes(secret, with)?;
                let connection = name(with);
                store.insert_probed(connection, Label::ClientHandshake, &derived(hash, secret, "c hs traffic", with)?);
                store.insert_probed(connection, Label::ServerHandshake, &derived(hash, secret, "s hs traffic", with)?);
                store.note_caller(&connection, process);
                self.remember(&master(hash, secret), connection);
            }
            Derived::Application => {
                let hash = hashes(secret, with)?;
                let Some(connection) = self.handshakes.get(&key(secret)).copied() else {
                    store.probes_mut().unmatched += 1;
                    return None;
                };
                store.insert_probed(connection, Label::ClientTraffic, &derived(hash, secret, "c ap traffic", with)?);
                store.insert_probed(connection, Label::ServerTraffic, &derived(hash, secret, "s ap traffic", with)?);
            }
        }
        store.probes_mut().secrets += 1;
        Some(())
    }

    fn remember(&mut self, master: &[u8], connection: [u8; 32]) {
        let key = key(master);
        if self.handshakes.insert(key, connection).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > MAX_HANDSHAKES
            && let Some(oldest) = self.order.pop_front()
        {
            self.handshakes.remove(&oldest);
        }
    }
}

/// Secrets are not kept to find something by them, but their hashes are.
fn key(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// The function whose output is as long.
const fn hash(bytes: &[u8]) -> Option<Hash> {
    match bytes.len() {
        32 => Some(Hash::Sha256),
        48 => Some(Hash::Sha384),
        _ => None,
    }
}

/// The function of a secret and of a hash that goes with it.
fn hashes(secret: &[u8], with: &[u8]) -> Option<Hash> {
    hash(secret).filter(|_| secret.len() == with.len())
}

/// Derive-Secret of messages that have this hash.
fn derived(hash: Hash, secret: &[u8], label: &str, with: &[u8]) -> Option<Secret> {
    let mut out = Zeroizing::new([0; 48]);
    let out = out.get_mut(..hash.length())?;
    expand_label_with(hash, secret, label, with, out);
    Secret::new(out)
}

/// The master secret that follows from a handshake secret.
fn master(hash: Hash, handshake: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut salt = Zeroizing::new([0; 48]);
    let salt = salt.get_mut(..hash.length()).unwrap_or_default();
    let nothing = hash.of(&[]);
    expand_label_with(hash, handshake, "derived", &nothing, salt);
    extract(hash, salt, &[0; 48])
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    fn call(what: Derived, secret: &str, with: &str, calls: &mut Calls, store: &mut KeyStore) {
        calls.take(&Call { what, secret: &hex(secret), with: &hex(with), process: 1 }, store);
    }

    fn only(store: &KeyStore, name: &[u8; 32], label: Label) -> Option<Vec<u8>> {
        let mut found = store.get(name, label);
        let secret = found.next()?.bytes().to_vec();
        assert!(found.next().is_none());
        Some(secret)
    }

    const HANDSHAKE: &str = "1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac";
    const HELLOS: &str = "860c06edc07858ee8e78f0e7428c58edd6b43f2ca3e6e95f02ed063cf0e1cad8";
    const MASTER: &str = "18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919";
    const FINISHED: &str = "9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13";

    /// RFC 8448 section 3.
    #[test]
    fn secrets_of_the_published_trace() {
        let (mut calls, mut store) = (Calls::default(), KeyStore::default());
        call(Derived::Handshake, HANDSHAKE, HELLOS, &mut calls, &mut store);
        call(Derived::Application, MASTER, FINISHED, &mut calls, &mut store);
        let name = name(&hex(HELLOS));
        for (label, wanted) in [
            (Label::ClientHandshake, "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21"),
            (Label::ServerHandshake, "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38"),
            (Label::ClientTraffic, "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"),
            (Label::ServerTraffic, "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"),
        ] {
            assert_eq!(only(&store, &name, label), Some(hex(wanted)), "{label:?}");
        }
        assert_eq!(*store.probes(), ProbeCounters { secrets: 2, ..ProbeCounters::default() });
    }

    #[test]
    fn who_calls_first_is_known_whatever_the_secrets_are_named_by() {
        let (mut calls, mut store) = (Calls::default(), KeyStore::default());
        let random = [9; 32];
        let mut handshake = |process, what, with: &[u8]| {
            calls.take(&Call { what, secret: &hex(HANDSHAKE), with, process }, &mut store);
        };
        // OpenSSL says the hash of the hellos, Go the random; each says it twice.
        let logged = Derived::Logged(Label::ServerHandshake);
        for (process, what, with) in [
            (7, Derived::Handshake, hex(HELLOS)),
            (5, logged, random.to_vec()),
            (5, Derived::Logged(Label::ClientHandshake), random.to_vec()),
            (7, Derived::Handshake, hex(HELLOS)),
        ] {
            handshake(process, what, &with);
        }
        let names = [random, name(&hex(HELLOS))];
        assert_eq!(store.callers(names.iter()), [7, 5]);
        assert!(store.callers([[0; 32]].iter()).is_empty());
        // Whoever has the secrets may call too, which does not grow.
        for process in 10..20 {
            calls.take(&Call { what: logged, secret: &hex(HANDSHAKE), with: &random, process }, &mut store);
        }
        assert_eq!(store.callers(names.iter()), [7, 5, 10, 11]);
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let (mut calls, mut store) = (Calls::default(), KeyStore::default());
        call(Derived::Application, MASTER, FINISHED, &mut calls, &mut store);
        call(Derived::Handshake, HANDSHAKE, "00", &mut calls, &mut store);
        call(Derived::KeyBlock, HANDSHAKE, HELLOS, &mut calls, &mut store);
        call(Derived::Logged(Label::ClientTraffic), "00", HELLOS, &mut calls, &mut store);
        assert!(store.is_empty());
        assert_eq!(*store.probes(), ProbeCounters { unmatched: 1, invalid: 3, ..ProbeCounters::default() });
    }

    #[test]
    fn handshakes_are_remembered_up_to_a_bound() {
        let (mut calls, mut store) = (Calls::default(), KeyStore::new(1 << 16));
        for number in 0..MAX_HANDSHAKES as u64 + 10 {
            let secret: Vec<u8> = number.to_be_bytes().repeat(4);
            calls.take(&Call { what: Derived::Handshake, secret: &secret, with: &secret, process: 1 }, &mut store);
        }
        assert_eq!((calls.handshakes.len(), calls.order.len()), (MAX_HANDSHAKES, MAX_HANDSHAKES));
    }
}
