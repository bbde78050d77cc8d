//! A server answers HTTP requests for metrics and health, apart from everything that captures.
//!
//! `/metrics`, `/healthz`, `/readyz` and `/`, by GET and HEAD, one request a connection. At most [`MAX_CONNECTIONS`] at a
//! time, each for at most [`DEADLINE`]; who comes when all are taken is sent away.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TrySendError, bounded};

/// Threads that answer.
const THREADS: usize = 4;
/// The most connections at a time: those being answered and those that wait.
pub const MAX_CONNECTIONS: usize = 16;
/// The longest that one connection may take, from the first read to the last write. Prometheus gives up after 10 s.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// The most bytes of a request's head.
const MAX_HEAD: usize = 8192;

/// Text of a page, or what is wrong.
pub type Page = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// What there is to serve.
pub struct Pages {
    /// Metrics in Prometheus' text format.
    pub metrics: Page,
    /// Whether the program is alive; the text is for people.
    pub healthy: Page,
    /// Whether it does its work.
    pub ready: Page,
}

impl std::fmt::Debug for Pages {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pages").finish_non_exhaustive()
    }
}

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Something listens there.
    #[error(
        "cannot serve metrics on {0}: the port is in use (stop the other program, or choose another address with --metrics-addr)"
    )]
    InUse(SocketAddr),
    /// A low port.
    #[error(
        "cannot serve metrics on {0}: ports below 1024 need CAP_NET_BIND_SERVICE (choose another with --metrics-addr)"
    )]
    Forbidden(SocketAddr),
    /// No interface has it.
    #[error("cannot serve metrics on {0}: no interface of this machine has that address")]
    NoSuchAddress(SocketAddr),
    /// Anything else.
    #[error("cannot serve metrics on {address}: {source}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// A bound address that does not answer yet: so that binding can come before privileges are dropped.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    refused: Arc<AtomicU64>,
}

/// Binds an address. Port 0 takes any that is free.
///
/// # Errors
/// If that cannot be had; the text says what to do.
pub fn bind(address: SocketAddr) -> Result<Bound, ServerError> {
    let other = |source| ServerError::Other { address, source };
    let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ServerError::InUse(address),
        io::ErrorKind::PermissionDenied => ServerError::Forbidden(address),
        io::ErrorKind::AddrNotAvailable => ServerError::NoSuchAddress(address),
        _ => other(error),
    })?;
    let address = listener.local_addr().map_err(other)?;
    Ok(Bound { listener, address, refused: Arc::default() })
}

/// A server that answers until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
    accepting: Option<JoinHandle<()>>,
}

impl Bound {
    /// Where it is bound.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Counts connections that are sent away because too many are open.
    #[must_use]
    pub fn refused(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.refused)
    }

    /// Starts to answer.
    ///
    /// # Errors
    /// If threads cannot be started.
    pub fn serve(self, pages: Pages) -> Result<Server, ServerError> {
        let Self { listener, address, refused } = self;
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = bounded::<TcpStream>(MAX_CONNECTIONS - THREADS);
        let pages = Arc::new(pages);
        let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.to_owned()).stack_size(512 << 10);
            thread.spawn(run).map_err(|source| ServerError::Other { address, source })
        };
        for _ in 0..THREADS {
            let (receiver, pages) = (receiver.clone(), Arc::clone(&pages));
            start("http", Box::new(move || answer_all(&receiver, &pages)))?;
        }
        let (stopping, sent_away) = (Arc::clone(&stop), Arc::clone(&refused));
        let accept = move || {
            for stream in listener.incoming() {
                if stopping.load(Ordering::Acquire) {
                    break;
                }
                match stream.map(|stream| sender.try_send(stream)) {
                    Ok(Ok(())) => {}
                    Ok(Err(TrySendError::Full(stream))) => {
                        sent_away.fetch_add(1, Ordering::Relaxed);
                        // One small write into an empty socket buffer does not block.
                        let _closed = (&stream).write_all(
                            b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                        );
                    }
                    Ok(Err(TrySendError::Disconnected(_))) => break,
                    // Out of file descriptors, most likely: to try again at once would burn a processor.
                    Err(_) => thread::sleep(Duration::from_millis(50)),
                }
            }
        };
        let accepting = Some(start("http-accept", Box::new(accept))?);
        Ok(Server { address, stop, refused, accepting })
    }
}

impl Server {
    /// Where it answers.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that were sent away because too many were open.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // The accepting thread looks at the flag after its next connection: here it is.
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let woken = TcpStream::connect_timeout(&SocketAddr::new(ip, self.address.port()), Duration::from_secs(1));
        if let (Ok(_), Some(thread)) = (woken, self.accepting.take()) {
            // A panic there has been printed already.
            let _joined = thread.join();
        }
    }
}

fn answer_all(connections: &Receiver<TcpStream>, pages: &Pages) {
    for stream in connections {
        // The peer went away, or was too slow: nothing to be done about either.
        let _answered = answer(stream, pages);
    }
}

