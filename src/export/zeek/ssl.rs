//! A TLS connection as a row of Zeek's `ssl.log`.
//!
//! The columns are Zeek's, in its order; those that picotap has nothing for (the curve, the history, certificates) are unset. Behind
//! them stand `duration` (seconds), `orig_bytes` and `resp_bytes` (as on the wire), `decrypted`, `reason`, `ja4` and `community_id`.
//! `resumed` is false where it is not known, as Zeek's is.

use super::{count, endpoints, text};
use crate::export::numbers::epoch;
use crate::http::TlsConnection;

/// Names and types of the columns.
pub(super) const COLUMNS: [(&str, &str); 25] = [
    ("ts", "time"),
    ("uid", "string"),
    ("id.orig_h", "addr"),
    ("id.orig_p", "port"),
    ("id.resp_h", "addr"),
    ("id.resp_p", "port"),
    ("version", "string"),
    ("cipher", "string"),
    ("curve", "string"),
    ("server_name", "string"),
    ("resumed", "bool"),
    ("last_alert", "string"),
    ("next_protocol", "string"),
    ("established", "bool"),
    ("ssl_history", "string"),
    ("cert_chain_fps", "vector[string]"),
    ("client_cert_chain_fps", "vector[string]"),
    ("sni_matches_cert", "bool"),
    ("duration", "interval"),
    ("orig_bytes", "count"),
    ("resp_bytes", "count"),
    ("decrypted", "bool"),
    ("reason", "string"),
    ("ja4", "string"),
    ("community_id", "string"),
];

/// Appends the row.
pub(super) fn line(connection: &TlsConnection, out: &mut Vec<u8>) {
    let (info, fate, closed) = (connection.info(), connection.fate(), &connection.closed);
    epoch(connection.time(), out);
    out.push(b'\t');
    out.extend_from_slice(connection.uid.as_bytes());
    endpoints([connection.client, connection.server], out);
    // Zeek writes TLSv12 and SSLv3.
    let version = info.version_name().map(|name| name.replace('.', ""));
    word(version.as_deref(), out);
    word(info.suite_name(), out);
    word(None, out);
    word(info.server_name.as_deref(), out);
    flag(info.resumed == Some(true), out);
    word(info.alert_name().as_deref(), out);
    word(info.alpn.as_deref(), out);
    flag(fate.established, out);
    out.extend_from_slice(b"\t-\t-\t-\t-\t");
    match closed.duration() {
        Some(duration) => epoch(duration, out),
        None => out.push(b'-'),
    }
    closed.bytes.iter().for_each(|bytes| count(Some(*bytes), out));
    flag(fate.decrypted, out);
    word(fate.reason(), out);
    word(info.ja4.as_ref().map(|print| print.as_str()), out);
    text(connection.community_id.as_ref().map(|text| &text[..]), out);
    out.push(b'\n');
}

fn word(value: Option<&str>, out: &mut Vec<u8>) {
    text(value.map(str::as_bytes), out);
}

fn flag(value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if value { b"\tT" } else { b"\tF" });
}
