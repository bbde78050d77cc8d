//! A feed is what the page for people shows: the page itself, its data, and a stream of updates.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Bytes, Frame};
use hyper::header::{HOST, HeaderMap, HeaderName};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::client_stream::ClientState;

/// Time between two updates.
const EVERY: Duration = Duration::from_secs(1);
/// Whether a browser asks on behalf of another site: Fetch Metadata, section 2.4.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Gives first all data, and then each time what has changed, as JSON without line feeds. It may take its time.
pub type Follower = Box<dyn FnMut() -> String + Send>;

/// What there is to show.
pub struct Feed {
    /// The page, which asks for `events`.
    pub page: String,
    /// Its `Content-Security-Policy`.
    pub policy: String,
    /// Names under which it may be asked for, beside those of loopback and addresses.
    pub hosts: Vec<String>,
    /// One more follower; none while there is nothing to follow yet.
    pub follow: Box<dyn Fn() -> Option<Follower> + Send + Sync>,
}

impl Feed {
    /// Whether a request is for the page under a name that is its own. A page of another site, whose name its owner lets point
    /// here (DNS rebinding), asks under that name.
    pub(super) fn admits(&self, headers: &HeaderMap, bound: SocketAddr) -> bool {
        let other_site = headers.get(SITE).is_some_and(|site| site == "cross-site" || site == "same-site");
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        !other_site && host.is_some_and(|host| self.knows(name(host), bound.ip()))
    }

    fn knows(&self, name: &str, bound: IpAddr) -> bool {
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match address {
            // Bound to all addresses, any may be one of them. A name that is an address cannot be made to point elsewhere.
            Ok(address) => address.is_loopback() || address == bound || bound.is_unspecified(),
            Err(_) => {
                let name = name.trim_end_matches('.');
                name.eq_ignore_ascii_case("localhost") || self.hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
            }
        }
    }
}

/// The host of a `Host` header, without its port.
fn name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// A stream of server-sent events, one a second: what has changed by then. It is made only when the client has taken what was
/// sent before, so that nothing is kept for a client that does not read.
#[derive(Debug)]
pub(super) struct Events {
    making: Option<JoinHandle<Made>>,
    follower: Option<Unshown>,
    ticks: Interval,
    /// When the last was made.
    last: Option<Instant>,
    late: Arc<AtomicU64>,
    state: Rc<ClientState>,
}

/// A follower, and what it gave.
type Made = (Unshown, String);

struct Unshown(Follower);

impl std::fmt::Debug for Unshown {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Follower")
    }
}

impl Events {
    /// `late` counts the updates that a client missed since it had not taken the one before.
    pub(super) fn new(follower: Follower, state: Rc<ClientState>, late: Arc<AtomicU64>) -> Self {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self { making: None, follower: Some(Unshown(follower)), ticks, last: None, late, state }
    }

    /// The next event; none if it could not be made.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        if self.making.is_none() {
            ready!(self.ticks.poll_tick(cx));
            let Some(Unshown(mut follower)) = self.follower.take() else { return Poll::Ready(None) };
            self.making = Some(spawn_blocking(move || {
                let text = follower();
                (Unshown(follower), text)
            }));
        }
        let Some(making) = &mut self.making else { return Poll::Ready(None) };
        let made = ready!(Pin::new(making).poll(cx));
        self.making = None;
        // It has panicked, which was printed.
        let Ok((follower, text)) = made else { return Poll::Ready(None) };
        self.follower = Some(follower);
        let name = if self.count_late() { "update" } else { "snapshot" };
        self.state.proceeds();
        Poll::Ready(Some(Frame::data(Bytes::from(format!("event: {name}\ndata: {text}\n\n")))))
    }

    /// Counts what was missed before this one. Whether there was one before.
    fn count_late(&mut self) -> bool {
        let now = Instant::now();
        let Some(last) = self.last.replace(now) else { return false };
        // A tick comes a little late or early.
        let missed = (now - last + EVERY / 4).as_secs().saturating_sub(1);
        self.late.fetch_add(missed, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(bound: &str, hosts: &[&str], headers: &[(&'static str, &str)]) -> bool {
        let feed = Feed {
            page: String::new(),
            policy: String::new(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            follow: Box::new(|| None),
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        feed.admits(&map, bound.parse().unwrap())
    }

    #[test]
    fn only_its_own_names_are_admitted() {
        let loopback = |host: &str| admits("127.0.0.1:9464", &["tap.example"], &[("host", host)]);
        for host in [
            "localhost:9464",
            "LOCALHOST",
            "localhost.",
            "127.0.0.1:9464",
            "127.9.9.9",
            "[::1]:1",
            "[::1]",
            "Tap.Example:80",
        ] {
            assert!(loopback(host), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:9464",
            "10.0.0.7:9464",
            "localhost.evil.example",
            "",
            ":",
            "[::2]",
            "::",
        ] {
            assert!(!loopback(host), "{host}");
        }
        assert!(!admits("127.0.0.1:9464", &[], &[]), "HTTP/1.0 says no host");
        assert!(
            admits("10.0.0.7:80", &[], &[("host", "10.0.0.7")]) && !admits("10.0.0.7:80", &[], &[("host", "10.0.0.8")])
        );
        assert!(
            admits("0.0.0.0:80", &[], &[("host", "10.0.0.8")]) && !admits("0.0.0.0:80", &[], &[("host", "a.example")])
        );
    }

    #[test]
    fn what_another_site_asks_for_is_refused() {
        for (site, admitted) in [("same-origin", true), ("none", true), ("cross-site", false), ("same-site", false)] {
            assert_eq!(admits("127.0.0.1:1", &[], &[("host", "localhost:1"), ("sec-fetch-site", site)]), admitted);
        }
    }
}
