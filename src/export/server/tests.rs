use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::*;

fn pages() -> Pages {
    Pages {
        metrics: Box::new(|| Some(Ok("up 1\n".to_owned()))),
        healthy: Box::new(|| Ok("alive\n".to_owned())),
        ready: Box::new(|| Err("no packet yet".to_owned())),
        feed: None,
    }
}

fn serve(pages: Pages) -> Server {
    bind("127.0.0.1:0".parse().unwrap()).unwrap().serve(pages).unwrap()
}

fn server() -> Server {
    serve(pages())
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Sends a request, and reads until the server closes: it does when this side has.
fn ask(server: &Server, request: &[u8]) -> String {
    let mut stream = connect(server);
    stream.write_all(request).unwrap();
    // The server may have answered and closed already.
    if let Err(error) = stream.shutdown(std::net::Shutdown::Write) {
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    }
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Reads one response with a length.
fn read_one(stream: &mut TcpStream) -> io::Result<String> {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let length = head.split("Content-Length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(head + std::str::from_utf8(&body).unwrap())
}

#[expect(clippy::disallowed_methods, reason = "the server's deadlines are on this clock")]
fn clock() -> Instant {
    Instant::now()
}

#[test]
fn each_page_is_there() {
    let server = server();
    assert!(ask(&server, b"GET /metrics?x HTTP/1.1\r\n\r\n").ends_with("\r\n\r\nup 1\n"));
    assert!(ask(&server, b"GET /healthz HTTP/1.0\r\n\r\n").ends_with("alive\n"));
    let ready = ask(&server, b"GET /readyz HTTP/1.1\r\n\r\n");
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("no packet yet\n"));
    assert!(ask(&server, b"GET / HTTP/1.1\r\n\r\n").contains("<h1>picotap"));
    assert!(ask(&server, b"GET /x HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
}

#[test]
fn every_page_forbids_what_a_browser_could_do_with_it() {
    let server = server();
    for target in ["/", "/metrics", "/healthz", "/readyz", "/x"] {
        let text = ask(&server, format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes());
        for header in [
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Content-Security-Policy: default-src 'none'",
        ] {
            assert!(text.contains(header), "{target}: {text}");
        }
    }
}

#[test]
fn head_has_the_length_but_not_the_body() {
    let text = ask(&server(), b"HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(text.contains("Content-Length: 5\r\n") && text.ends_with("\r\n\r\n"), "{text}");
}

#[test]
fn other_requests_are_refused() {
    let server = server();
    let text = ask(&server, b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    assert!(text.starts_with("HTTP/1.1 405 ") && text.contains("Allow: GET, HEAD"));
    assert!(ask(&server, b"\x16\x03\x01\x00\x00").starts_with("HTTP/1.1 400 "));
    let head = |size: usize| [b"GET / HTTP/1.1\r\nX: ".as_slice(), &vec![b'x'; size], b"\r\n\r\n"].concat();
    assert!(ask(&server, &head(8100)).starts_with("HTTP/1.1 200 "));
    for size in [8192, 60_000] {
        assert!(ask(&server, &head(size)).starts_with("HTTP/1.1 431 "));
    }
    assert!(
        ask(&server, &b"GET / HTTP/1.1\r\n".iter().chain(b"a:b\r\n".repeat(1000).iter()).copied().collect::<Vec<_>>())
            .starts_with("HTTP/1.1 431 ")
    );
}

#[test]
fn a_port_in_use_says_so() {
    let server = server();
    let text = bind(server.address()).unwrap_err().to_string();
    assert!(text.contains("the port is in use") && text.contains("--metrics-addr"), "{text}");
    let text = bind("203.0.113.1:9464".parse().unwrap()).unwrap_err().to_string();
    assert!(text.contains("no interface"), "{text}");
}

#[test]
fn a_connection_may_be_kept_for_further_requests() {
    let server = server();
    let mut stream = connect(&server);
    for _ in 0..3 {
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n").unwrap();
        assert!(read_one(&mut stream).unwrap().ends_with("up 1\n"));
        assert!(read_one(&mut stream).unwrap().ends_with("alive\n"));
    }
}

#[test]
fn a_page_that_panics_costs_one_answer() {
    let server = serve(Pages { healthy: Box::new(|| panic!("on purpose")), ..pages() });
    let mut stream = connect(&server);
    for _ in 0..2 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
        assert!(read_one(&mut stream).unwrap().starts_with("HTTP/1.1 500 "));
    }
    assert!(ask(&server, b"GET /metrics HTTP/1.1\r\n\r\n").ends_with("up 1\n"));
}

#[test]
fn who_asks_for_metrics_too_early_waits_and_hinders_nobody() {
    let there = Arc::new(AtomicBool::new(false));
    let known = Arc::clone(&there);
    let metrics = Box::new(move || known.load(Ordering::Acquire).then(|| Ok("up 1\n".to_owned())));
    let server = serve(Pages { metrics, ..pages() });
    let mut early = connect(&server);
    early.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    assert!(ask(&server, b"GET /healthz HTTP/1.1\r\n\r\n").ends_with("alive\n"));
    there.store(true, Ordering::Release);
    assert!(read_one(&mut early).unwrap().ends_with("up 1\n"));
    there.store(false, Ordering::Release);
    assert!(ask(&server, b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 503 "));
}

#[test]
fn a_head_that_does_not_end_is_cut_at_the_deadline() {
    let server = server();
    let (began, mut stream) = (clock(), connect(&server));
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let closed = loop {
        // A byte now and then does not gain time.
        let sent = stream.write_all(b"G");
        match stream.read(&mut [0]) {
            Err(error) if sent.is_ok() && error.kind() == io::ErrorKind::WouldBlock => {}
            _ => break began.elapsed(),
        }
        assert!(began.elapsed() < DEADLINE * 2, "still open");
    };
    assert!(closed >= DEADLINE - Duration::from_secs(1), "{closed:?}");
}

#[test]
fn who_does_not_read_is_cut_at_the_deadline() {
    const SIZE: usize = 32 << 20;
    let server = serve(Pages { metrics: Box::new(|| Some(Ok("x".repeat(SIZE)))), ..pages() });
    let mut slow = connect(&server);
    slow.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    thread::sleep(DEADLINE + Duration::from_secs(1));
    let mut text = Vec::new();
    let _cut = slow.read_to_end(&mut text);
    assert!(!text.is_empty() && text.len() < SIZE, "{} bytes", text.len());
    let mut quick = connect(&server);
    quick.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    assert!(read_one(&mut quick).unwrap().len() > SIZE);
}

#[test]
fn more_scrapes_than_there_may_be_cost_the_oldest() {
    let server = serve(Pages { metrics: Box::new(|| Some(Ok("x".repeat(32 << 20)))), ..pages() });
    let slow: Vec<_> = (0..MAX_SCRAPES)
        .map(|_| {
            let mut stream = connect(&server);
            stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
            stream.read_exact(&mut [0; 1]).unwrap();
            stream
        })
        .collect();
    assert_eq!(server.refused(), 0);
    let mut quick = connect(&server);
    quick.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    assert!(read_one(&mut quick).unwrap().len() > 32 << 20);
    assert_eq!(server.refused(), 1);
    drop(slow);
}

#[test]
fn the_oldest_idle_connection_gives_way_and_none_that_is_asking() {
    let late = Box::new(|| None);
    let server = serve(Pages { metrics: late, ..pages() });
    let mut asking = connect(&server);
    asking.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let idle: Vec<_> = (0..MAX_CONNECTIONS).map(|_| connect(&server)).collect();
    assert!(ask(&server, b"GET /healthz HTTP/1.1\r\n\r\n").ends_with("alive\n"));
    assert!(server.refused() >= 1);
    let mut first = idle.first().unwrap();
    assert!(matches!(first.read(&mut [0]), Ok(0) | Err(_)), "the oldest is closed");
    let mut last = idle.last().unwrap();
    last.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    assert!(last.read(&mut [0]).unwrap() == 1, "the youngest is not");
    assert!(read_one(&mut asking).unwrap().starts_with("HTTP/1.1 503 "), "who is asking is answered");
}

/// Sockets that each send a byte now and then, and are replaced when they are closed.
fn besiege(server: &Server, count: usize, over: &AtomicBool) {
    let mut sockets: Vec<TcpStream> = Vec::new();
    while !over.load(Ordering::Acquire) {
        sockets.retain(|socket| {
            let open = (&*socket).write_all(b"x").is_ok();
            open && !matches!((&*socket).read(&mut [0]), Ok(0))
        });
        while sockets.len() < count && !over.load(Ordering::Acquire) {
            let Ok(mut socket) = TcpStream::connect(server.address()) else { break };
            socket.set_nonblocking(true).unwrap();
            let _sent = socket.write_all(b"GET /m");
            sockets.push(socket);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// The longest time that a probe took during some seconds of siege, each being answered.
fn slowest_probe(sockets: usize) -> Duration {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most.min(8192), most).unwrap();
    let server = server();
    /// Ends the siege also when an assertion fails: the scope waits for its threads.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| besiege(&server, sockets, &over));
        let siege = Over(&over);
        let (began, mut slowest, mut probes) = (clock(), Duration::ZERO, 0);
        while began.elapsed() < Duration::from_secs(4) {
            let asked = clock();
            let answer = ask(&server, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("alive\n"), "{answer:?}");
            slowest = slowest.max(asked.elapsed());
            probes += 1;
            thread::sleep(Duration::from_millis(20));
        }
        drop(siege);
        assert!(probes > 20 && (sockets < MAX_CONNECTIONS || server.refused() > 0), "{probes} probes");
        slowest
    })
}

#[test]
fn slow_sockets_do_not_keep_probes_from_their_answer() {
    for sockets in [40, 1000] {
        let slowest = slowest_probe(sockets);
        assert!(slowest < Duration::from_secs(1), "{sockets} slow sockets: {slowest:?}");
    }
}

#[test]
fn a_stopped_server_frees_its_port_at_once() {
    let server = server();
    let _idle = connect(&server);
    let address = server.address();
    let began = clock();
    drop(server);
    assert!(began.elapsed() < PATIENCE);
    bind(address).unwrap();
}

#[test]
fn a_page_that_hangs_does_not_hold_up_the_stop() {
    let (entered, inside) = bounded(1);
    let (release, released) = bounded::<()>(1);
    let healthy = Box::new(move || {
        entered.send(()).unwrap();
        let _done = released.recv();
        Ok(String::new())
    });
    let server = serve(Pages { healthy, ..pages() });
    let mut stream = connect(&server);
    stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    inside.recv().unwrap();
    let began = clock();
    drop(server);
    assert!(began.elapsed() < PATIENCE * 2);
    release.send(()).unwrap();
}

/// Pages with a feed whose data are numbers, padded to so many bytes.
fn fed(padding: usize) -> Server {
    let follow = move || {
        let mut number = 0;
        let follower: Follower = Box::new(move || {
            number += 1;
            format!("{{\"number\":{number},\"padding\":\"{}\"}}", "x".repeat(padding))
        });
        Some(follower)
    };
    let (page, policy) = ("<p>page".to_owned(), "default-src 'none'; connect-src 'self'".to_owned());
    let feed = Feed { page, policy, hosts: vec!["tap.example".to_owned()], follow: Box::new(follow) };
    serve(Pages { feed: Some(feed), ..pages() })
}

fn follow(server: &Server) -> TcpStream {
    let mut stream = connect(server);
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stream
}

/// Reads until what was read ends like this.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn the_page_and_its_data_are_served_under_their_own_names_only() {
    let server = fed(0);
    let get = |path: &str, more: &str| ask(&server, format!("GET {path} HTTP/1.1\r\n{more}\r\n").as_bytes());
    for host in ["localhost", "127.0.0.1:9464", "tap.example"] {
        let page = get("/", &format!("Host: {host}\r\n"));
        assert!(page.starts_with("HTTP/1.1 200 ") && page.ends_with("<p>page"), "{page}");
        assert!(page.contains("Content-Security-Policy: default-src 'none'; connect-src 'self'\r\n"), "{page}");
        assert!(page.contains("Cross-Origin-Resource-Policy: same-origin\r\n"), "{page}");
        assert!(get("/snapshot.json", &format!("Host: {host}\r\n")).ends_with("{\"number\":1,\"padding\":\"\"}"));
    }
    for path in ["/", "/snapshot.json", "/events"] {
        for headers in ["Host: evil.example\r\n", "", "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n"] {
            let refused = get(path, headers);
            assert!(refused.starts_with("HTTP/1.1 421 ") && refused.contains("--page-host"), "{path} {refused}");
        }
        assert!(ask(&server, format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).contains(" 405 "));
    }
    assert!(get("/metrics", "Host: evil.example\r\n").ends_with("up 1\n"), "metrics are for whoever scrapes them");
    let head = ask(&server, b"HEAD /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
fn without_a_feed_there_is_none() {
    let server = server();
    for path in ["/snapshot.json", "/events"] {
        let text = ask(&server, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        assert!(text.starts_with("HTTP/1.1 404 "), "{text}");
    }
}

#[test]
fn events_begin_with_all_and_go_on_with_updates() {
    let server = fed(0);
    let (began, mut stream) = (clock(), follow(&server));
    let head = read_until(&mut stream, "\r\n\r\n");
    assert!(head.contains("Content-Type: text/event-stream\r\n") && !head.contains("Content-Length"), "{head}");
    for (name, number) in [("snapshot", 1), ("update", 2), ("update", 3)] {
        let event = read_until(&mut stream, "\n\n");
        let data = format!("event: {name}\ndata: {{\"number\":{number},\"padding\":\"\"}}\n\n");
        assert!(event.ends_with(&data), "{event:?}");
    }
    assert!((1900..4000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[test]
fn more_followers_than_there_may_be_are_turned_away_and_one_that_leaves_makes_room() {
    let server = fed(0);
    let mut followers: Vec<_> = (0..MAX_FOLLOWERS).map(|_| follow(&server)).collect();
    for follower in &mut followers {
        assert!(read_until(follower, "\n\n").contains("snapshot") || !read_until(follower, "\n\n").is_empty());
    }
    let mut ninth = follow(&server);
    assert!(read_one(&mut ninth).unwrap().contains("as many follow events as may"));
    assert_eq!(server.counters.turned_away.load(Ordering::Relaxed), 1);
    drop(followers.pop());
    let began = clock();
    loop {
        let mut stream = follow(&server);
        if read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 200 ") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "no room was made");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_follower_that_does_not_read_gets_the_newest_and_hinders_nobody() {
    let server = fed(1 << 20);
    let mut stalled: Vec<_> = (0..MAX_FOLLOWERS).map(|_| follow(&server)).collect();
    let began = clock();
    let mut probes = 0;
    // The kernel's buffers take some megabytes first.
    while server.counters.late.load(Ordering::Relaxed) == 0 || began.elapsed() < Duration::from_secs(12) {
        let asked = clock();
        assert!(ask(&server, b"GET /healthz HTTP/1.1\r\n\r\n").ends_with("alive\n"));
        assert!(ask(&server, b"GET /metrics HTTP/1.1\r\n\r\n").ends_with("up 1\n"));
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
        probes += 1;
        thread::sleep(Duration::from_millis(100));
        if began.elapsed() > Duration::from_secs(12) {
            // Whoever reads again takes what was sent, and then what is new: a number for each that was made.
            let first = stalled.first_mut().unwrap();
            let mut some = vec![0; 1 << 16];
            for _ in 0..200 {
                first.read_exact(&mut some).unwrap();
            }
        }
        assert!(began.elapsed() < Duration::from_secs(25), "nothing was late");
    }
    assert!(probes > 20 && server.refused() == 0);
}

#[test]
fn followers_take_no_place_of_others() {
    let server = fed(0);
    let mut followers: Vec<_> = (0..MAX_FOLLOWERS).map(|_| follow(&server)).collect();
    for follower in &mut followers {
        read_until(follower, "\r\n\r\n");
    }
    let idle: Vec<_> = (0..MAX_CONNECTIONS).map(|_| connect(&server)).collect();
    assert!(ask(&server, b"GET /healthz HTTP/1.1\r\n\r\n").ends_with("alive\n"));
    for follower in &mut followers {
        read_until(follower, "\n\n");
        read_until(follower, "\n\n");
    }
    drop(idle);
}
