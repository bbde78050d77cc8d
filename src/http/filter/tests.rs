//! Filters of transactions and of TLS connections, as on a command line.

use super::*;
use crate::abi::flag;
use crate::http::Settings;
use crate::http::test_wire::Wire;
use crate::stream::EndReason;
use crate::tls::Fate;

fn takes(filter: &str, wire: &Wire) -> bool {
    let filter = filter.parse().unwrap_or_else(|error| panic!("{error}"));
    Selection { filters: vec![filter], ..Selection::default() }.takes(wire.last(), &interfaces())
}

fn interfaces() -> InterfaceNames {
    InterfaceNames::new(vec!["eth0".to_owned()], 0)
}

fn wire() -> Wire {
    let mut wire = Wire::new(Settings { headers: vec!["X-Cache".to_owned()], ..Settings::default() });
    let head = "GET /api/v1/x?a=b HTTP/1.1\nHost: WWW.Example.com:8080\nUser-Agent: Mozilla/5.0 (X11)";
    wire.ask(1, head, 0).end(0, 1, 0, 0).wait(250);
    wire.answer(1, "HTTP/1.1 404 Not Found\nX-Cache: miss\nX-Cache: Hit", 0).end(1, 1, 0, flag::GAP);
    wire
}

#[test]
fn each_field_selects() {
    let wire = wire();
    for filter in [
        "method=POST,GET",
        "status=404",
        "status=2xx,4xx",
        "status=400-499",
        "status>=404 status<=404 status>403 status<405",
        "status~'^4'",
        "host=*.example.com",
        "host=www.example.com:80*",
        "host=www.example.com",
        "host~'EXAMPLE'",
        "host:EXAMPLE",
        "path=/api/*/x",
        "path='/api/v1/x'",
        "path~'^/api/v\\d+/'",
        "path!~'^/health'",
        "target~(a=b|c=d)$",
        "method!=POST",
        "status!=none",
        "path=/api/v?/x",
        "interface=eth*,any",
        "client=10.0.0.1",
        "client=10.0.0.0/8,192.168.0.0/16",
        "client=10.0.0.1:4321",
        "client:10.0.0.1:43",
        "client~'^10[.]0[.]0[.]1$'",
        "server_port=80 and client_port>1024",
        "server!=10.0.0.9",
        "duration>=250ms",
        "duration_us=250000",
        "duration=0.2s-0.3s",
        "ttfb<1s",
        "flags=gap",
        "flags=*ap,reset",
        "flags!=reset",
        "user_agent='Mozilla/5.0 (X11)'",
        "user_agent~Mozilla/5[.]0\\s(.X11.)",
        "reason:found",
        "ts=2026-01-02",
        "ts>=2026-01-02T03:04:05Z ts<2026-01-02T03:04:06Z",
        "response_headers.x-cache=Hit",
        "Response_Headers.X-Cache=miss",
        "request_headers.x-cache!=a",
        "referer!=a",
        "grpc_status=none",
        "received=0 and request_head_bytes>50",
        "status = 404 , 500",
        "not status=200",
        "!status=200 -status=201",
        "NOT (status=200 or status=201)",
        "status=200 or status=404",
        "status=200 or status=201 or (method=GET and not path=/y)",
        "status=404 and (method=POST OR host:example) method=GET",
        "seq=1 version=1.1",
    ] {
        assert!(takes(filter, &wire), "{filter}");
    }
    for filter in [
        "method=get",
        "status=5xx",
        "status!=404",
        "host=example.com",
        "host='*.example.com'",
        "path=/api",
        "path=*b",
        "path~^/API",
        "status=none",
        "status<404",
        "interface=eth",
        "client=10.0.0.1:4322",
        "client=11.0.0.0/8",
        "client=::/0",
        "client!=10.0.0.0/8",
        "duration>250ms",
        "flags=reset",
        "flags!=gap",
        "ts<2026-01-02",
        "ts>2026-01-02",
        "referer~.",
        "response_headers.x-cache=hit",
        "response_headers.x-cache!=Hit",
        "not status=404",
        "status=404 method=POST",
        "status=404 and method=POST or path=/y",
        "is:failed",
    ] {
        assert!(!takes(filter, &wire), "{filter}");
    }
}

