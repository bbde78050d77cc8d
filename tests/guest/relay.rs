//! SOCKS and PROXY headers: each step, however it is cut, and what goes wrong in it.

use crate::host::{Happens, Manner, Said, c, fin, gap, lines, parsed, s, said};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Steps of both sides, cut at every byte and not at all, in calls of one and of many events: the same is said.
fn every_cut(happens: &[Happens]) -> Vec<String> {
    let whole = parsed(happens);
    let drip: Vec<Happens> = happens
        .iter()
        .flat_map(|one| match one {
            Happens::Bytes(side, bytes) => bytes.iter().map(|byte| Happens::Bytes(*side, vec![*byte])).collect(),
            other => vec![other.clone()],
        })
        .collect();
    assert_eq!(parsed(&drip), whole, "a byte at a time");
    for (at, one) in happens.iter().enumerate() {
        let Happens::Bytes(side, bytes) = one else { continue };
        for cut in 1..bytes.len() {
            let (front, back) = bytes.split_at(cut);
            let pieces = [Happens::Bytes(*side, front.to_vec()), Happens::More(*side, back.to_vec())];
            let cut_once = [&happens[..at], &pieces, &happens[at + 1..]].concat();
            assert_eq!(lines(Manner::default(), &cut_once), whole, "step {at} cut at {cut}");
        }
    }
    whole
}

fn socks5(command: u8, address: &[u8], port: u16) -> Vec<u8> {
    [&[5, command, 0][..], address, &port.to_be_bytes()].concat()
}

fn name(name: &[u8]) -> Vec<u8> {
    [&[3, u8::try_from(name.len()).expect("short")][..], name].concat()
}

const IPV4: &[u8] = &[1, 192, 0, 2, 1];
const IPV6: &[u8] = &[4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 1];
const GRANTED: &[u8] = &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

/// A whole exchange of SOCKS 5 without login.
fn exchange(request: &[u8], answer: &[u8]) -> [Happens; 4] {
    [c(b"\x05\x01\0"), s(b"\x05\0"), c(request), s(answer)]
}

#[test]
fn socks_5_names_its_target_in_every_way_there_is() {
    let long = [b'n'; 255];
    for (address, target) in [
        (IPV4.to_vec(), "192.0.2.1:80".to_owned()),
        (IPV6.to_vec(), "[2001:db8::ff01]:80".to_owned()),
        (name(b"example.com"), "example.com:80".to_owned()),
        (name(&long), format!("{}:80", "n".repeat(255))),
        (name(b""), ":80".to_owned()),
        (name(b"a\0\xff"), "a\\x00\\xff:80".to_owned()),
    ] {
        let said = every_cut(&exchange(&socks5(1, &address, 80), GRANTED));
        assert_eq!(
            said,
            [format!("0 operation#1 connect {target}"), "1 outcome#1 succeeded".into(), "1 tunnel#1 socks".into()]
        );
    }
    let said = every_cut(&exchange(&socks5(1, IPV4, 65535), &[&[5, 0, 0][..], IPV6, &[255, 255]].concat()));
    assert_eq!(said[0], "0 operation#1 connect 192.0.2.1:65535");
    assert_eq!(every_cut(&exchange(&socks5(1, IPV4, 0), &[&[5, 0, 0][..], &name(&long), &[0, 0]].concat())).len(), 3);
}

#[test]
fn a_login_is_passed_over_and_not_said() {
    for (user, password) in [(&b"me"[..], &b"secret"[..]), (b"", b""), (&[b'u'; 255], &[b'p'; 255])] {
        let length = |text: &[u8]| [u8::try_from(text.len()).expect("short")];
        let login = [&[1][..], &length(user), user, &length(password), password].concat();
        let happens =
            [c(b"\x05\x02\0\x02"), s(b"\x05\x02"), c(&login), s(b"\x01\0"), c(socks5(1, IPV4, 80)), s(GRANTED)];
        let said = every_cut(&happens);
        assert_eq!(said, ["0 operation#1 connect 192.0.2.1:80", "1 outcome#1 succeeded", "1 tunnel#1 socks"]);
    }
}

#[test]
fn all_in_one_go_before_any_answer() {
    let login = b"\x01\x01u\x01p";
    let asked = [&b"\x05\x01\x02"[..], login, &socks5(1, IPV4, 80), GET.as_bytes()].concat();
    let said = every_cut(&[c(&asked), s([&b"\x05\x02\x01\0"[..], GRANTED].concat())]);
    assert_eq!(said, ["0 operation#1 connect 192.0.2.1:80", "1 outcome#1 succeeded", "1 tunnel#1 socks"]);
}

