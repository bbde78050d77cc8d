//! A route leads from a request to the page that answers it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Pages;
use super::feed::{Events, Feed, Follower};

/// Fetch, section 3.7: no other site may use the answer.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const ELSEWHERE: &str =
    "the page is not served under this name: ask for localhost or an address, or allow the name with --page-host\n";
const HTML: &str = "text/html; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";
/// How often, and how many times, metrics are asked for that are not there yet: four seconds, less than the deadline.
const RETRY: (Duration, usize) = (Duration::from_millis(20), 200);

/// The body of a response.
#[derive(Debug)]
pub(super) enum PageBody {
    /// Sent in one piece, if it was not yet.
    Whole(Option<Bytes>),
    /// Sent as it comes.
    Events(Box<Events>),
}

impl PageBody {
    pub(super) const fn has_end(&self) -> bool {
        matches!(self, Self::Whole(_))
    }
}

impl Body for PageBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(events) => events.poll(cx).map(|frame| frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Events(_) => SizeHint::default(),
        }
    }
}

pub(super) fn is_scrape<T>(request: &Request<T>) -> bool {
    is_read(request.method()) && request.uri().path() == "/metrics"
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The response to a request.
pub(super) async fn answer<T>(request: &Request<T>, pages: &Pages) -> Response<PageBody> {
    if !is_read(request.method()) {
        let mut response = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        // A body may follow, which is not read.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return response;
    }
    let page = |made: Result<String, String>, kind: &'static str, trouble: StatusCode| match made {
        Ok(text) => response(StatusCode::OK, kind, text),
        Err(text) => response(trouble, PLAIN, text + "\n"),
    };
    match request.uri().path() {
        "/metrics" => match metrics(pages).await {
            Some(made) => page(made, "text/plain; version=0.0.4; charset=utf-8", StatusCode::INTERNAL_SERVER_ERROR),
            None => response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "picotap is starting\n".to_owned()),
        },
        "/healthz" => {
            made(&pages.healthy).map_or_else(defect, |made| page(made, PLAIN, StatusCode::SERVICE_UNAVAILABLE))
        }
        "/readyz" => made(&pages.ready).map_or_else(defect, |made| page(made, PLAIN, StatusCode::SERVICE_UNAVAILABLE)),
        "/" => response(StatusCode::OK, HTML, about()),
        _ => response(StatusCode::NOT_FOUND, PLAIN, "there are /, /metrics, /healthz and /readyz\n".to_owned()),
    }
}

/// What a request wants of the feed.
pub(super) enum Asked<'a> {
    /// It came under a name that is not this endpoint's.
    Elsewhere,
    /// The page.
    Page(&'a Feed),
    /// The data.
    Data(&'a Feed),
    /// The data, and what becomes of it.
    Events(&'a Feed),
}

/// What a request wants of the feed; `None` if it is not for the feed.
pub(super) fn feed<'a, T>(request: &Request<T>, pages: &'a Pages, bound: SocketAddr) -> Option<Asked<'a>> {
    let feed = pages.feed.as_ref().filter(|_| is_read(request.method()))?;
    let asked = match request.uri().path() {
        "/" => Asked::Page(feed),
        "/snapshot.json" => Asked::Data(feed),
        "/events" => Asked::Events(feed),
        _ => return None,
    };
    Some(if feed.admits(request.headers(), bound) { asked } else { Asked::Elsewhere })
}

/// The response to it. `follow`: begins to send events, unless too many are sent already.
pub(super) async fn answer_of_feed<T>(
    request: &Request<T>,
    asked: Asked<'_>,
    follow: impl FnOnce(Follower) -> Option<Events>,
) -> Response<PageBody> {
    const STARTING: &str = "picotap is starting\n";
    const JSON: &str = "application/json";
    const EVENTS: &str = "text/event-stream";
    let unavailable = |text: &str| response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, text.to_owned());
    let mut response = match asked {
        Asked::Elsewhere => response(StatusCode::MISDIRECTED_REQUEST, PLAIN, ELSEWHERE.to_owned()),
        Asked::Page(feed) => {
            let mut response = response(StatusCode::OK, HTML, feed.page.clone());
            if let Ok(policy) = HeaderValue::from_str(&feed.policy) {
                response.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
            }
            response
        }
        Asked::Data(feed) => match made(&feed.follow) {
            None => defect(),
            Some(None) => unavailable(STARTING),
            Some(Some(follower)) => {
                spawn_blocking(follower).await.map_or_else(|_| defect(), |text| response(StatusCode::OK, JSON, text))
            }
        },
        Asked::Events(_) if request.method() == Method::HEAD => response(StatusCode::OK, EVENTS, String::new()),
        Asked::Events(feed) => match made(&feed.follow) {
            None => defect(),
            Some(None) => unavailable(STARTING),
            Some(Some(follower)) => match follow(follower) {
                None => unavailable("as many follow events as may: close another page\n"),
                Some(events) => {
                    let mut response = response(StatusCode::OK, EVENTS, String::new());
                    response.headers_mut().remove(CONTENT_LENGTH);
                    *response.body_mut() = PageBody::Events(Box::new(events));
                    response
                }
            },
        },
    };
    response.headers_mut().insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// The metrics; `None` if they are not there after some time.
async fn metrics(pages: &Pages) -> Option<Result<String, String>> {
    let (pause, times) = RETRY;
    for _ in 0..times {
        match made(&pages.metrics) {
            None => return Some(Err(DEFECT.to_owned())),
            Some(None) => sleep(pause).await,
            Some(made) => return made,
        }
    }
    None
}

const DEFECT: &str = "this page failed: a defect of picotap, please report it with what it wrote to standard error";

fn defect() -> Response<PageBody> {
    response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, DEFECT.to_owned() + "\n")
}

/// What a page gives; `None` if it panics, which has been printed then.
fn made<T>(page: impl Fn() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(page)).ok()
}

fn response(status: StatusCode, kind: &'static str, text: String) -> Response<PageBody> {
    let length = text.len();
    let mut response = Response::new(PageBody::Whole(Some(Bytes::from(text))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // Set here because the answer to HEAD has it too.
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
    headers.insert(CONTENT_SECURITY_POLICY, policy);
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
