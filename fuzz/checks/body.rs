//! What holds of a body whose secrets are hidden, whatever it is.

use picotap::http::media_type::Content;
use picotap::http::redact::Redaction;

/// The input is what stands before a secret.
pub(crate) fn check(bytes: &[u8]) {
    let redaction = Redaction::default();
    let hidden = |content, text: &[u8]| {
        let mut out = Vec::new();
        redaction.body(content, text, &mut out);
        out
    };
    for content in [Content::Json, Content::Form, Content::Text, Content::Opaque] {
        let out = hidden(content, bytes);
        assert!(out.len() <= 12 * bytes.len() + 8, "{content:?}");
    }
    let secret = b"\",\"password\" : \"hunter2\",\"a\":1}";
    let out = hidden(Content::Json, &[bytes, secret].concat());
    let seen = |text: &[u8]| text.windows(7).any(|part| part == b"hunter2");
    assert!(!seen(&out) || seen(bytes));
    // What begins like JSON is none, and is read as such.
    let out = hidden(Content::Form, &[b"a=b", bytes, b"&password=hunter2&a=b"].concat());
    assert!(!seen(&out) || seen(bytes));
}