#[test]
fn calls_of_grpc_are_selected_by_what_they_call_and_how_they_end() {
    let mut wire = Wire::new(Settings::default());
    wire.ask_on(1, "POST /pkg.Greeter/SayHello h2\ncontent-type: application/grpc", 0).end_on(0, 1, 12, 0);
    wire.answer_on(1, "h2 200\ncontent-type: application/grpc\ngrpc-status: 5", 0).end_on(1, 1, 0, 0);
    for filter in [
        "version=2",
        "version!=1.1",
        "grpc_service=pkg.*",
        "grpc_method=Say*,Other",
        "grpc_status=5",
        "grpc_status=not_found",
        "grpc_status=1-16",
        "grpc_status=INVALID_ARGUMENT-6",
        "grpc_status!=0",
        "grpc_status>OK",
        "stream=1",
    ] {
        assert!(takes(filter, &wire), "{filter}");
    }
    for filter in ["version=1.0,1.1", "grpc_service=other", "grpc_method=say*", "grpc_status=0,6-16"] {
        assert!(!takes(filter, &wire), "{filter}");
    }
    assert!(Selection { errors: true, ..Selection::default() }.takes(wire.last(), &interfaces()));
    wire.get(1, "/pkg.Greeter/SayHello").reply(1, 200, 0);
    assert!(!takes("grpc_status=0-65535", &wire) && !takes("grpc_service=*", &wire) && takes("version=1.1", &wire));
    for wrong in ["version=3", "version=1.10", "grpc_status=x", "grpc_status=6-5", "grpc_status=65536"] {
        let error = wrong.parse::<Filter>().unwrap_err().to_string();
        assert!(error.contains(wrong.split_once('=').unwrap().1) && error.contains("needed"), "{error}");
    }
}

#[test]
fn operations_are_selected_by_protocol_and_outcome() {
    let mut wire = Wire::new(Settings::default());
    wire.operate(1, "socks", "connect", "h:80").outcome(1, "refused", flag::FAILED);
    for filter in ["protocol=socks", "operation=connect", "method=connect", "error=refused", "is:failed", "status=none"]
    {
        assert!(takes(filter, &wire), "{filter}");
    }
    assert!(!takes("outcome=*", &wire) && !takes("version=*", &wire));
}

#[test]
fn slow_and_errors_must_hold_together() {
    let wire = wire();
    let select = |slow, errors| Selection { slow, errors, ..Selection::default() }.takes(wire.last(), &interfaces());
    assert!(select(Some(250_000_000), true) && select(None, false));
    assert!(!select(Some(250_000_001), true));
    let mut open = Wire::new(Settings::default());
    open.get(1, "/").close(EndReason::Reset);
    assert!(is_error(open.last()) && takes("status=none", &open) && takes("is:failed", &open));
    assert!(!Selection { slow: Some(0), ..Selection::default() }.takes(open.last(), &interfaces()));
}

#[test]
fn tls_connections_have_fields_of_their_own() {
    let fate = Fate { decrypted: false, dark: None, established: true };
    let connection = crate::http::tls::example("Picotap.test", fate, 3_000_000);
    let fits = |text: &str| {
        let filter: Filter = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(filter.foreign(true), None, "{text}");
        filter.fits(&TlsFields(&connection, &interfaces()))
    };
    for filter in [
        "host=*.TEST",
        "host~'^picotap[.]test$'",
        "sni=picotap.test",
        "established=true",
        "decrypted=false",
        "client_bytes=3 server_bytes<5",
        "duration>=3ms",
        "tls.version:1.3",
        "reason=no_data",
        "alert!=x",
    ] {
        assert!(fits(filter), "{filter}");
    }
    for filter in ["host=*.net", "established=false", "duration<1ms", "ech=true"] {
        assert!(!fits(filter), "{filter}");
    }
    let with_port = format!("host=picotap.test:{}", connection.server.port);
    assert!(fits(&with_port) && !fits("host=picotap.test:1"));
    let foreign = |text: &str, tls| text.parse::<Filter>().unwrap().foreign(tls).map(Field::text);
    assert_eq!(foreign("host=a or status=200", true).as_deref(), Some("status"));
    assert_eq!(foreign("established=true", false).as_deref(), Some("established"));
}

