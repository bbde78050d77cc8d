//! A server of the live page and its events, which sends what a test tells it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use picotap::view::{Snapshot, page};

#[derive(Default)]
struct State {
    /// What a new stream begins with.
    first: String,
    streams: Vec<TcpStream>,
    /// Answers 503 to whoever asks for events.
    refuses: bool,
    asked: Vec<String>,
}

pub(crate) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

fn event(kind: &str, snapshot: &Snapshot) -> String {
    format!("event: {kind}\ndata: {}\n\n", serde_json::to_string(snapshot).unwrap())
}

impl Server {
    /// Serves until the test's process ends.
    pub(crate) fn start(first: &Snapshot) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { first: event("snapshot", first), ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(client.unwrap(), &shared));
            }
        });
        Self { address, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// What a stream that is opened from now on begins with.
    pub(crate) fn begin_with(&self, first: &Snapshot) {
        self.state.lock().unwrap().first = event("snapshot", first);
    }

    /// Sends an update to whoever listens.
    pub(crate) fn update(&self, update: &Snapshot) {
        let text = event("update", update);
        self.state.lock().unwrap().streams.retain_mut(|stream| stream.write_all(text.as_bytes()).is_ok());
    }

    /// Ends all streams.
    pub(crate) fn cut(&self) {
        for stream in self.state.lock().unwrap().streams.drain(..) {
            drop(stream.shutdown(std::net::Shutdown::Both));
        }
    }

    pub(crate) fn refuse(&self, refuses: bool) {
        self.state.lock().unwrap().refuses = refuses;
    }

    /// How often a path has been asked for.
    pub(crate) fn asked(&self, path: &str) -> usize {
        self.state.lock().unwrap().asked.iter().filter(|asked| *asked == path).count()
    }
}

fn serve(mut client: TcpStream, state: &Mutex<State>) {
    let mut head = vec![];
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match client.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let mut state = state.lock().unwrap();
    state.asked.push(path.clone());
    let answer = |status: &str, headers: &str, body: &str| {
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    };
    let answer = match path.as_str() {
        "/" => {
            let headers =
                format!("Content-Type: text/html; charset=utf-8\r\nContent-Security-Policy: {}\r\n", page::policy());
            answer("200 OK", &headers, &page::html(None))
        }
        "/events" if state.refuses => answer("503 Service Unavailable", "", ""),
        "/events" => {
            let first = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\r\n";
            let first = first.to_owned() + &state.first;
            if client.write_all(first.as_bytes()).is_ok() {
                state.streams.push(client);
            }
            return;
        }
        _ => answer("404 Not Found", "", ""),
    };
    drop(client.write_all(answer.as_bytes()));
}
