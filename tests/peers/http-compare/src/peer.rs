//! A minimal server on hyper: every request is read to its end and answered with 200, one for
//! `/behind-the-case` with 404.

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// Starts it on a thread of its own.
pub fn start() -> SocketAddr {
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .build_local(Default::default());
        runtime.expect("a runtime").block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            told.send(listener.local_addr().expect("an address"))
                .expect("somebody listens");
            while let Ok((socket, _)) = listener.accept().await {
                let connection = http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), service_fn(answer));
                tokio::task::spawn_local(connection);
            }
        });
    });
    address.recv().expect("it has started")
}

async fn answer(request: Request<Incoming>) -> Result<Response<Nothing>, Infallible> {
    let (head, mut body) = request.into_parts();
    let mut response = Response::new(Nothing);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if frame.is_err() {
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(response);
        }
    }
    if head.uri.path() == "/behind-the-case" {
        *response.status_mut() = StatusCode::NOT_FOUND;
    } else if head.method == hyper::Method::CONNECT {
        // 200 would turn the connection into a tunnel.
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    }
    Ok(response)
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
