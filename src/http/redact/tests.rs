use proptest::prelude::*;

use super::*;

fn written(redaction: &Redaction, shape: Shape, text: &str) -> String {
    let mut out = Vec::new();
    redaction.write(shape, text.as_bytes(), &mut out);
    String::from_utf8(out).unwrap()
}

/// Texts of a shape, `before => after`; one side alone stays as it is.
fn table(shape: Shape, lines: &[&str]) {
    for line in lines {
        let (before, after) = line.split_once(" => ").unwrap_or((line, line));
        assert_eq!(written(&Redaction::default(), shape, before), after, "{before}");
        assert_eq!(written(&Redaction::off(), shape, before), before);
    }
}

#[test]
fn values_of_listed_keys_are_hidden_and_their_keys_stay() {
    table(
        Shape::Url,
        &[
            "/a?x=1&sig=s&y=2 => /a?x=1&sig=REDACTED&y=2",
            "/a?sig=s;s#f => /a?sig=REDACTED#f",
            "/a?b=1;sig=s;c=2 => /a?b=1;sig=REDACTED;c=2",
            "/a?X-Amz-Signature= => /a?X-Amz-Signature=REDACTED",
            "/a?x-amz-security-token=s => /a?x-amz-security-token=REDACTED",
            "/a?token=s=s&b => /a?token=REDACTED&b",
            "/a?token=s?s/s,s s\"s => /a?token=REDACTED",
            "?token=s => ?token=REDACTED",
            "token=s => token=REDACTED",
        ],
    );
}

#[test]
fn keys_are_compared_without_case_and_signs_and_after_decoding() {
    table(
        Shape::Url,
        &[
            "/?SIG=s => /?SIG=REDACTED",
            "/?%73i%67=s => /?%73i%67=REDACTED",
            "/?apiKey=s&API-KEY=s&api_key=s&api+key=s => /?apiKey=REDACTED&API-KEY=REDACTED&api_key=REDACTED&api+key=REDACTED",
            "/?user[password]=s&user%5Bpassword%5D=s => /?user[password]=REDACTED&user%5Bpassword%5D=REDACTED",
            "/?token[]=s&token[a]=s&user.password=s => /?token[]=REDACTED&token[a]=REDACTED&user.password=REDACTED",
            "/?ASP.NET_SessionId=s => /?ASP.NET_SessionId=REDACTED",
            "/?signal=2&tokens=3&keyboard=4&design=5&monkey=6&passage=7&%7=1&%=2&si%",
            "/?nottoken=1&q[tokens]=2&[]=3&=4&==5&[=6",
        ],
    );
}

#[test]
fn parameters_of_paths_and_fragments_are_seen() {
    table(
        Shape::Url,
        &[
            "/x;sig=s/y => /x;sig=REDACTED/y",
            "/x;a=1;jsessionid=s;b=2?c=3 => /x;a=1;jsessionid=REDACTED;b=2?c=3",
            "/x;sig=s&s/y => /x;sig=REDACTED/y",
            "/token=s/y => /token=REDACTED/y",
            "/x#access_token=s&state=1 => /x#access_token=REDACTED&state=1",
            "/x?a#/route?code=s&b => /x?a#/route?code=REDACTED&b",
            "/x?a=/y;sig=s/s&b => /x?a=/y;sig=REDACTED&b",
        ],
    );
}