#[test]
fn what_is_refused_fails_with_its_reason() {
    for (code, reason) in [
        (1, "general failure"),
        (5, "connection refused"),
        (8, "address type not supported"),
        (9, "failed"),
        (255, "failed"),
    ] {
        let mut answer = GRANTED.to_vec();
        answer[1] = code;
        let said = every_cut(&exchange(&socks5(1, IPV4, 80), &answer));
        assert_eq!(said[1], format!("1 outcome#1 {reason} +failed"));
        assert!(!said.iter().any(|line| line.contains("tunnel")), "{said:?}");
    }
}

#[test]
fn other_commands_open_nothing_that_is_followed() {
    for (command, verb) in [(2, "bind"), (3, "associate")] {
        let said = every_cut(&exchange(&socks5(command, IPV4, 80), GRANTED));
        assert_eq!(said[..2], [format!("0 operation#1 {verb} 192.0.2.1:80"), "1 outcome#1 succeeded".into()]);
        assert!(!said.iter().any(|line| line.contains("tunnel")), "{said:?}");
    }
}

#[test]
fn what_is_not_socks_5_after_all_is_given_up() {
    let good = socks5(1, IPV4, 80);
    for (what, request) in [
        ("version", [&[4], &good[1..]].concat()),
        ("command 0", [&[5, 0], &good[2..]].concat()),
        ("command 4", [&[5, 4], &good[2..]].concat()),
        ("reserved", [&[5, 1, 1], &good[3..]].concat()),
        ("address type", [&[5, 1, 0, 2], &good[4..]].concat()),
    ] {
        assert_eq!(every_cut(&exchange(&request, GRANTED)), ["0 not_http other"], "{what}");
    }
    // No method that is known: none is acceptable, GSSAPI, one of somebody's own.
    for method in [0xff, 1, 0x80] {
        let happens = [c(b"\x05\x03\0\x01\x80"), s([5, method]), c(&good), s(GRANTED)];
        assert_eq!(every_cut(&happens), ["1 not_http other"], "{method}");
    }
    for answer in [&b"\x04\0"[..], b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        assert_eq!(every_cut(&[c(b"\x05\x01\0"), s(answer), c(&good)]), ["1 not_http other"]);
    }
    for answer in [&b"\x04\0\0\x01\0\0\0\0\0\0"[..], b"\x05\0\0\x09\0\0\0\0\0\0"] {
        let said = every_cut(&exchange(&good, answer));
        assert_eq!(said, ["0 operation#1 connect 192.0.2.1:80", "1 not_http other"]);
    }
}

fn socks4(command: u8, ip: [u8; 4], behind: &[u8]) -> Vec<u8> {
    [&[4, command, 0, 80][..], &ip, behind].concat()
}

#[test]
fn socks_4_and_4a() {
    let long = [b'n'; 255];
    for (request, target) in [
        (socks4(1, [192, 0, 2, 1], b"\0"), "192.0.2.1:80".to_owned()),
        (socks4(1, [192, 0, 2, 1], b"user\0"), "192.0.2.1:80".to_owned()),
        (socks4(1, [192, 0, 2, 1], &[&long[..], b"\0"].concat()), "192.0.2.1:80".to_owned()),
        (socks4(1, [0, 0, 0, 0], b"\0"), "0.0.0.0:80".to_owned()),
        (socks4(1, [0, 0, 0, 1], b"user\0example.com\0"), "example.com:80".to_owned()),
        (socks4(1, [0, 0, 0, 255], &[&long[..], b"\0", &long[..], b"\0"].concat()), format!("{}:80", "n".repeat(255))),
    ] {
        let said = every_cut(&[c(&request), s(b"\0\x5a\0\0\0\0\0\0"), c(GET)]);
        assert_eq!(
            said,
            [format!("0 operation#1 connect {target}"), "1 outcome#1 granted".into(), "1 tunnel#1 socks".into()]
        );
    }
    let said = every_cut(&[c(socks4(1, [192, 0, 2, 1], b"\0")), s(b"\0\x5b\0\0\0\0\0\0")]);
    assert_eq!(said[1], "1 outcome#1 rejected +failed");
    let said = every_cut(&[c(socks4(2, [192, 0, 2, 1], b"\0")), s(b"\0\x5a\0\0\0\0\0\0")]);
    assert_eq!(said[..2], ["0 operation#1 bind 192.0.2.1:80", "1 outcome#1 granted"]);
}

