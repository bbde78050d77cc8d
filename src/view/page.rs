//! The page: one document that has its style, its script and, as a report, its data inside. It asks the network for nothing
//! but, live, the stream `events` beside it.
//!
//! What comes from the traffic is in one element, as JSON in which nothing can end that element; the script writes it as
//! text only. The policy allows no script and no style but those of the page, by their hashes.

use data_encoding::BASE64;
use sha2::{Digest, Sha256};

use super::Snapshot;
use crate::http::filter::field;
use crate::http::flags;
use crate::http::grpc::STATUSES;

/// The document, with a place for each of [`PLACES`].
const DOCUMENT: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/page.css");
/// One script: the files share their names.
const SCRIPT: &str = concat!(
    include_str!("page/format.js"),
    include_str!("page/pattern.js"),
    include_str!("page/query.js"),
    include_str!("page/model.js"),
    include_str!("page/table.js"),
    include_str!("page/timeline.js"),
    include_str!("page/details.js"),
    include_str!("page/columns.js"),
    include_str!("page/page.js"),
);
/// In the order in which they stand in the document.
const PLACES: [&str; 6] = ["{{policy}}", "{{style}}", "{{flags}}", "{{fields}}", "{{data}}", "{{script}}"];

/// The document: with a snapshot the report of it, without one the page that follows `events`, a stream of server-sent events:
/// `snapshot` whole, and then `update`, as [`Snapshot`] says.
#[must_use]
pub fn html(data: Option<&Snapshot>) -> String {
    // A report has no header, so its policy is in it.
    let policy =
        data.map(|_| format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">", sources("'none'")));
    let meanings: serde_json::Map<_, _> =
        flags::ALL.iter().map(|&(_, name, meaning)| (name.to_owned(), meaning.into())).collect();
    let data = data.map(|data| {
        let json = serde_json::to_string(data).expect("a snapshot has no maps, and nothing in it fails");
        format!("<script type=\"application/json\" id=\"data\">{}</script>", inert(&json))
    });
    let texts = [
        policy.unwrap_or_default(),
        STYLE.to_owned(),
        inert(&serde_json::Value::Object(meanings).to_string()),
        inert(&fields().to_string()),
        data.unwrap_or_default(),
        SCRIPT.to_owned(),
    ];
    let mut out = String::with_capacity(DOCUMENT.len() + texts.iter().map(String::len).sum::<usize>());
    let mut rest = DOCUMENT;
    for (place, text) in PLACES.iter().zip(&texts) {
        // A test shows that each place is there.
        let (before, after) = rest.split_once(place).unwrap_or((rest, ""));
        out.push_str(before);
        out.push_str(text);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The fields of filters: what each holds, the names that stand for others, and those of TLS connections alone; and the names of
/// gRPC's statuses.
fn fields() -> serde_json::Value {
    let kinds = field::ALL.iter().map(|(name, text)| ((*text).to_owned(), format!("{:?}", name.kind()).into()));
    let aliases = field::ALIASES.iter().map(|(alias, name)| ((*alias).to_owned(), name.text().into()));
    let [kinds, aliases] = [kinds.collect(), aliases.collect()].map(serde_json::Value::Object);
    let tls = field::ALL.iter().filter(|(name, _)| name.lines() == field::Lines::Tls);
    let tls: Vec<&str> = tls.map(|(_, text)| *text).collect();
    serde_json::json!({ "fields": kinds, "aliases": aliases, "tls": tls, "grpc": STATUSES })
}

/// The live page's `Content-Security-Policy` header.
#[must_use]
pub fn policy() -> String {
    sources("'self'") + "; frame-ancestors 'none'"
}

/// What the page may load, and what it may `connect` to. Images are for its icon, which is in it.
fn sources(connect: &str) -> String {
    format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data:; connect-src {connect}; base-uri 'none'; form-action 'none'",
        hash(SCRIPT),
        hash(STYLE)
    )
}

