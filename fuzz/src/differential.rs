//! Compares this parser's view of a stream with hyper's.
//!
//! Two parties that disagree on where a request ends can be made to see different requests. hyper
//! shares httparse with this parser but reads framing (Content-Length, Transfer-Encoding, chunks)
//! and decides on persistence with code of its own.

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response, Uri};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::http::{Stream, read};

/// hyper limits trailer lines by number, this parser by bytes: this many fit.
const TRAILERS_MAX_COUNT: usize = payment_latency_api::limits::TRAILERS_MAX_BYTES / b"x:\r\n".len();

/// A request as either parser sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    method: Vec<u8>,
    target: String,
    fields: usize,
}

/// Every request that both accept is the same. hyper may accept what this parser refuses, but it must
/// not see a request where this parser still waits for the end of one, nor the other way round.
pub fn differential(bytes: &[u8]) {
    let mut ours = Vec::new();
    let stream = read(std::iter::once(bytes), |head, _| ours.push(seen(head)));
    let theirs = hyper_reads(bytes);
    for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours, theirs, "request {index}");
    }
    if theirs.len() > ours.len() {
        assert!(
            stream.refused.is_some() || stream.closed,
            "hyper sees {:?} while this parser waits for the end of a request",
            theirs.get(ours.len())
        );
    }
    if let Some(request) = ours.get(theirs.len()) {
        assert!(
            is_beyond_hyper(bytes, &stream, theirs.len()),
            "only this parser sees {request:?}"
        );
    }
}

/// Whether request number `index` is one that hyper is known to refuse because of its first line.
fn is_beyond_hyper(bytes: &[u8], stream: &Stream, index: usize) -> bool {
    let end = |index: usize| stream.ends.get(index).copied();
    let start = index.checked_sub(1).and_then(end).unwrap_or(0);
    let request = bytes
        .get(start..end(index).unwrap_or(start))
        .unwrap_or_default();
    let request = request.trim_ascii_start();
    let line = request.split(|&b| b == b'\r').next().unwrap_or_default();
    // httparse knows 1.0 and 1.1 only.
    let later_version = !line.ends_with(b" HTTP/1.1") && !line.ends_with(b" HTTP/1.0");
    let mut words = line.split(|&b| b == b' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    // The http crate parses targets by its own rules.
    let target_taken =
        std::str::from_utf8(target).is_ok_and(|target| target.parse::<Uri>().is_ok());
    later_version || !target_taken || hyper::Method::from_bytes(method).is_err()
}

fn seen(head: &[u8]) -> Seen {
    let head = head.trim_ascii_start();
    let mut lines = head.split(|&b| b == b'\n');
    let line = lines.next().unwrap_or_default();
    let mut words = line.split(|&b| b == b' ');
    let method = words.next().unwrap_or_default().to_vec();
    let target = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
    Seen {
        method,
        // Compared in hyper's form, which writes an empty path as "/".
        target: target.parse::<Uri>().map_or(target, |uri| uri.to_string()),
        fields: lines.filter(|line| line.len() > 1).count(),
    }
}

/// The requests that hyper accepts, each with its body read to the end.
fn hyper_reads(bytes: &[u8]) -> Vec<Seen> {
    let taken = Rc::new(RefCell::new(Vec::new()));
    let stream = Arrived {
        bytes: bytes.to_vec(),
        at: 0,
    };
    let connection = http1::Builder::new()
        .half_close(true)
        .max_headers(TRAILERS_MAX_COUNT)
        .serve_connection(stream, Recorder(Rc::clone(&taken)));
    let mut connection = pin!(connection);
    // All input is available at once, so it is only ever woken by itself.
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..10_000 {
        if connection.as_mut().poll(&mut cx).is_ready() {
            break;
        }
    }
    taken.take()
}

/// Records every request whose body arrives, and answers it.
struct Recorder(Rc<RefCell<Vec<Seen>>>);

impl Service<Request<Incoming>> for Recorder {
    type Response = Response<Nothing>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let taken = Rc::clone(&self.0);
        Box::pin(async move {
            let (head, mut body) = request.into_parts();
            let seen = Seen {
                method: head.method.as_str().as_bytes().to_vec(),
                target: head.uri.to_string(),
                fields: head.headers.len(),
            };
            let whole = loop {
                match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                    None => break true,
                    Some(Err(_)) => break false,
                    Some(Ok(_)) => {}
                }
            };
            if whole {
                taken.borrow_mut().push(seen);
            }
            let mut answer = Response::new(Nothing);
            // 2xx to CONNECT would turn the connection into a tunnel.
            *answer.status_mut() = hyper::StatusCode::NOT_FOUND;
            Ok(answer)
        })
    }
}

struct Nothing;

impl Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

/// A socket on which all input and then the end has arrived; it accepts whatever is written.
struct Arrived {
    bytes: Vec<u8>,
    at: usize,
}

impl hyper::rt::Read for Arrived {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.split_at(count).0);
        self.at += count;
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Arrived {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