#[test]
fn user_information_goes_from_every_url() {
    table(
        Shape::Url,
        &[
            "http://u:p@h/x => http://REDACTED:REDACTED@h/x",
            "http://u@h => http://REDACTED@h",
            "http://a:b@c@h/ => http://REDACTED:REDACTED@h/",
            "http://u:p%2Fp@h/ => http://REDACTED:REDACTED@h/",
            "http://u;a:p&p@h/ => http://REDACTED:REDACTED@h/",
            "http:\\\\u:p@h\\x => http:\\\\REDACTED:REDACTED@h\\x",
            "http:///u:p@h/ => http:///REDACTED:REDACTED@h/",
            "//u:p@h/ => //REDACTED:REDACTED@h/",
            "/a?b=//u:p@h/ => /a?b=//REDACTED:REDACTED@h/",
            "/p/http://u:p@h/?next=ftp://v:w@i/@ => /p/http://REDACTED:REDACTED@h/?next=ftp://REDACTED:REDACTED@i/@",
            "/?a=http://u:p@h?token=s => /?a=http://REDACTED:REDACTED@h?token=REDACTED",
            "http://token=s:p@h/ => http://REDACTED:REDACTED@h/",
            "/mail/a@b?c=d@e",
            "http://h/@:x",
            "http://@h/",
            "/a//b@c/d",
            "/a?next=//h&mail=b@c",
            "/repository//@scope/package",
        ],
    );
}

#[test]
fn what_a_value_holds_percent_encoded_is_seen_twice_deep() {
    table(
        Shape::Url,
        &[
            "/?next=https%3A%2F%2Fu%3Ap%40h%2F%3Ftoken%3Ds => \
             /?next=https%3A%2F%2FREDACTED%3AREDACTED%40h%2F%3Ftoken%3DREDACTED",
            "/?next=https://h/%3Ftoken=s%26x%3D1&y=2 => /?next=https://h/%3Ftoken=REDACTED%26x%3D1&y=2",
            "/?next=%2Fx%3btoken%3ds%2Fy%3fa&b => /?next=%2Fx%3btoken%3dREDACTED%2Fy%3fa&b",
            "/?a=b%3Fc%253Ftoken%253Ds%2526d%26e => /?a=b%3Fc%253Ftoken%253DREDACTED%2526d%26e",
            "/?a=https%253A%252F%252Fu%253Ap%2540h => /?a=https%253A%252F%252FREDACTED%253AREDACTED%2540h",
            "/?state=token%3Ds%26x%3D1&y => /?state=token%3DREDACTED%26x%3D1&y",
            "/?a=%23access_token%3Ds&b => /?a=%23access_token%3DREDACTED&b",
            "/to/https%3A%2F%2Fu%3Ap%40h/x => /to/https%3A%2F%2FREDACTED%3AREDACTED%40h/x",
            "/?password=a%26b%23c&d => /?password=REDACTED&d",
            "/?q=a%40b%3Dc%26d%2F%2Fe%40f",
            "/100%/%zz?%3",
        ],
    );
}

