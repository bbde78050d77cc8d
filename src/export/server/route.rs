//! A route leads from a request to the page that answers it.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::sleep;

use super::Pages;

const PLAIN: &str = "text/plain; charset=utf-8";
/// How often, and how many times, metrics are asked for that are not there yet: four seconds, less than the deadline.
const RETRY: (Duration, usize) = (Duration::from_millis(20), 200);

/// The body of a response, sent in one piece.
#[derive(Debug)]
pub(super) struct PageBody(Option<Bytes>);

impl Body for PageBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.get_mut().0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, Bytes::len) as u64)
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
        "/" => response(StatusCode::OK, "text/html; charset=utf-8", about()),
        _ => response(StatusCode::NOT_FOUND, PLAIN, "there are /, /metrics, /healthz and /readyz\n".to_owned()),
    }
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
    let mut response = Response::new(PageBody(Some(Bytes::from(text))));
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
