//! The messages between the workers and the helper: questions, and answers. Numbers are in network order; a text has its length in one byte
//! before it. Neither side trusts the other: what cannot be read ends the reading of that message.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::{Outcome, Process};
use crate::stream::Endpoint;

/// What a worker asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The processes at the ends of a connection.
    Connection(Question),
    /// The names of the process with this number.
    Process(u32),
}

/// Whose processes are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The worker that asks.
    pub worker: u16,
    /// The connection's number.
    pub number: u64,
    /// Its two sides.
    pub endpoints: [Endpoint; 2],
}

/// What became of it for one end, and the process if it was found.
pub type Answered = (Outcome, Option<Arc<Process>>);

/// What the helper has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The processes of a connection's two sides.
    Connection {
        /// The worker that asked.
        worker: u16,
        /// The connection's number.
        number: u64,
        /// Of each side.
        ends: [Answered; 2],
    },
    /// The process that listens at an endpoint; none any more.
    Listener(Endpoint, Option<Arc<Process>>),
    /// The process with this number; none any more.
    Process(u32, Option<Arc<Process>>),
    /// Nothing is known of listeners and of processes by number: some of it was lost on the way, and comes again.
    NoListeners,
}

/// First byte of [`Asked`].
const ASK_CONNECTION: u8 = 1;
const ASK_PROCESS: u8 = 2;

/// First byte of an [`Answer`].
const CONNECTION: u8 = 1;
const LISTENER: u8 = 2;
const NO_LISTENERS: u8 = 3;
const PROCESS: u8 = 4;

/// Writes a question behind others.
pub fn write_question(asked: &Asked, out: &mut Vec<u8>) {
    match asked {
        Asked::Connection(Question { worker, number, endpoints }) => {
            out.push(ASK_CONNECTION);
            out.extend_from_slice(&worker.to_be_bytes());
            out.extend_from_slice(&number.to_be_bytes());
            endpoints.iter().for_each(|endpoint| write_endpoint(*endpoint, out));
        }
        Asked::Process(process) => {
            out.push(ASK_PROCESS);
            out.extend_from_slice(&process.to_be_bytes());
        }
    }
}

/// Reads the questions of a message.
pub fn questions(message: &[u8]) -> impl Iterator<Item = Asked> + '_ {
    let mut cursor = Cursor(message);
    std::iter::from_fn(move || match cursor.array::<1>()? {
        [ASK_CONNECTION] => {
            let (worker, number) = (u16::from_be_bytes(cursor.array()?), u64::from_be_bytes(cursor.array()?));
            let endpoints = [cursor.endpoint()?, cursor.endpoint()?];
            Some(Asked::Connection(Question { worker, number, endpoints }))
        }
        [ASK_PROCESS] => Some(Asked::Process(u32::from_be_bytes(cursor.array()?))),
        _ => None,
    })
}

/// Writes an answer behind others.
pub fn write_answer(answer: &Answer, out: &mut Vec<u8>) {
    match answer {
        Answer::Connection { worker, number, ends } => {
            out.push(CONNECTION);
            out.extend_from_slice(&worker.to_be_bytes());
            out.extend_from_slice(&number.to_be_bytes());
            for (outcome, process) in ends {
                out.push(*outcome as u8);
                write_process(process.as_deref(), out);
            }
        }
        Answer::Listener(endpoint, process) => {
            out.push(LISTENER);
            write_endpoint(*endpoint, out);
            write_process(process.as_deref(), out);
        }
        Answer::Process(number, process) => {
            out.push(PROCESS);
            out.extend_from_slice(&number.to_be_bytes());
            write_process(process.as_deref(), out);
        }
        Answer::NoListeners => out.push(NO_LISTENERS),
    }
}

/// Reads the answers of a message.
pub fn answers(message: &[u8]) -> impl Iterator<Item = Answer> + '_ {
    let mut cursor = Cursor(message);
    std::iter::from_fn(move || match cursor.array::<1>()? {
        [CONNECTION] => {
            let (worker, number) = (u16::from_be_bytes(cursor.array()?), u64::from_be_bytes(cursor.array()?));
            Some(Answer::Connection { worker, number, ends: [cursor.answered()?, cursor.answered()?] })
        }
        [LISTENER] => Some(Answer::Listener(cursor.endpoint()?, cursor.process()?)),
        [PROCESS] => Some(Answer::Process(u32::from_be_bytes(cursor.array()?), cursor.process()?)),
        [NO_LISTENERS] => Some(Answer::NoListeners),
        _ => None,
    })
}