#[test]
fn authorities_lose_their_user_information() {
    table(
        Shape::Authority,
        &[
            "u:p@h:443 => REDACTED:REDACTED@h:443",
            "u:p%40h => REDACTED:REDACTED%40h",
            "u:p,p;p@h => REDACTED:REDACTED@h",
            "u:p@h/x?token=s => REDACTED:REDACTED@h/x?token=REDACTED",
            "http://u:p@h/ => http://REDACTED:REDACTED@h/",
            "http:u:p@h/ => REDACTED:REDACTED@h/",
            "h:80",
            "[::1]:80",
        ],
    );
    table(
        Shape::Authorities,
        &[
            "a:1, u:p@h:2,v@i => a:1, REDACTED:REDACTED@h:2,REDACTED@i",
            "for=\"[::1]:1\";host=u:p@h;proto=http, host=\"u:p=p@i\" => \
             for=\"[::1]:1\";host=REDACTED:REDACTED@h;proto=http, host=\"REDACTED:REDACTED@i\"",
            "for=_a;secret=s;by=b => for=_a;secret=REDACTED;by=b",
        ],
    );
    let target = |method: &str, target: &str| {
        let mut out = Vec::new();
        Redaction::default().target(method.as_bytes(), target.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(target("CONNECT", "u:p@h:443"), "REDACTED:REDACTED@h:443");
    assert_eq!(target("connect", "u:p@h:443"), "REDACTED:REDACTED@h:443");
    assert_eq!(target("GET", "//u:p@h:443/"), "//REDACTED:REDACTED@h:443/");
    assert_eq!(target("GET", "/u:p@h:443/"), "/u:p@h:443/");
}

#[test]
fn words_around_a_url_stay() {
    table(
        Shape::Text,
        &[
            "<https://u:p@h/?token=s>; rel=\"next\", </?a=1,2&sig=s>; rel=x => \
             <https://REDACTED:REDACTED@h/?token=REDACTED>; rel=\"next\", </?a=1,2&sig=REDACTED>; rel=x",
            "0; url=http://u:p@h/?a=b&token=s => 0; url=http://REDACTED:REDACTED@h/?a=b&token=REDACTED",
            "bot/1.0 (+http://u:p@h/?key=s) x => bot/1.0 (+http://REDACTED:REDACTED@h/?key=REDACTED) x",
            "a=1, token=s, b=2; key=s x => a=1, token=REDACTED, b=2; key=REDACTED x",
            "keyId=\"k\",signature=\"s s,s\",b=\"c\" => keyId=\"k\",signature=\"REDACTED\",b=\"c\"",
            "signature=\"s => signature=\"REDACTED",
            "see http://h/ or mail a@b",
            "mailto:a@b",
            "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) a=b",
            "max-age=1; includeSubDomains",
            "form-data; name=\"token\"; filename=\"a b\"",
        ],
    );
}

#[test]
fn own_names_are_added() {
    let own = Redaction::with(["Ticket", "a[b]"], ["x-Mine", "User-Agent"]);
    assert_eq!(written(&own, Shape::Url, "/?ticket=1&a[b]=2&sig=3"), "/?ticket=REDACTED&a[b]=REDACTED&sig=REDACTED");
    assert_eq!(own.shape(b"X-MINE"), Shape::Secret);
    assert_eq!(own.shape(b"user-agent"), Shape::Secret);
    assert_eq!(written(&own, Shape::Secret, "abc"), "REDACTED");
}

#[test]
fn headers_are_known_by_name() {
    let shape = |name: &str| Redaction::default().shape(name.as_bytes());
    for secret in
        ["AUTHORIZATION", "set-cookie", "X-Api-Key", "X-Auth-Token", "X-Amz-Security-Token", "X-CSRF-Token", "Api-Key"]
    {
        assert_eq!(shape(secret), Shape::Secret, "{secret}");
    }
    for text in ["User-Agent", "Link", "ETag", "Sec-WebSocket-Key", "Idempotency-Key", "X-Request-Id"] {
        assert_eq!(shape(text), Shape::Text, "{text}");
    }
    assert_eq!(shape("LOCATION"), Shape::Url);
    assert_eq!(shape("Host"), Shape::Authority);
    assert_eq!(shape("Forwarded"), Shape::Authorities);
    assert_eq!(Redaction::off().shape(b"x-mine"), Shape::Text);
}

const SHAPES: [Shape; 4] = [Shape::Url, Shape::Authority, Shape::Authorities, Shape::Text];

/// How many symbols are read in a text of so many bytes.
fn steps(shape: Shape, text: &[u8]) -> usize {
    let names = Redaction::default().names.unwrap();
    let grammar = match shape {
        Shape::Url => Grammar::Url,
        Shape::Authority => Grammar::Authority,
        Shape::Authorities => Grammar::Authorities,
        Shape::Text | Shape::Secret => Grammar::Text,
    };
    Scan::new(text, grammar, &names.keys, &mut Vec::new()).run()
}

#[test]
fn hostile_texts_take_linear_time() {
    const SIZE: usize = 64 << 10;
    let patterns = [
        "://",
        "//",
        "%",
        ";",
        "=",
        ";=",
        "@",
        "://@",
        "://a@",
        ";a=//",
        "%3A%2F%2F",
        "/%2F",
        "%2F%252F/",
        "%25",
        "%253A%252F%252F",
        "&//",
        "?//",
        ",",
        "\"",
        "=\"",
        "token=\"",
        "token=",
        ";token=",
        "=:",
        "=:,",
        ":=",
        "<",
        "(",
        "[",
        "a[",
        "\\",
        "%3D",
        "=%3D%253D",
        "//%2F%2F%252F%252F",
        ":%2F%2F%252F",
    ];
    for pattern in patterns {
        let text = pattern.repeat(SIZE / pattern.len());
        for shape in SHAPES {
            for text in [text.clone(), format!("{text}@"), format!("//{text}"), format!("?a=//{text}=")] {
                let steps = steps(shape, text.as_bytes());
                assert!(steps <= 6 * text.len(), "{pattern}: {steps} steps for {} bytes", text.len());
            }
        }
    }
}

/// Pieces that mean something, and some that do not.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/", "//", "\\", "?", "#", "&", ";", "=", "@", ":", "%", "%2F", "%3D", "%26", "%40", "%253F", "%25", ",", " ",
        "\"", "<", ">", "(", ")", "a", "token", "x[sig]", "http:", "%3A", "é",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_takes_linear_time(text in pieces()) {
        for shape in SHAPES {
            prop_assert!(steps(shape, text.as_bytes()) <= 6 * text.len() + 6);
        }
    }

    #[test]
    fn all_but_the_secrets_stays_in_its_order(text in pieces()) {
        for shape in SHAPES {
            let after = written(&Redaction::default(), shape, &text);
            let mut rest = text.as_str();
            for (index, kept) in after.split("REDACTED").enumerate() {
                let at = if index == 0 { rest.starts_with(kept).then_some(0) } else { rest.find(kept) };
                prop_assert!(at.is_some(), "{after:?} is not what {text:?} holds");
                rest = &rest[at.unwrap() + kept.len()..];
            }
        }
    }

    /// A glance finds no secret only where a scan finds none.
    #[test]
    fn a_glance_sees_what_a_scan_does(text in pieces()) {
        let mut keys = Keys::default();
        ["token", "sig"].iter().for_each(|key| keys.add(key.as_bytes()));
        let mut scanned = Vec::new();
        Scan::new(text.as_bytes(), Grammar::Url, &keys, &mut scanned).run();
        prop_assert!(scanned == text.as_bytes() || !scan::is_plain(text.as_bytes(), &keys), "{}", text);
    }

    #[test]
    fn a_text_without_listed_keys_and_authorities_stays(text in "([qx]|/[qx]|[?&;#=.,_~@ -]|%3d|%26){0,60}") {
        for shape in [Shape::Url, Shape::Text] {
            prop_assert_eq!(written(&Redaction::default(), shape, &text), text.as_str());
        }
    }

    /// Wherever a secret is, at any depth, it is hidden.
    #[test]
    fn a_secret_is_hidden_wherever_it_stands(
        before in "[a-z]{0,3}", mark in prop::sample::select(vec!["?", "&", ";", "#", "?a=b&", "?x[y]=1&"]),
        key in prop::sample::select(KEYS.to_vec()), secret in "HUNTER[A-Z0-9]{2,9}", more in "(&z=1)?", depth in 0..3usize,
    ) {
        let inner = format!("https://{secret}:{secret}@h/{before}{mark}{key}={secret}{more}");
        let inner = (0..depth).fold(inner, |text, _| encoded(&text));
        for text in [format!("/{inner}"), format!("/?next={inner}&y=1"), format!("/a/b;c={inner}/d"), format!("/#next={inner}")] {
            for shape in SHAPES {
                let after = written(&Redaction::default(), shape, &text);
                prop_assert!(!after.contains("HUNTER"), "{text} gives {after}");
            }
        }
    }
}

fn encoded(text: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("%{:02X}", c as u32) };
    text.chars().map(letter).collect()
}