/// Reads one request and answers it.
fn answer(mut stream: TcpStream, pages: &Pages) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "a deadline for a peer of this edge; nothing captured depends on it")]
    let until = Instant::now() + DEADLINE;
    let mut head = Vec::with_capacity(1024);
    let response = loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&head) {
            Ok(httparse::Status::Complete(_)) => {
                break route(request.method.unwrap_or_default(), request.path.unwrap_or_default(), pages);
            }
            Ok(httparse::Status::Partial) if head.len() >= MAX_HEAD => {
                break Response::plain("431 Request Header Fields Too Large", "the request's head is too long\n");
            }
            Ok(httparse::Status::Partial) => {}
            Err(error) => break Response::plain("400 Bad Request", &format!("{error}\n")),
        }
        let mut some = [0; 1024];
        stream.set_read_timeout(Some(left(until)?))?;
        match stream.read(&mut some)? {
            0 => return Ok(()),
            count => head.extend_from_slice(some.get(..count).unwrap_or_default()),
        }
    };
    response.write(&mut stream, until)?;
    linger(&mut stream)
}

/// Time left before the deadline, never zero.
fn left(until: Instant) -> io::Result<Duration> {
    #[expect(clippy::disallowed_methods, reason = "see answer")]
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Closing while unread bytes wait would reset the connection, and the peer might lose the response.
fn linger(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut some = [0; 4096];
    for _ in 0..16 {
        if stream.read(&mut some)? == 0 {
            break;
        }
    }
    Ok(())
}

struct Response {
    status: &'static str,
    kind: &'static str,
    body: String,
    without_body: bool,
}

impl Response {
    fn plain(status: &'static str, body: &str) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: body.to_owned(), without_body: false }
    }

    fn write(&self, stream: &mut TcpStream, until: Instant) -> io::Result<()> {
        let Self { status, kind, body, without_body } = self;
        let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
        let mut text = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}Cache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        if !without_body {
            text.push_str(body);
        }
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            stream.set_write_timeout(Some(left(until)?))?;
            let count = stream.write(rest)?;
            rest = rest.get(count..).unwrap_or_default();
        }
        Ok(())
    }
}

fn route(method: &str, target: &str, pages: &Pages) -> Response {
    let path = target.split('?').next().unwrap_or_default();
    if !matches!(method, "GET" | "HEAD") {
        return Response::plain("405 Method Not Allowed", "only GET and HEAD\n");
    }
    let page = |page: &Page, kind: &'static str, trouble: &'static str| match page() {
        Ok(body) => Response { status: "200 OK", kind, body, without_body: false },
        Err(text) => Response::plain(trouble, &(text + "\n")),
    };
    const PLAIN: &str = "text/plain; charset=utf-8";
    let mut response = match path {
        "/metrics" => page(&pages.metrics, "text/plain; version=0.0.4; charset=utf-8", "500 Internal Server Error"),
        "/healthz" => page(&pages.healthy, PLAIN, "503 Service Unavailable"),
        "/readyz" => page(&pages.ready, PLAIN, "503 Service Unavailable"),
        "/" => Response { status: "200 OK", kind: "text/html; charset=utf-8", body: about(), without_body: false },
        _ => Response::plain("404 Not Found", "there are /, /metrics, /healthz and /readyz\n"),
    };
    response.without_body = method == "HEAD";
    response
}

fn about() -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>picotap</title>\n\
         <style>body{{font-family:sans-serif;margin:3em;max-width:40em}}</style>\n<h1>picotap {}</h1>\n\
         <p>{}. It watches and does not answer: what it sees goes to its log, and here as numbers.</p>\n\
         <ul>\n<li><a href=\"/metrics\">/metrics</a>: for Prometheus</li>\n\
         <li><a href=\"/healthz\">/healthz</a>: whether it is alive</li>\n\
         <li><a href=\"/readyz\">/readyz</a>: whether it captures</li>\n</ul>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_DESCRIPTION"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        let pages = Pages {
            metrics: Box::new(|| Ok("up 1\n".to_owned())),
            healthy: Box::new(|| Ok("alive\n".to_owned())),
            ready: Box::new(|| Err("no packet yet".to_owned())),
        };
        bind("127.0.0.1:0".parse().unwrap()).unwrap().serve(pages).unwrap()
    }

    fn ask(server: &Server, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(request).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
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
    fn head_has_the_length_but_not_the_body() {
        let text = ask(&server(), b"HEAD /metrics HTTP/1.1\r\n\r\n");
        assert!(text.contains("Content-Length: 5\r\n") && text.ends_with("\r\n\r\n"));
    }

    #[test]
    fn other_requests_are_refused() {
        let server = server();
        let text = ask(&server, b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
        assert!(text.starts_with("HTTP/1.1 405 ") && text.contains("Allow: GET, HEAD"));
        assert!(ask(&server, b"\x16\x03\x01\x00\x00").starts_with("HTTP/1.1 400 "));
        let long = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &vec![b'x'; MAX_HEAD]].concat();
        assert!(ask(&server, &long).starts_with("HTTP/1.1 431 "));
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
    fn idle_connections_do_not_shut_others_out_for_ever() {
        let server = server();
        let idle: Vec<_> = (0..40).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
        while server.refused() == 0 {
            thread::yield_now();
        }
        drop(idle);
        while !ask_if_heard(&server).ends_with("up 1\n") {}
    }

    fn ask_if_heard(server: &Server) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let mut text = String::new();
        let _heard = stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").and_then(|()| stream.read_to_string(&mut text));
        text
    }

    #[test]
    fn a_stopped_server_frees_its_port() {
        let server = server();
        let address = server.address();
        drop(server);
        bind(address).unwrap();
    }
}