#[test]
fn what_is_not_socks_4_after_all_is_given_up() {
    let endless = [b'u'; 700];
    for request in [
        socks4(1, [192, 0, 2, 1], &endless),
        socks4(1, [0, 0, 0, 1], &endless),
        socks4(1, [0, 0, 0, 1], &[&b"u\0"[..], &endless[..256], b"\0"].concat()),
    ] {
        assert_eq!(every_cut(&[c(&request), s(b"\0\x5a\0\0\0\0\0\0")]), ["0 not_http other"]);
    }
    let said = every_cut(&[c(socks4(1, [192, 0, 2, 1], b"\0")), s(b"\x01\x5a\0\0\0\0\0\0")]);
    assert_eq!(said[1], "1 not_http other");
    assert_eq!(every_cut(&[c(b"\x04\x03\0\x50\0\0\0\0\0")]), ["0 not_http other"]);
}

#[test]
fn answers_that_are_captured_before_their_questions_wait_for_them() {
    let request = socks5(1, IPV4, 80);
    let expected = ["0 operation#1 connect 192.0.2.1:80", "1 outcome#1 succeeded", "1 tunnel#1 socks"];
    // The answer waits for more of its side, or for its end.
    let happens = [c(b"\x05\x01\0"), s([&b"\x05\0"[..], GRANTED].concat()), c(&request), fin(1)];
    assert_eq!(
        lines(Manner::default(), &happens),
        ["0 operation#1 connect 192.0.2.1:80", "1 outcome#1 succeeded", "1 tunnel#1 socks"]
    );
    let happens = [c(b"\x05\x01\0"), s(b"\x05\0"), s(GRANTED), c(&request), s(GET)];
    assert_eq!(every_cut(&happens), expected);
}

#[test]
fn ends_and_gaps_in_a_handshake_end_it() {
    let request = socks5(1, name(b"example.com").as_slice(), 80);
    let steps = exchange(&request, GRANTED);
    for at in 0..=2 {
        for cut in 1..3 {
            let Happens::Bytes(side, bytes) = &steps[at] else { continue };
            let front = Happens::Bytes(*side, bytes[..cut.min(bytes.len() - 1)].to_vec());
            for last in [fin(*side), gap(*side, 3)] {
                let happens = [&steps[..at], &[front.clone(), last], &[c(GET), s(GET), fin(0), fin(1)]].concat();
                let said = parsed(&happens);
                assert!(
                    !said.iter().any(|line| line.contains("tunnel") || line.contains("outcome")),
                    "{at} {cut}: {said:?}"
                );
            }
        }
    }
}

#[test]
fn garbage_behind_a_handshake_is_inside() {
    let said = said(Manner::default(), &exchange(&socks5(1, IPV4, 80), &[GRANTED, b"\xff\xfe garbage"].concat()));
    let tunnel: &Said = said.last().expect("a tunnel");
    assert_eq!((tunnel.line().as_str(), tunnel.start, tunnel.end), ("1 tunnel#1 socks", 12, 12));
}

#[test]
fn proxy_headers_of_version_1() {
    for (header, line) in [
        ("PROXY TCP4 192.0.2.1 192.0.2.2 4000 80\r\n", "0 tunnel#0 proxy 192.0.2.1:4000 192.0.2.2:80"),
        ("PROXY TCP6 2001:db8::1 ::1 4000 80\r\n", "0 tunnel#0 proxy [2001:db8::1]:4000 [::1]:80"),
        ("PROXY UNKNOWN\r\n", "0 tunnel#0 proxy"),
        ("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "0 tunnel#0 proxy"),
    ] {
        assert_eq!(every_cut(&[c(header), c(GET), s("x")]), [line], "{header:?}");
        assert_eq!(every_cut(&[c(format!("{header}{GET}"))]), [line], "{header:?}");
    }
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    assert_eq!(every_cut(&[c(&longest)]), ["0 tunnel#0 proxy"]);
    for header in [
        "PROXY TCP4 192.0.2.1 192.0.2.2 4000\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 4000 80 1\r\n",
        "PROXY TCP5 192.0.2.1 192.0.2.2 4000 80\r\n",
        "PROXY UDP4 192.0.2.1 192.0.2.2 4000 80\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 4000 80\n",
        "PROXY \r\n",
        &longest.replace("xx", "xxx"),
    ] {
        assert_eq!(every_cut(&[c(header), c(GET)]), ["0 not_http other"], "{header:?}");
    }
}

fn proxy2(version_command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).expect("short").to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[version_command, family], &length, addresses].concat()
}

