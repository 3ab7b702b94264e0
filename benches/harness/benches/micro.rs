//! The steps of a payment, one by one, with what each allocates: `make bench-micro`.

use bytes::BytesMut;
use divan::{AllocProfiler, Bencher, black_box};
use payment_latency_api::config::StatementMode;
use payment_latency_api::http::response::{Content, Context, Name};
use payment_latency_api::http::{HeadScan, Method, Response, Status, Version, date, request};
use payment_latency_api::metrics::{Build, Metrics};
use payment_latency_api::pg::connection::Connection;
use payment_latency_api::pg::transport::Transport;
use payment_latency_api::pg::{messages, payments};
use payment_latency_api::pool::{Connect, Connecting, Pool};
use payment_latency_harness::{pool_settings, sample_insert};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection};
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

const MINIMAL: &[u8] =
    b"GET /api/payment/simulate HTTP/1.1\r\nHost: a.example.com\r\nX-API-Key: 0123456789abcdef\r\n\r\n";

const TYPICAL: &[u8] =
    b"GET /api/payment/simulate?amount=12.34&currency=EUR&processing_ms=0 HTTP/1.1\r\n\
    Host: payments.example.com\r\nX-API-Key: 0123456789abcdef0123456789abcdef\r\n\
    User-Agent: example/1.0\r\nAccept: application/json\r\n\
    Idempotency-Key: 7c6f0a4e-6d0b-4c57-9a3e-1c2d3e4f5a6b\r\n\
    traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n";

/// BindComplete, DataRow with one timestamp, CommandComplete, ReadyForQuery
/// (<https://www.postgresql.org/docs/17/protocol-message-formats.html>).
const ANSWER: &[u8] = b"2\0\0\0\x04\
    D\0\0\0\x26\0\x02\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x08\0\x02\xd1\xe7\0\0\0\0\
    C\0\0\0\x0fINSERT 0 1\0Z\0\0\0\x05I";

const BODY: &[u8] = br#"{"transaction_id":"01890a5d-ac96-774b-bcce-b302099a8057","status":"approved","amount":"100.00","currency":"EUR","region":"eu-south-2","processing_time_ms":0,"database_time_ms":0.412,"timestamp":"2026-01-02T03:04:05.678901Z"}"#;

fn main() {
    divan::main();
}

#[divan::bench(args = ["minimal", "typical"])]
fn parse(request: &str) -> usize {
    let bytes = match request {
        "minimal" => MINIMAL,
        _ => TYPICAL,
    };
    let length = HeadScan::new()
        .scan(black_box(bytes))
        .ok()
        .flatten()
        .expect("complete");
    request::parse(&bytes[..length]).expect("valid").path.len()
}

#[divan::bench]
fn respond(bencher: Bencher) {
    let mut out = Vec::with_capacity(4_096);
    let context = Context {
        version: Version::Http11,
        keep_alive: true,
        method: Method::Get,
        date: date::format(1_767_323_045),
    };
    bencher.bench_local(|| {
        out.clear();
        Response::begin(&mut out, black_box(&context), Status::Ok)
            .header(Name::RequestId, b"01890a5d-ac96-774b-bcce-b302099a8057")
            .no_store()
            .header_of(
                Name::ServerTiming,
                &[b"db;dur=", b"0.412", b", total;dur=", b"0.431"],
            )
            .body(Content::Json, |out| out.extend_from_slice(BODY));
    });
}

#[divan::bench(args = [StatementMode::Named, StatementMode::Unnamed])]
fn encode(bencher: Bencher, mode: StatementMode) {
    let (insert, mut out) = (sample_insert(), BytesMut::with_capacity(4_096));
    bencher.bench_local(|| {
        out.clear();
        payments::insert(mode, "eu-south-2", &[black_box(&insert)], &mut out)
    });
}

#[divan::bench]
fn decode() -> Option<i64> {
    let (mut rest, mut created_at) = (black_box(ANSWER), None);
    while let Ok(Some(message)) = messages::next(rest) {
        if message.tag == b'D' {
            created_at = payments::read_insert(message.body).ok().map(|(_, at)| at);
        }
        rest = &rest[message.len..];
    }
    created_at
}

/// Checkout, encode, exchange, decode and return, with a PostgreSQL that answers at once and no TLS.
#[divan::bench]
fn checkout_and_exchange(bencher: Bencher) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .expect("a runtime");
    let insert = sample_insert();
    let pool = runtime.block_on(async {
        let pool = Pool::start(
            pool_settings(),
            Box::new(AtOnce),
            Arc::new(Metrics::new(Build::default())),
        );
        pool.ready().await;
        pool
    });
    bencher.bench_local(|| {
        runtime.block_on(async {
            let deadline = Instant::now() + Duration::from_secs(1);
            pool.write(&insert, deadline, std::future::pending())
                .await
                .expect("written")
        })
    });
}

/// Encrypts a payment's statement into a TLS record.
#[divan::bench]
fn encrypt(bencher: Bencher) {
    let (mut client, _server) = session();
    let mut statement = BytesMut::new();
    payments::insert(
        StatementMode::Named,
        "eu-south-2",
        &[&sample_insert()],
        &mut statement,
    )
    .expect("encoded");
    bencher.bench_local(|| {
        client.send(black_box(&statement)).expect("sealed");
        let length = client.outgoing().len();
        client.sent(length);
        length
    });
}

/// Decrypts a record with PostgreSQL's answer into its messages.
#[divan::bench]
fn decrypt(bencher: Bencher) {
    let (mut client, mut server) = session();
    bencher
        .with_inputs(|| {
            server.writer().write_all(ANSWER).expect("written");
            take_records(&mut server)
        })
        .bench_local_refs(|record| {
            receive(&mut client, record);
            let length = client.messages().len();
            client.consume_messages(length);
            length
        });
}

/// A TLS session between a transport and a server in memory.
fn session() -> (Transport, ServerConnection) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).expect("a key");
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .expect("a certificate with its key");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = Transport::tls(Arc::new(client), name).expect("a session");
    let mut server = ServerConnection::new(Arc::new(server)).expect("a session");
    while client.is_handshaking() || server.is_handshaking() {
        let mut sent = client.outgoing();
        while !sent.is_empty() {
            server.read_tls(&mut sent).expect("read");
        }
        let length = client.outgoing().len();
        client.sent(length);
        server.process_new_packets().expect("a handshake");
        receive(&mut client, &take_records(&mut server));
    }
    (client, server)
}

fn take_records(server: &mut ServerConnection) -> Vec<u8> {
    let mut records = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut records).expect("written");
    }
    records
}

fn receive(client: &mut Transport, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let space = client.read_space().expect("room");
        let length = bytes.len().min(space.len());
        space[..length].copy_from_slice(&bytes[..length]);
        client.received(length).expect("records");
        bytes = &bytes[length..];
    }
}

/// Connects to nothing: the resulting stream answers every write with [`ANSWER`].
struct AtOnce;

impl Connect<Answering> for AtOnce {
    fn connect(&self) -> Connecting<Answering> {
        Box::pin(async {
            let stream = Answering { asked: false };
            Ok(Connection::new(
                stream,
                Transport::plain(),
                StatementMode::Named,
                "eu-south-2".into(),
            ))
        })
    }
}

struct Answering {
    asked: bool,
}

impl AsyncRead for Answering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !std::mem::take(&mut self.asked) {
            return Poll::Pending;
        }
        space.put_slice(ANSWER);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Answering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.asked = true;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
