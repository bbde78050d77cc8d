//! TLS in the Elastic Common Schema: the `tls` of a transaction, and the line of a TLS connection (`--tls`).
//!
//! The schema has no JA4, so that it stands under `picotap`, as do `decrypted`, `reason`, `alert`, `alpn_offered` and `ech`.

use super::{endpoint_with, observer, process};
use crate::export::Origin;
use crate::export::json::{list, numeric, optional, processes, truth};
use crate::export::numbers::rfc3339;
use crate::http::TlsConnection;
use crate::stream::Secured;

/// Appends `tls`; `established`: whether a handshake was completed.
pub(super) fn object(secured: &Secured, established: bool, out: &mut Vec<u8>) {
    truth(b",\"tls\":{\"established\":", established, out);
    // The schema takes name and number apart: TLSv1.2, SSLv3.
    if let Some((name, number)) = secured.version.and_then(|version| version.split_once('v')) {
        optional(b",\"version\":", Some(number.as_bytes()), out);
        optional(b",\"version_protocol\":", Some(name.to_ascii_lowercase().as_bytes()), out);
    }
    optional(b",\"cipher\":", secured.cipher.map(str::as_bytes), out);
    let protocol = secured.alpn.as_ref().map(|name| name.to_lowercase());
    optional(b",\"next_protocol\":", protocol.as_deref().map(str::as_bytes), out);
    if let Some(resumed) = secured.resumed {
        truth(b",\"resumed\":", resumed, out);
    }
    if let Some(name) = &secured.server_name {
        optional(b",\"client\":{\"server_name\":", Some(name.as_bytes()), out);
        out.push(b'}');
    }
    out.push(b'}');
}

/// Appends the line of a TLS connection.
pub(super) fn line(origin: &Origin, connection: &TlsConnection, out: &mut Vec<u8>) {
    let (info, fate, closed) = (connection.info(), connection.fate(), &connection.closed);
    let [first, last] = closed.times;
    out.extend_from_slice(b"{\"@timestamp\":\"");
    rfc3339(first, out);
    optional(b"\",\"ecs\":{\"version\":", Some(super::VERSION.as_bytes()), out);
    out.extend_from_slice(
        b"},\"event\":{\"kind\":\"event\",\"category\":[\"network\"],\"type\":[\"connection\",\"end\"],\
          \"dataset\":\"picotap.tls\",\"start\":\"",
    );
    rfc3339(first, out);
    out.extend_from_slice(b"\",\"end\":\"");
    rfc3339(last, out);
    out.push(b'"');
    numeric(b",\"duration\":", closed.duration().and_then(|time| u64::try_from(time).ok()), out);
    let outcome: &[u8] = match fate.established {
        true => b"success",
        false if info.alert.is_some() => b"failure",
        false => b"unknown",
    };
    optional(b",\"outcome\":", Some(outcome), out);
    out.push(b'}');
    let [sent, answered] = closed.bytes;
    endpoint_with(b",\"source\":{\"address\":\"", connection.client, Some(sent), out);
    endpoint_with(b",\"destination\":{\"address\":\"", connection.server, Some(answered), out);
    let kind: &[u8] = if connection.client.ip.is_ipv4() { b"ipv4" } else { b"ipv6" };
    optional(b",\"network\":{\"transport\":\"tcp\",\"protocol\":\"tls\",\"type\":", Some(kind), out);
    numeric(b",\"bytes\":", Some(sent.saturating_add(answered)), out);
    optional(b",\"community_id\":", connection.community_id.as_ref().map(|text| &text[..]), out);
    out.push(b'}');
    process::objects(connection.server_process(), out);
    object(&info.secured(), fate.established, out);
    observer(origin.sensor(), origin.interfaces.get(connection.interface), out);
    optional(b",\"picotap\":{\"conn\":", Some(connection.uid.as_bytes()), out);
    processes(&connection.processes, out);
    truth(b",\"decrypted\":", fate.decrypted, out);
    optional(b",\"reason\":", fate.reason().map(str::as_bytes), out);
    optional(b",\"alert\":", info.alert_name().as_deref().map(str::as_bytes), out);
    optional(b",\"ja4\":", info.ja4.as_ref().map(|print| print.as_str().as_bytes()), out);
    list(b",\"alpn_offered\":[", connection.alpn_offered(), out);
    if info.encrypted_hello {
        out.extend_from_slice(b",\"ech\":true");
    }
    out.extend_from_slice(b"}}\n");
}