#[test]
fn ipv6_addresses_are_written_as_the_host_writes_them() {
    for text in ["::", "::1", "1::", "1:2::", "::7:8", "1:0:3::8", "1::4:0:0:8", "1:0:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"] {
        let address: std::net::Ipv6Addr = text.parse().unwrap();
        let wire = [&[4][..], &address.octets()].concat();
        let said = every_cut(&exchange(&socks5(1, &wire, 80), GRANTED));
        assert_eq!(said[0], format!("0 operation#1 connect [{address}]:80"));
        assert_eq!(text, address.to_string());
    }
}

#[test]
fn proxy_headers_of_version_2() {
    let ipv4 = [192, 0, 2, 1, 192, 0, 2, 2, 0x0f, 0xa0, 0, 80];
    let ipv6 = [&IPV6[1..], &IPV6[1..], &[0x0f, 0xa0, 0, 80]].concat();
    let tlv = [&ipv4[..], b"\x03\0\x04\x01\x02\x03\x04\x04\0\0"].concat();
    let big = [&ipv4[..], &[0; 3000]].concat();
    let address = "[2001:db8::ff01]";
    for (header, line) in [
        (proxy2(0x21, 0x11, &ipv4), "0 tunnel#0 proxy 192.0.2.1:4000 192.0.2.2:80".to_owned()),
        (proxy2(0x21, 0x11, &tlv), "0 tunnel#0 proxy 192.0.2.1:4000 192.0.2.2:80".to_owned()),
        (proxy2(0x21, 0x11, &big), "0 tunnel#0 proxy 192.0.2.1:4000 192.0.2.2:80".to_owned()),
        (proxy2(0x21, 0x21, &ipv6), format!("0 tunnel#0 proxy {address}:4000 {address}:80")),
        (proxy2(0x20, 0x00, b""), "0 tunnel#0 proxy".to_owned()),
        (proxy2(0x20, 0x11, &ipv4), "0 tunnel#0 proxy".to_owned()),
        (proxy2(0x21, 0x00, b""), "0 tunnel#0 proxy".to_owned()),
        (proxy2(0x21, 0x31, &[0; 216]), "0 tunnel#0 proxy".to_owned()),
        (proxy2(0x21, 0x12, &ipv4), "0 tunnel#0 proxy".to_owned()),
        // Too short for what it says.
        (proxy2(0x21, 0x21, &ipv4), "0 tunnel#0 proxy".to_owned()),
    ] {
        let whole = if header.len() > 1000 { parsed(&[c(&header), c(GET)]) } else { every_cut(&[c(&header), c(GET)]) };
        assert_eq!(whole, [line.as_str()]);
        let at_end = said(Manner::default(), &[c([&header[..], GET.as_bytes()].concat())]);
        assert_eq!((at_end[0].line(), at_end[0].start), (line, header.len() as u64));
    }
    for header in [proxy2(0x11, 0x11, &ipv4), proxy2(0x31, 0x11, &ipv4), proxy2(0x22, 0x11, &ipv4)] {
        assert_eq!(every_cut(&[c(&header), c(GET)]), ["0 not_http other"]);
    }
    // Longer than may wait.
    assert_eq!(parsed(&[c(proxy2(0x21, 0x11, &[0; 65535])), c(GET)]), ["0 not_http other"]);
    // The empty lines that it begins with may be before a request.
    assert_eq!(every_cut(&[c(format!("\r\n\r\n{GET}"))])[0], "0 req#1 GET / 1.1 none +leading_empty");
    assert_eq!(every_cut(&[c("PROXIES / HTTP/1.1\r\nHost: a\r\n\r\n")])[0], "0 req#1 PROXIES / 1.1 none");
}

#[test]
fn a_header_cut_by_the_end_or_a_gap_is_none() {
    for header in [
        b"PROXY TCP4 192.0.2.1 192".to_vec(),
        proxy2(0x21, 0x11, &[0; 12])[..20].to_vec(),
        b"PRO".to_vec(),
        b"\x05".to_vec(),
    ] {
        for last in [fin(0), gap(0, 5)] {
            let said = parsed(&[c(&header), last, c(GET)]);
            assert!(!said.iter().any(|line| line.contains("tunnel")), "{said:?}");
        }
    }
}
