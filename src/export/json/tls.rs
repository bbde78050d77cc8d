//! The JSON line of a TLS connection (`--tls`): one object, its keys in a fixed order, absent when unknown.
//!
//! | key | meaning |
//! |---|---|
//! | `ts` | first packet with TLS, RFC 3339, UTC, microseconds |
//! | `sensor`, `conn`, `client`, `client_port`, `server`, `server_port`, `interface`, `community_id` | as of transactions |
//! | `client_process`, `server_process` | as of transactions |
//! | `tls` | an object as that of transactions; `alpn_offered` if the server's choice is not known |
//! | `ech` | true if the true hello is encrypted in the one that was read (or it is made to look so): then `sni` may name only a front |
//! | `established` | both sides have sent encrypted records, and no alert that could be read ended the handshake |
//! | `alert` | name of the fatal alert, or its number |
//! | `decrypted` | all that was encrypted was read, or some plaintext of it |
//! | `reason` | why it was not read, or not to the end: see [`crate::tls::Fate::reason`] |
//! | `client_bytes`, `server_bytes` | bytes that they sent, as on the wire |
//! | `duration_us` | first packet with TLS to the last packet |

use super::{endpoints, numeric, optional, processes, tls, truth};
use crate::export::Origin;
use crate::export::numbers::rfc3339;
use crate::http::{TlsConnection, microseconds};

/// Appends the line.
pub(super) fn line(origin: &Origin, connection: &TlsConnection, out: &mut Vec<u8>) {
    let (info, fate, closed) = (connection.info(), connection.fate(), &connection.closed);
    out.extend_from_slice(b"{\"ts\":\"");
    rfc3339(connection.time(), out);
    out.push(b'"');
    optional(b",\"sensor\":", origin.sensor(), out);
    optional(b",\"conn\":", Some(connection.uid.as_bytes()), out);
    endpoints([connection.client, connection.server], out);
    processes(&connection.processes, out);
    tls(&info.secured(), connection.alpn_offered(), out);
    if info.encrypted_hello {
        out.extend_from_slice(b",\"ech\":true");
    }
    truth(b",\"established\":", fate.established, out);
    optional(b",\"alert\":", info.alert_name().as_deref().map(str::as_bytes), out);
    truth(b",\"decrypted\":", fate.decrypted, out);
    optional(b",\"reason\":", fate.reason().map(str::as_bytes), out);
    let [sent, answered] = closed.bytes;
    numeric(b",\"client_bytes\":", Some(sent), out);
    numeric(b",\"server_bytes\":", Some(answered), out);
    numeric(b",\"duration_us\":", microseconds(closed.duration()), out);
    optional(b",\"interface\":", origin.interfaces.get(connection.interface).map(str::as_bytes), out);
    optional(b",\"community_id\":", connection.community_id.as_ref().map(|text| &text[..]), out);
    out.extend_from_slice(b"}\n");
}
