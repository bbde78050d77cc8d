//! A case is a small capture with the lines that it must give, and a sentence on why those are right.
//!
//! `BLESS=1 cargo test --test lines fixtures` writes every case to `fixtures/SUBJECT/NAME/`; without it the same test checks that what
//! stands there is what the case gives.

use std::path::PathBuf;

use crate::support::conversation::Sent;
use crate::support::fixtures;
use crate::support::line::Line;
use crate::support::message::Message;
use crate::support::scene::Scene;

mod bodies;
mod duplicates;
mod encapsulations;
mod files;
mod framing;
mod heads;
mod http2;
mod lenient;
mod lifecycle;
mod loss;
mod malformed;
mod network;
mod order;
mod pairing;
mod recognition;
mod relays;
mod stream;
mod tunnels;

pub(crate) struct Case {
    /// The module that it is in.
    pub(crate) subject: &'static str,
    pub(crate) name: &'static str,
    /// What is in the capture.
    pub(crate) what: &'static str,
    /// What the right answer is and whose rule it follows.
    pub(crate) right: &'static str,
    /// Why tshark's list is another one, if it is.
    pub(crate) tshark: Option<&'static str>,
    play: fn(&mut Scene),
}

/// All cases, by name.
pub(crate) fn all() -> Vec<Case> {
    let subjects = [
        ("framing", framing::cases()),
        ("pairing", pairing::cases()),
        ("heads", heads::cases()),
        ("malformed", malformed::cases()),
        ("lenient", lenient::cases()),
        ("recognition", recognition::cases()),
        ("stream", stream::cases()),
        ("lifecycle", lifecycle::cases()),
        ("loss", loss::cases()),
        ("network", network::cases()),
        ("encapsulations", encapsulations::cases()),
        ("files", files::cases()),
        ("duplicates", duplicates::cases()),
        ("tunnels", tunnels::cases()),
        ("relays", relays::cases()),
        ("http2", http2::cases()),
        ("order", order::cases()),
        ("bodies", bodies::cases()),
    ];
    let named =
        |(subject, cases): (&'static str, Vec<Case>)| cases.into_iter().map(move |case| Case { subject, ..case });
    let mut cases: Vec<Case> = subjects.into_iter().flat_map(named).collect();
    cases.sort_by_key(|case| case.name);
    cases
}

const fn case(name: &'static str, what: &'static str, right: &'static str, play: fn(&mut Scene)) -> Case {
    Case { subject: "", name, what, right, tshark: None, play }
}

impl Case {
    /// Its directory, below `fixtures`.
    pub(crate) fn directory(&self) -> String {
        format!("{}/{}", self.subject, self.name)
    }

    /// What is in its captures, and what picotap must say.
    pub(crate) fn scene(&self) -> Scene {
        let mut scene = Scene::default();
        (self.play)(&mut scene);
        scene.stamp();
        scene
    }

    /// Its captures, as they stand among the fixtures.
    pub(crate) fn captures(&self, scene: &Scene) -> Vec<PathBuf> {
        let directory = fixtures::path(self.directory());
        scene.files.iter().map(|file| directory.join(&file.name)).collect()
    }

    /// tshark gives another list, for this reason.
    const fn differs(mut self, why: &'static str) -> Self {
        self.tshark = Some(why);
        self
    }
}

/// A whole connection with these exchanges; the lines that it must give, as connection 1.
fn exchanges(s: &mut Scene, messages: &[(Message, Message)]) -> Vec<(Sent, Sent)> {
    let mut c = s.connection();
    c.open();
    let sent: Vec<_> = messages.iter().map(|(request, response)| c.exchange(request, response)).collect();
    c.close();
    s.capture(&mut c);
    for (i, pair) in sent.iter().enumerate() {
        s.whole(1, i as u64 + 1, pair);
    }
    sent
}

/// A whole connection with one exchange.
fn one(s: &mut Scene, request: Message, response: Message) -> &mut Line {
    exchanges(s, &[(request, response)]);
    s.lines.last_mut().unwrap()
}

/// A connection with one exchange beside what a case is about; its line, as connection `number`.
fn healthy(s: &mut Scene, number: u64) {
    let mut c = s.connection();
    c.open();
    let (q, a) = after();
    let pair = c.exchange(&q, &a);
    c.close();
    s.capture(&mut c);
    s.whole(number, 1, &pair);
}

/// A request and its answer that stand behind what a case is about, to show that the connection is still in step.
fn after() -> (Message, Message) {
    (Message::get("/after"), Message::ok(b"in step"))
}
