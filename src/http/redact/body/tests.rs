use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

fn hidden(content: Content, text: impl AsRef<[u8]>) -> String {
    let mut out = Vec::new();
    Redaction::with(["mine"], ["x-mine"]).body(content, text.as_ref(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn check(content: Content, cases: &[(&str, &str)]) {
    for (text, wanted) in cases {
        assert_eq!(hidden(content, text), *wanted, "of {text}");
    }
}

#[test]
fn json_stays_json_without_its_secrets() {
    check(
        Content::Json,
        &[
            (r#"{"user":"u","password":"p"}"#, r#"{"user":"u","password":"REDACTED"}"#),
            (r#"{"passWord" : "p\"q\\","a":1}"#, r#"{"passWord" : "REDACTED","a":1}"#),
            (r#"{"pin":1234,"a":[1]}"#, r#"{"pin":"REDACTED","a":[1]}"#),
            (r#"{"secret":{"a":"}","b":["]"]},"c":2}"#, r#"{"secret":"REDACTED","c":2}"#),
            (r#"{"tokens":["a"],"token":["a","b"]}"#, r#"{"tokens":["a"],"token":"REDACTED"}"#),
            (r#"{"pass\u0077ord":"p"}"#, r#"{"pass\u0077ord":"REDACTED"}"#),
            (
                r#"{"Authorization":"Bearer x","x-mine":1,"MINE":2}"#,
                r#"{"Authorization":"REDACTED","x-mine":"REDACTED","MINE":"REDACTED"}"#,
            ),
            (r#"{"db_password":null}"#, r#"{"db_password":"REDACTED"}"#),
            (r#"{"u":"https://a:b@h/?token=c","v":1}"#, r#"{"u":"https://REDACTED:REDACTED@h/?token=REDACTED","v":1}"#),
            ("{\"password\"\n:\n\"p\"}", "{\"password\"\n:\n\"REDACTED\"}"),
            (r#"{'password': 'p', token: "t"}"#, r#"{'password': 'REDACTED', token: "REDACTED"}"#),
            (r#"{"a":"b","c":{"d":[1,2,"e:f"]}}"#, r#"{"a":"b","c":{"d":[1,2,"e:f"]}}"#),
            ("", ""),
        ],
    );
}

#[test]
fn json_inside_of_json_is_read_too() {
    let inner = r#"{"password":"p\"q","a":[{"pin":12}]}"#;
    let once = Value::from(inner).to_string();
    let twice = Value::from(once.as_str()).to_string();
    let third = inner.replace('"', r"\u0022");
    for body in
        [format!(r#"{{"m":{once},"z":1}}"#), format!(r#"[{twice},{{"m":{once}}}]"#), format!(r#"{{"m":"{third}"}}"#)]
    {
        let out = hidden(Content::Json, &body);
        assert!(!out.contains("p\\") && !out.contains("q") && !out.contains("12"), "{out}");
        assert!(out.contains(r#""z":1"#) || !body.contains(r#""z":1"#), "{out}");
        assert!(!body.starts_with(r#"{"m":{"#) || serde_json::from_str::<Value>(&out).is_ok(), "{out}");
    }
}

#[test]
fn what_is_cut_is_hidden_to_its_end() {
    check(
        Content::Json,
        &[
            (r#"{"password":"p"#, r#"{"password":"REDACTED"#),
            (r#"{"password":"p\"#, r#"{"password":"REDACTED"#),
            (r#"{"password":"#, r#"{"password":"#),
            (r#"{"secret":{"a":"b"#, r#"{"secret":"REDACTED""#),
            (r#"{"pin":12"#, r#"{"pin":"REDACTED""#),
            (r#"{"passwor"#, r#"{"passwor"#),
        ],
    );
    check(Content::Form, &[("a=b&password=p", "a=b&password=REDACTED"), ("a=b&passw", "a=b&passw")]);
    check(Content::Text, &[("<password>p", "<password>REDACTED"), ("<password a='", "<password a='")]);
}

#[test]
fn forms_lose_the_values_of_their_secret_fields() {
    check(
        Content::Form,
        &[
            ("user=u&password=p&a=b", "user=u&password=REDACTED&a=b"),
            ("password=a/b?c#d;e=f&a=b", "password=REDACTED&a=b"),
            ("user%5Bpassword%5D=p&Pass%77ord=q", "user%5Bpassword%5D=REDACTED&Pass%77ord=REDACTED"),
            ("a=b;password=p&c=d", "a=b;password=REDACTED&c=d"),
            ("a=b\r\npassword=p\r\nc=d", "a=b\r\npassword=REDACTED"),
            ("next=https%3A%2F%2Fh%2F%3Ftoken%3Dt%26x&a=b", "next=https%3A%2F%2Fh%2F%3Ftoken%3DREDACTED%26x&a=b"),
            ("data=%7B%22password%22%3A%22p%22%7D&a=b", "data=REDACTED&a=b"),
            (r#"{"password":"p&q=r"}"#, r#"{"password":"REDACTED"}"#),
            (r#"x{"password":"p=q"}&a=b"#, "REDACTED&a=b"),
            ("a&&=b&=", "a&&=b&="),
        ],
    );
}

#[test]
fn text_may_be_anything() {
    check(
        Content::Text,
        &[
            (" {\"password\":\"p\"}", " {\"password\":\"REDACTED\"}"),
            ("user: u\npassword: p q\nx: y\n", "user: u\npassword: REDACTED\nx: y\n"),
            ("token=t\nx=y token=u z", "token=REDACTED\nx=y token=REDACTED z"),
            ("var token = \"t u\";", "var token = \"REDACTED\";"),
            ("a => 1, 'password' => 'p q', b", "a => 1, 'password' => 'REDACTED', b"),
            ("Set-Cookie: a=b; c\r\nServer: s", "Set-Cookie: REDACTED\r\nServer: s"),
            ("see http://u:p@h/ now", "see http://REDACTED:REDACTED@h/ now"),
            ("it's 10:30, don't", "it's 10:30, don't"),
        ],
    );
}

#[test]
fn markup_loses_what_listed_elements_hold() {
    check(
        Content::Text,
        &[
            ("<a><password>p</password><b>c</b></a>", "<a><password>REDACTED</password><b>c</b></a>"),
            ("<w:Password x=\"1\">p<i>q</i></w:Password>r", "<w:Password x=\"1\">REDACTED</w:Password>r"),
            ("<user password='p q' name='n'/>", "<user password=REDACTED name='n'/>"),
            (
                "<input name=\"csrf_token\" value=\"v\"> <b>x</b>",
                "<input name=\"csrf_token\" value=\"REDACTED\"> <b>x</b>",
            ),
            ("<input value='v' name=password>", "<input value='REDACTED' name=password>"),
            ("<add key=\"ApiKey\" value=\"v\" />t", "<add key=REDACTED value=\"REDACTED\" />t"),
            ("<property name=\"password\">p</property>q", "<property name=\"password\">REDACTED</property>q"),
            ("<p>1 < 2</p><token/>x", "<p>1 < 2</p><token/>x"),
        ],
    );
}

#[test]
fn what_cannot_be_read_is_hidden_as_a_whole() {
    let wide: Vec<u8> = "{\"password\":\"p\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(hidden(Content::Json, &wide), "REDACTED");
    assert_eq!(hidden(Content::Text, b"\xff\xfep"), "REDACTED");
    assert_eq!(hidden(Content::Text, b"\0\0\0\x05abc"), "REDACTED");
    assert_eq!(hidden(Content::Opaque, "--b\r\n"), "REDACTED");
    let mut out = Vec::new();
    Redaction::off().body(Content::Opaque, &wide, &mut out);
    assert_eq!(out, wide, "unless nothing is");
}

/// Keys that are listed, as people write them.
const SECRET: [&str; 8] =
    ["password", "accessToken", "api-key", "SECRET", "pin", "user.password", "Authorization", "csrf_token"];

fn value() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![any::<i32>().prop_map(Value::from), "[ -~\u{e9}]{0,9}".prop_map(Value::from), Just(Value::Null)];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-h]{1,3}", inner), 0..4).prop_map(|pairs| Value::from(Map::from_iter(pairs))),
        ]
    })
}

/// Wraps a value: it is a secret that must not be seen.
fn wrapped(how: u8, secret: &str) -> Value {
    match how {
        0 => Value::from(secret),
        1 => Value::from(vec![secret, secret]),
        2 => serde_json::json!({"a": [secret], "b": {"c": secret}}),
        _ => Value::from(format!("{{\"x\":\"{secret}\"}}")),
    }
}

proptest! {
    #[test]
    fn no_secret_of_generated_json_is_seen_wherever_it_is_cut(
        before in value(), after in value(), key in prop::sample::select(&SECRET[..]), how in 0..4_u8, levels in 0..3,
        pretty: bool, front in 0..=1000_usize,
    ) {
        // In no text that is generated.
        let secret = "\u{2603}hunter2\u{2603}";
        let mut all = serde_json::json!({"a": before, key: wrapped(how, secret), "z": after});
        for _ in 0..levels {
            all = serde_json::json!({"m": all.to_string(), "z": 1});
        }
        let text = if pretty { serde_json::to_string_pretty(&all).unwrap() } else { all.to_string() };
        let front = text.len() * front / 1000;
        for content in [Content::Json, Content::Text, Content::Form] {
            let out = hidden(content, &text.as_bytes()[..front]);
            prop_assert!(!out.contains("hunter") && !out.contains('\u{2603}'), "{content:?}: {out}");
        }
        let out = hidden(Content::Json, &text);
        let read: Result<Value, _> = serde_json::from_str(&out);
        prop_assert!(read.is_ok() || levels > 0, "{out}");
    }

    #[test]
    fn no_secret_of_generated_forms_is_seen_wherever_it_is_cut(
        fields in prop::collection::vec(("[a-h]{1,3}", "[ -%'-~]{0,9}"), 0..5), key in prop::sample::select(&SECRET[..]),
        at in 0..5_usize, raw: bool, front in 0..=1000_usize,
    ) {
        let secret = if raw { "hunter?#/;=2" } else { "hunter%3F%26=2" };
        let mut all: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        all.insert(at.min(all.len()), format!("{key}={secret}"));
        let text = all.join("&");
        let out = hidden(Content::Form, &text.as_bytes()[..text.len() * front / 1000]);
        prop_assert!(!out.contains("hun"), "{out}");
    }

    #[test]
    fn anything_is_taken(text in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        "[{}\\[\\]:=,;&<>/\"'`\\\\u0022 pin\n]{0,200}".prop_map(String::into_bytes),
    ]) {
        for content in [Content::Json, Content::Text, Content::Form, Content::Opaque] {
            let out = hidden(content, &text);
            prop_assert!(out.len() <= 12 * text.len() + 8);
        }
        // Nothing before a key hides that it is one.
        for secret in ["\"hunter2\"", "[\"hunter2", "{\"a\":\"hunter2\"}"] {
            let out = hidden(Content::Json, [&text[..], b"\",\"password\" : ", secret.as_bytes(), b",\"a\":1}"].concat());
            prop_assert!(!out.contains("hunter"), "{out}");
        }
    }
}