#[test]
fn errors_say_what_and_where() {
    let say = |text: &str| text.parse::<Filter>().unwrap_err();
    let error = say("status=200 GET");
    assert_eq!(
        error.to_string(),
        "filter \"status=200 GET\": \"GET\" is no comparison: needed FIELD=VALUE, for example status=5xx"
    );
    assert_eq!(error.place, 11..14);
    let error = say("stauts=500").to_string();
    assert!(error.starts_with(
        "filter \"stauts=500\": \"stauts\" is no field (did you mean status?): needed method, status, host, "
    ));
    assert!(error.contains("tls.sni") && error.ends_with("request_headers.NAME or response_headers.NAME"));
    for status in ["20", "2000", "axx", "0xx", "99-200", "300-200", "+20", "xx", "200-"] {
        let error = say(&format!("status={status}"));
        assert!(
            error.to_string().ends_with("needed a code (404), a class (4xx), a range (500-599) or none"),
            "{error}"
        );
        assert_eq!(error.place, 7..7 + status.len());
    }
    for (text, wrong) in [
        ("", "it is empty"),
        ("path=/a,", "a value is missing here"),
        ("path=", "a value is missing here"),
        ("path='/a", "the closing quote is missing"),
        ("status>4xx", "needed a code (404)"),
        ("status>400,500", "status is compared with one value"),
        ("host>a", "host is a text and has no order"),
        ("duration>5", "needed a time with its unit (250us, 10ms, 1.5s, 2m, 1h)"),
        ("duration>0.5us", "needed a time with its unit"),
        ("sent>1M", "needed a size (4096, 4kB, 1.5MB, 4KiB)"),
        ("seq=9007199254740992", "needed a number"),
        ("client=10.0.0", "this is no address"),
        ("client=[10.0.0.1]", "this is no address"),
        ("client=10.0.0.1/33", "this is no address"),
        ("ts~2026", "ts is a time and no text"),
        ("ts=yesterday", "needed a time as in the log"),
        ("flags=gop", "there is no such flag: needed te_cl_conflict"),
        ("is:slow", "only is:failed is known"),
        ("tls.resumed=yes", "needed true or false"),
        ("path~'['", "this is no regular expression: a \"[\" without its \"]\""),
        ("and status=200", "nothing stands before \"and\""),
        ("status=200 and", "nothing stands behind \"and\""),
        ("or status=200", "nothing stands before \"or\""),
        ("status=200 or", "nothing stands behind \"or\""),
        ("not", "nothing stands behind this"),
        ("()", "nothing stands in these brackets"),
        ("(status=200", "a \"(\" without its \")\""),
        ("status=200)", "a \")\" without its \"(\""),
    ] {
        let error = say(text).to_string();
        assert!(error.contains(wrong), "{error}");
    }
    assert!(say(&"(".repeat(40)).wrong.contains("brackets or negations"));
    assert!(say(&"a".repeat(5000)).wrong.contains("longer than"));
}

#[test]
fn what_is_typed_may_have_words_and_be_empty() {
    assert!(Filter::typed("  ").unwrap().fits(&TransactionFields(wire().last(), &interfaces())));
    let filter = Filter::typed("word localhost:8080 status>=500 -\"a b\" host:x").unwrap();
    let (kept, left_out) = filter.for_table(|field| *field != Field::of("status").unwrap());
    assert_eq!((kept.terms.len(), left_out), (4, vec!["status>=500"]));
    let filter = Filter::typed("a or status=200").unwrap();
    let (kept, left_out) = filter.for_table(|_| false);
    assert_eq!((kept.terms.len(), left_out), (0, vec!["a or status=200"]));
    assert!(Filter::typed("hots=x").is_err() && Filter::typed("hots:x").is_ok());
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused_at_a_place(text in "[a-z0-9 ()'\"\\\\=!~<>:,*?|.\u{e9}-]{0,40}") {
        if let Err(error) = Filter::typed(&text) {
            proptest::prop_assert!(text.get(error.place.clone()).is_some(), "{:?} {:?}", text, error.place);
        }
    }
}

#[test]
fn ports_are_not_confused_with_addresses() {
    for (host, wanted) in
        [("a:80", "a"), ("a", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("a:b", "a:b"), ("::1", "::1")]
    {
        assert_eq!(without_port(host.as_bytes()), wanted.as_bytes());
    }
}
