//! The clients of a server, none of which can keep others from being answered.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, spawn_local, yield_now};
use tokio::time::{sleep, sleep_until};

use super::Pages;
use super::client_stream::{ClientPhase, ClientState, ClientStream};
use super::feed::Events;
use super::route::{self, PageBody};

/// The most connections at a time. Arbitrary: a few Prometheus servers, probes and people, and not so many that their file
/// descriptors or memory count.
pub const MAX_CONNECTIONS: usize = 64;
/// The most that are sent metrics at a time: each holds the whole text.
pub const MAX_SCRAPES: usize = 8;
/// The longest that a request's head may take, and then its page until its last byte is written. Prometheus gives up after 10 s.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// The most that follow events at a time.
pub const MAX_FOLLOWERS: usize = 8;
/// The longest that a client may take for one event.
pub const STALLED: Duration = Duration::from_secs(30);
/// How long a connection may wait for a further request: longer than the usual interval of scrapes, one minute.
pub const IDLE: Duration = Duration::from_secs(75);
/// Age after which a connection's next response is its last.
const OLD: Duration = Duration::from_secs(600);
/// The most bytes of a request's head; hyper takes no less.
const MAX_HEAD: usize = 8192;
/// Pause after a connection could not be taken, most likely for lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// All connections, the oldest first.
pub(super) struct Clients {
    open: RefCell<VecDeque<(Rc<ClientState>, AbortHandle)>>,
    pages: Pages,
    counters: EndpointCounters,
    /// Where they connect to.
    pub(super) bound: SocketAddr,
}

/// What an endpoint counts. Copies share it.
#[derive(Debug, Clone, Default)]
pub struct EndpointCounters {
    /// Connections that were closed because newer ones came.
    pub refused: Arc<AtomicU64>,
    /// Updates that followers of events missed, since they had not taken those before.
    pub late: Arc<AtomicU64>,
    /// Followers of events that were turned away, since there were as many as there may be.
    pub turned_away: Arc<AtomicU64>,
}

impl Clients {
    /// Accepts connections for ever.
    pub(super) async fn accept(listener: TcpListener, bound: SocketAddr, pages: Pages, counters: EndpointCounters) {
        let all = Rc::new(Self { open: RefCell::default(), pages, counters, bound });
        loop {
            match listener.accept().await {
                Ok((socket, _)) => all.admit(socket),
                Err(_) => sleep(PAUSE).await,
            }
            // However many wait to be taken, those that are get their turn in between.
            yield_now().await;
        }
    }

    fn admit(self: &Rc<Self>, socket: TcpStream) {
        self.open.borrow_mut().retain(|(_, task)| !task.is_finished());
        self.make_room(MAX_CONNECTIONS, |state| !state.follows());
        let state = Rc::new(ClientState::new());
        let task = spawn_local(Rc::clone(self).serve(socket, Rc::clone(&state)));
        self.open.borrow_mut().push_back((state, task.abort_handle()));
    }

    /// Closes connections until fewer than `most` are counted: the oldest without a request under way, else the oldest.
    fn make_room(&self, most: usize, counts: impl Fn(&ClientState) -> bool) {
        let mut open = self.open.borrow_mut();
        while open.iter().filter(|(state, _)| counts(state)).count() >= most {
            let idle = open.iter().position(|(state, _)| counts(state) && !state.request_under_way());
            let oldest = || open.iter().position(|(state, _)| counts(state));
            let Some((_, task)) = idle.or_else(oldest).and_then(|index| open.remove(index)) else { return };
            task.abort();
            self.counters.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether one more may follow events, beside those who do.
    fn has_room_for_follower(&self) -> bool {
        let open = self.open.borrow();
        let following = open.iter().filter(|(state, task)| state.follows() && !task.is_finished()).count();
        if following >= MAX_FOLLOWERS {
            self.counters.turned_away.fetch_add(1, Ordering::Relaxed);
        }
        following < MAX_FOLLOWERS
    }

    /// Answers one connection until it ends or makes no progress in time.
    async fn serve(self: Rc<Self>, socket: TcpStream, state: Rc<ClientState>) {
        let stream = ClientStream::new(socket, Rc::clone(&state));
        let service = Answers { all: self, state: Rc::clone(&state) };
        let mut protocol = http1::Builder::new();
        // The deadlines are the state's.
        protocol.half_close(true).title_case_headers(true).header_read_timeout(None);
        protocol.max_buf_size(MAX_HEAD).max_header_size(MAX_HEAD);
        let mut connection = pin!(protocol.serve_connection(stream, service));
        let mut timer = pin!(sleep_until(state.deadline()));
        poll_fn(|cx| {
            // The peer closed, or broke the protocol and has been answered so: nothing more to do.
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if timer.deadline() != state.deadline() {
                timer.as_mut().reset(state.deadline());
            }
            timer.as_mut().poll(cx)
        })
        .await;
    }
}

/// Answers the requests of one connection.
struct Answers {
    all: Rc<Clients>,
    state: Rc<ClientState>,
}

impl Service<Request<Incoming>> for Answers {
    type Response = Response<PageBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (all, state) = (Rc::clone(&self.all), Rc::clone(&self.state));
        state.enter(ClientPhase::Asked);
        Box::pin(async move {
            // One page a turn for each connection, however many requests it sends in one go.
            yield_now().await;
            if route::is_scrape(&request) {
                all.make_room(MAX_SCRAPES, |state| state.scraping.get());
                state.scraping.set(true);
            }
            let mut response = match route::feed(&request, &all.pages, all.bound) {
                Some(asked) => {
                    let follow = |follower| {
                        let late = Arc::clone(&all.counters.late);
                        all.has_room_for_follower().then(|| Events::new(follower, Rc::clone(&state), late))
                    };
                    route::answer_of_feed(&request, asked, follow).await
                }
                None => route::answer(&request, &all.pages).await,
            };
            if state.age() > OLD {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            state.enter(if response.body().has_end() { ClientPhase::Answering } else { ClientPhase::Following });
            Ok(response)
        })
    }
}