/// The source expression of an inline element (CSP Level 3, section 2.3.1).
fn hash(text: &str) -> String {
    format!("'sha256-{}'", BASE64.encode(&Sha256::digest(text)))
}

/// JSON in which nothing has a meaning in HTML or ends a line of a script. Such characters stand only in its strings.
fn inert(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 64);
    let mut rest = json;
    // Both separators of lines begin with the byte 0xE2, as other characters do.
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'<' | b'>' | b'&' | 0xe2)) {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let mut characters = special.chars();
        match characters.next() {
            Some('<') => out.push_str("\\u003c"),
            Some('>') => out.push_str("\\u003e"),
            Some('&') => out.push_str("\\u0026"),
            Some('\u{2028}') => out.push_str("\\u2028"),
            Some('\u{2029}') => out.push_str("\\u2029"),
            other => out.extend(other),
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

    use super::*;

    fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
        text.split_once(from).unwrap().1.split_once(to).unwrap().0
    }

    #[test]
    fn every_place_is_in_the_document_once_and_in_order() {
        let mut last = 0;
        for place in PLACES {
            assert_eq!(DOCUMENT.matches(place).count(), 1, "{place}");
            let at = DOCUMENT.find(place).unwrap();
            assert!(at > last, "{place}");
            last = at;
        }
    }

    #[test]
    fn the_policy_has_the_hashes_of_what_is_between_the_tags() {
        for page in [html(None), html(Some(&Snapshot::default()))] {
            let (style, script) = (between(&page, "<style>", "</style>"), between(&page, "<script>", "</script>"));
            assert!(policy().contains(&format!("script-src {};", hash(script))));
            assert!(policy().contains(&format!("style-src {};", hash(style))));
            assert_eq!((page.matches("<style").count(), page.matches("<script>").count()), (1, 1));
        }
    }

    #[test]
    fn no_text_ends_the_data_and_all_of_it_is_read_back() {
        let hostile = "</script><script>alert(1)</script><!--<script>&lt;\u{2028}\u{2029}]]>{{script}}";
        let page = html(Some(&Snapshot { source: hostile.to_owned(), ..Default::default() }));
        let data = between(&page, "id=\"data\">", "</script>");
        assert!(!data.contains(['<', '>', '&', '\u{2028}', '\u{2029}']));
        let value: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(value["source"], hostile);
        assert_eq!(page.matches("<script").count(), 4);
    }

    #[test]
    fn every_character_is_read_back() {
        let all: String = ('\0'..='\u{ffff}').collect();
        let page = html(Some(&Snapshot { source: all.clone(), ..Default::default() }));
        let value: serde_json::Value = serde_json::from_str(between(&page, "id=\"data\">", "</script>")).unwrap();
        assert_eq!(value["source"], all);
    }

    #[test]
    fn only_the_report_has_data_and_a_policy_of_its_own_that_allows_no_connection() {
        let (live, report) = (html(None), html(Some(&Snapshot::default())));
        assert!(!live.contains("id=\"data\"") && !live.contains("http-equiv"));
        assert!(report.contains("connect-src 'none'") && !report.contains("frame-ancestors"));
        assert!(policy().starts_with("default-src 'none'; ") && policy().contains("connect-src 'self'"));
        assert!(policy().ends_with("base-uri 'none'; form-action 'none'; frame-ancestors 'none'"));
    }

    #[test]
    fn the_document_loads_nothing_and_has_no_inline_style_or_handler() {
        for word in [
            "src=",
            "style=",
            " onload",
            " onerror",
            " onclick",
            "@import",
            "url(",
            "javascript:",
            "http://",
            "https://",
        ] {
            assert!(!DOCUMENT.contains(word) && !STYLE.contains(word), "{word}");
        }
        for word in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", ".style", "fetch("]
        {
            assert!(!SCRIPT.contains(word), "{word}");
        }
    }
}
