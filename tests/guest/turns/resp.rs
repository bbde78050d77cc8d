//! Redis' protocol: the parser recognises it and hands the connection over to its module.

use picotap::sandbox::BUILTIN_GUEST;
use picotap::stream::EndReason;
use picotap::stream::Side::{First, Second};
use proptest::prelude::*;

use super::feed::{Feed, Step, bytes, cut, module};

const RESP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/resp.wasm"));

fn feed() -> Feed {
    Feed::new(&[module(BUILTIN_GUEST), module(RESP)])
}

fn command(words: &[&str]) -> String {
    let words: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{words}", words.matches('$').count())
}

/// What is said of these steps, however they are cut, without positions.
fn said(steps: &[Step]) -> Vec<String> {
    let ends = [Step::End(1, First, EndReason::Fin), Step::End(1, Second, EndReason::Fin)];
    let steps = [steps, &ends].concat();
    let mut feed = feed();
    feed.play(&steps);
    assert_eq!(feed.notes.faults, [""; 0]);
    feed.nothing_left();
    for size in [1, 2, 3, 7, 1000] {
        for per_slot in [1, 3, 1000] {
            let mut other = self::feed();
            other.play(&cut(&steps, &[size], per_slot));
            assert_eq!(other.said(1), feed.said(1), "cut {size}, {per_slot} a slot");
            other.nothing_left();
        }
    }
    let short = |line: &&str| {
        let (what, flags) = line.split_once(" [").unwrap();
        if flags.ends_with("0x0") { what.to_owned() } else { format!("{what} failed") }
    };
    feed.said(1).iter().map(short).collect()
}

fn ask(words: &[&str]) -> Step {
    bytes(First, command(words))
}

fn reply(text: &str) -> Step {
    bytes(Second, text)
}

#[test]
fn each_command_is_an_operation_and_each_reply_its_outcome() {
    let steps = [
        ask(&["SET", "a", "b"]),
        reply("+OK\r\n"),
        ask(&["INCR", "a"]),
        reply("-ERR value is not an integer\r\n"),
        ask(&["GET", "a"]),
        reply("$5\r\nhello\r\n"),
        ask(&["GET", "none"]),
        reply("$-1\r\n"),
        ask(&["LLEN", "l"]),
        reply(":3\r\n"),
    ];
    assert_eq!(
        said(&steps),
        [
            r##"0 #1 "SET" "##,
            "1 outcome #1 OK",
            r##"0 #2 "INCR" "##,
            "1 outcome #2 ERR value is not an integer failed",
            r##"0 #3 "GET" "##,
            "1 outcome #3 ",
            r##"0 #4 "GET" "##,
            "1 outcome #4 ",
            r##"0 #5 "LLEN" "##,
            "1 outcome #5 "
        ]
    );
}

#[test]
fn replies_of_every_type_are_counted_over() {
    let replies = [
        "*3\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n*-1\r\n",
        "*0\r\n",
        "*-1\r\n",
        "%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n_\r\n",
        "~2\r\n#t\r\n,1.5\r\n",
        "=7\r\ntxt:abc\r\n",
        "(12345678901234567890\r\n",
        "_\r\n",
        "!5\r\nSORRY\r\n",
        "$0\r\n\r\n",
        "$2\r\n\r\n\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
    ];
    let mut steps: Vec<Step> = replies.iter().map(|_| ask(&["GET"])).collect();
    steps.extend(replies.map(reply));
    steps.extend([ask(&["LAST"]), reply("+last\r\n")]);
    let lines = said(&steps);
    assert_eq!(lines.len(), 2 * replies.len() + 2);
    assert_eq!(lines[replies.len() + 8], "1 outcome #9  failed");
    assert_eq!(lines.last().unwrap(), "1 outcome #13 last");
}