fn write_endpoint(endpoint: Endpoint, out: &mut Vec<u8>) {
    let ip = match endpoint.ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    out.extend_from_slice(&ip.octets());
    out.extend_from_slice(&endpoint.port.to_be_bytes());
}

/// A process, or its absence: one byte that says which, its number (0 if none), and three texts.
fn write_process(process: Option<&Process>, out: &mut Vec<u8>) {
    let Some(Process { pid, command, container, pod }) = process else {
        out.push(0);
        return;
    };
    out.push(1);
    out.extend_from_slice(&pid.unwrap_or(0).to_be_bytes());
    let texts = [
        &command[..],
        container.as_deref().unwrap_or_default().as_bytes(),
        pod.as_deref().unwrap_or_default().as_bytes(),
    ];
    for text in texts {
        // All are far shorter.
        let text = text.get(..255).unwrap_or(text);
        out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(text);
    }
}

/// What is left of a message.
struct Cursor<'m>(&'m [u8]);

impl<'m> Cursor<'m> {
    fn take(&mut self, length: usize) -> Option<&'m [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn endpoint(&mut self) -> Option<Endpoint> {
        let ip = Ipv6Addr::from(self.array::<16>()?).to_canonical();
        Some(Endpoint { ip, port: u16::from_be_bytes(self.array()?) })
    }

    fn text(&mut self) -> Option<&'m [u8]> {
        let [length] = self.array()?;
        self.take(usize::from(length))
    }

    fn name(&mut self) -> Option<Option<Box<str>>> {
        let text = std::str::from_utf8(self.text()?).ok()?;
        Some((!text.is_empty()).then(|| text.into()))
    }

    fn process(&mut self) -> Option<Option<Arc<Process>>> {
        if self.array()? == [0] {
            return Some(None);
        }
        let pid = u32::from_be_bytes(self.array()?);
        let command = self.text()?.into();
        let (container, pod) = (self.name()?, self.name()?);
        Some(Some(Arc::new(Process { pid: (pid != 0).then_some(pid), command, container, pod })))
    }

    fn answered(&mut self) -> Option<Answered> {
        let [outcome] = self.array()?;
        Some((Outcome::of(outcome)?, self.process()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        let address: std::net::SocketAddr = text.parse().expect("an address");
        Endpoint { ip: address.ip(), port: address.port() }
    }

    #[test]
    fn what_is_written_is_read() {
        let one = Question { worker: 3, number: 1 << 60, endpoints: [endpoint("10.0.0.1:1"), endpoint("10.0.0.2:80")] };
        let two = Question { endpoints: [endpoint("[2001:db8::1]:1"), endpoint("[::1]:65535")], ..one };
        let asked = [Asked::Connection(one), Asked::Process(7), Asked::Connection(two)];
        let mut message = Vec::new();
        asked.iter().for_each(|question| write_question(question, &mut message));
        assert_eq!(questions(&message).collect::<Vec<_>>(), asked);
        let process = Arc::new(Process {
            pid: Some(7),
            command: b"a\n\"\xff".as_slice().into(),
            container: Some("0123".into()),
            pod: None,
        });
        let nameless = Arc::new(Process { pid: None, ..(*process).clone() });
        let both = [(Outcome::Found, Some(Arc::clone(&process))), (Outcome::NotAccepted, None)];
        let all = [
            Answer::Connection { worker: 1, number: 9, ends: both },
            Answer::Listener(endpoint("10.0.0.2:80"), Some(nameless)),
            Answer::Process(7, Some(process)),
            Answer::Process(8, None),
            Answer::Listener(endpoint("[::1]:80"), None),
            Answer::NoListeners,
        ];
        let mut message = Vec::new();
        all.iter().for_each(|answer| write_answer(answer, &mut message));
        assert_eq!(answers(&message).collect::<Vec<_>>(), all);
        // Cut anywhere, what is whole is read.
        for length in 0..message.len() {
            assert!(all.starts_with(&answers(&message[..length]).collect::<Vec<_>>()));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_message_is_read_to_an_end(message: Vec<u8>) {
            assert!(questions(&message).count() <= message.len() && answers(&message).count() <= message.len());
        }
    }
}