#[test]
fn pushes_answer_nothing() {
    let steps = [
        ask(&["HELLO", "3"]),
        reply("%1\r\n+server\r\n+redis\r\n>2\r\n+message\r\n$3\r\nhey\r\n"),
        ask(&["PING"]),
        reply(">1\r\n+invalidate\r\n+PONG\r\n"),
    ];
    assert_eq!(said(&steps), [r##"0 #1 "HELLO" "##, "1 outcome #1 ", r##"0 #2 "PING" "##, "1 outcome #2 PONG"]);
}

#[test]
fn attributes_are_not_understood_wherever_they_are() {
    for attribute in ["|1\r\n+a\r\n+b\r\n+real\r\n", "*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n"] {
        let steps = [ask(&["A"]), ask(&["B"]), reply(attribute), reply("+second\r\n")];
        let begun: &[&str] = if attribute.starts_with('*') { &["1 outcome #1 "] } else { &[] };
        assert_eq!(said(&steps)[2..], *begun, "{attribute:?}");
    }
}

#[test]
fn inline_commands_are_words_in_a_line_and_empty_lines_are_nothing() {
    let steps = [
        ask(&["PING"]),
        reply("+PONG\r\n"),
        bytes(First, "\r\n  \r\nGET  a b\r\n INFO\r\n"),
        bytes(First, "*0\r\n*-1\r\n"),
        reply("$1\r\n1\r\n"),
        reply("+info\r\n"),
        ask(&["LAST"]),
        reply("+last\r\n"),
    ];
    assert_eq!(
        said(&steps)[2..],
        [
            r##"0 #2 "GET" "##,
            r##"0 #3 "INFO" "##,
            "1 outcome #2 ",
            "1 outcome #3 info",
            r##"0 #4 "LAST" "##,
            "1 outcome #4 last"
        ]
    );
}

#[test]
fn long_strings_are_skipped_and_long_names_cut() {
    let value = "v".repeat(100_000);
    let name = "N".repeat(200);
    let mut feed = feed();
    feed.play(&[ask(&["SET", "k", &value, "x"]), reply("+OK\r\n"), ask(&["GET", "k"])]);
    feed.play(&[reply("$1000000\r\nbegin"), Step::Slot]);
    assert_eq!(feed.notes.hints.last(), Some(&(1, Second, 15 + 1_000_002)));
    feed.skipped(1, Second, 999_997, 0);
    feed.play(&[ask(&[&name]), reply("+long\r\n"), Step::End(1, First, EndReason::Fin)]);
    feed.play(&[Step::End(1, Second, EndReason::Fin)]);
    let lines = feed.said(1);
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(lines[4].contains(&format!("{:?}", "N".repeat(64))), "{lines:?}");
    assert!(lines[5].contains("outcome #3 long"), "{lines:?}");
    feed.nothing_left();
}

#[test]
fn loss_ends_it_and_nothing_wrong_is_said() {
    let value = "v".repeat(1000);
    for lost in [First, Second] {
        let steps = [
            ask(&["A"]),
            ask(&["SET", "k", &value]),
            reply("+a\r\n"),
            Step::Gap(1, lost, 5),
            ask(&["B"]),
            reply("+b\r\n"),
            ask(&["C"]),
            reply("+c\r\n"),
        ];
        let lines = said(&steps);
        assert!(!lines.iter().any(|line| line.contains("outcome") && line.ends_with(" c")), "{lines:?}");
    }
    // The first that the server said was never seen.
    let lines = said(&[ask(&["A"]), Step::Gap(1, Second, 4), ask(&["B"]), reply("+b\r\n")]);
    assert!(!lines.iter().any(|line| line.contains("outcome #1 b")), "{lines:?}");
}

#[test]
fn what_is_not_resp_ends_it() {
    for nonsense in
        ["*x\r\n", "*1\r\n+OK\r\n", "*99999999999\r\n", "*1\n", "*1\r\n$-1\r\n", &format!("{}\r\n", "x".repeat(5000))]
    {
        let lines = said(&[ask(&["A"]), reply("+a\r\n"), bytes(First, nonsense), ask(&["B"]), reply("+b\r\n")]);
        assert_eq!(lines, [r##"0 #1 "A" "##, "1 outcome #1 a"], "{nonsense:?}");
    }
}

#[test]
fn what_no_reply_begins_with_answers_nothing() {
    for nonsense in ["hello\r\n", "\r\n", "HTTP/1.1 400 Bad Request\r\n"] {
        let lines = said(&[ask(&["A"]), reply(nonsense), ask(&["B"]), reply("+b\r\n")]);
        assert_eq!(lines, [r##"0 #1 "A" "##], "{nonsense:?}");
    }
}

#[test]
fn without_the_module_it_is_another_protocol() {
    let mut feed = Feed::new(&[module(BUILTIN_GUEST)]);
    feed.play(&[ask(&["SET", "a", "b"]), reply("+OK\r\n")]);
    assert_eq!(feed.said(1).len(), 1);
    assert!(feed.said(1)[0].contains("NotHttp"), "{:?}", feed.said(1));
}

#[test]
fn a_reply_captured_before_its_command_leaves_the_connection_unknown() {
    let lines = said(&[reply("+OK\r\n"), ask(&["SET", "a", "b"]), ask(&["GET", "a"]), reply(":1\r\n")]);
    assert_eq!(lines, ["1 NotHttp(Other)"]);
}

fn item() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[a-zA-Z ]{0,20}".prop_map(|text| format!("+{text}\r\n")),
        any::<i32>().prop_map(|number| format!(":{number}\r\n")),
        prop::collection::vec(prop::sample::select(vec!['\r', '\n', '*', '$', 'a']), 0..30).prop_map(|text| {
            let text: String = text.into_iter().collect();
            format!("${}\r\n{text}\r\n", text.len())
        }),
        Just("$-1\r\n".to_owned()),
        Just("_\r\n".to_owned()),
    ];
    leaf.prop_recursive(5, 40, 6, |item| {
        (prop::sample::select(vec!['*', '~', '%']), prop::collection::vec(item, 0..6)).prop_map(|(kind, items)| {
            let each = if kind == '%' { 2 } else { 1 };
            let items = &items[..items.len() / each * each];
            format!("{kind}{}\r\n{}", items.len() / each, items.concat())
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn however_replies_are_nested_and_cut_each_answers_its_command(
        replies in prop::collection::vec(item(), 1..8),
        cuts in prop::collection::vec(1..20_usize, 1..8),
        per_slot in prop::sample::select(vec![1_usize, 3, 1000]),
    ) {
        let mut steps: Vec<Step> = (0..replies.len()).map(|n| ask(&[&format!("C{n}"), "key"])).collect();
        steps.extend(replies.iter().map(|text| reply(text)));
        steps.extend([ask(&["LAST"]), reply("+last\r\n")]);
        let mut feed = feed();
        feed.play(&cut(&steps, &cuts, per_slot));
        let lines = feed.said(1);
        prop_assert_eq!(lines.len(), 2 * replies.len() + 2, "{:?}", lines);
        let last = format!("1 outcome #{} last", replies.len() + 1);
        prop_assert!(lines.last().unwrap().starts_with(&last), "{:?}", lines);
    }
}
