//! Once everything is warm, this project's own code allocates nothing between the last byte of a request
//! and the first byte of its answer.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unsafe_code,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a failure here is the test's failure; an allocator is unsafe to write"
)]

#[path = "support/postgres.rs"]
mod postgres;

use payment_latency_api::config::Config;
use payment_latency_api::metrics::Build;
use payment_latency_api::server;
use postgres::{Cluster, OWNER, Tls};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What rustls allocates for one payment over TLS 1.3 with its unbuffered connection: the sealed
/// record that is sent, and the opened record that is received.
const RUSTLS_ALLOCATIONS_PER_PAYMENT: u64 = 2;

/// Allocations that a keep-alive of an idle connection, or a warning on a slow machine, may add to
/// the whole run.
const ALLOCATIONS_BESIDE_MAX: u64 = 16;

const PAYMENTS: u64 = 2_000;

struct Counting;

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

fn count() {
    // A thread that is about to end no longer has the flag, and is not one of the service's.
    if COUNTED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller upholds GlobalAlloc's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller upholds GlobalAlloc's contract.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds GlobalAlloc's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs the service in a thread of this process, whose allocations are counted.
fn serve(cluster: &Cluster, sslmode: &str, statement_mode: &str, pool_size: &str, port: u16) {
    let environment: BTreeMap<String, OsString> = [
        ("DATABASE_URL", cluster.url(OWNER, sslmode)),
        ("API_SECRET_KEY", "0123456789abcdef".to_owned()),
        ("LISTEN_ADDRESS", "127.0.0.1".to_owned()),
        ("STATEMENT_MODE", statement_mode.to_owned()),
        ("POOL_SIZE", pool_size.to_owned()),
        ("PORT", port.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.into()))
    .collect();
    let config = Config::from_environment(&environment).unwrap();
    std::thread::spawn(move || {
        COUNTED.set(true);
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap()
            .block_on(server::run(config, Build::default()))
            .unwrap();
    });
}

fn exchange(stream: &mut TcpStream, request: &[u8]) -> String {
    stream.write_all(request).unwrap();
    let mut answer = [0; 2_048];
    let count = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..count]).into_owned()
}

/// The other endpoints, and what one request to them allocates at most.
fn check_other_endpoints(stream: &mut TcpStream) {
    const REQUESTS: u64 = 100;
    for (path, most) in [
        ("/livez", 0),
        ("/readyz", 0),
        ("/info", 0),
        ("/nothing", 0),
        ("/health", 1),
        ("/metrics", 20),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        exchange_all(stream, request.as_bytes());
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        (0..REQUESTS).for_each(|_| exchange_all(stream, request.as_bytes()));
        let counted = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert!(
            counted <= most * REQUESTS + ALLOCATIONS_BESIDE_MAX,
            "{counted} of {REQUESTS} to {path}"
        );
    }
}

/// Sends a request and reads its whole answer, which may be long.
fn exchange_all(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    let mut piece = [0; 16_384];
    loop {
        let count = stream.read(&mut piece).unwrap();
        answer.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "));
        if body.len() >= length.unwrap().parse().unwrap() {
            return;
        }
    }
}

/// Allocations of [`PAYMENTS`] payments, made by `callers` at the same time.
fn allocations(
    cluster: &Cluster,
    sslmode: &str,
    statement_mode: &str,
    (callers, pool_size): (u64, &str),
) -> u64 {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port();
    serve(cluster, sslmode, statement_mode, pool_size, port);
    let mut streams: Vec<TcpStream> = (0..callers).map(|_| connect(port)).collect();
    let ready = b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n";
    while !exchange(&mut streams[0], ready).contains(" 200 ") {
        std::thread::sleep(Duration::from_millis(10));
    }
    let pay = |stream: &mut TcpStream, key: String| {
        let request = format!(
            "GET /api/payment/simulate?amount=12.34&currency=EUR&processing_ms=0 HTTP/1.1\r\n\
             Host: a\r\nX-API-Key: 0123456789abcdef\r\n\
             Idempotency-Key: {sslmode}-{statement_mode}-{callers}-{key}\r\n\
             X-Request-Timeout-Ms: 1500\r\n\
             traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n"
        );
        let answer = exchange(stream, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    };
    let mut payments = |count: u64, round: &str| {
        std::thread::scope(|scope| {
            for (caller, stream) in streams.iter_mut().enumerate() {
                scope.spawn(move || {
                    let keys = (0..count / callers).map(|n| format!("{round}-{caller}-{n}"));
                    keys.for_each(|key| pay(stream, key));
                });
            }
        });
    };
    payments(PAYMENTS, "warm-up");
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    payments(PAYMENTS, "counted");
    let counted = ALLOCATIONS.load(Ordering::Relaxed) - before;
    println!(
        "{sslmode} {statement_mode}, {callers} callers: {counted} allocations in {PAYMENTS} payments"
    );
    check_other_endpoints(&mut streams[0]);
    counted
}

fn connect(port: u16) -> TcpStream {
    let stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    stream.set_nodelay(true).unwrap();
    stream
}

#[test]
fn a_payment_allocates_nothing_but_what_rustls_does() {
    let cluster = Cluster::start(Tls::for_localhost());
    cluster.psql(concat!(
        "SET ROLE payments_owner; ",
        include_str!("../migrations/0001_payments.sql")
    ));
    for statement_mode in ["unnamed", "named"] {
        for (sslmode, each) in [
            ("disable", 0),
            ("verify-full", RUSTLS_ALLOCATIONS_PER_PAYMENT),
        ] {
            let counted = allocations(&cluster, sslmode, statement_mode, (1, "8"));
            let expected = each * PAYMENTS;
            let bounds = expected..=expected + ALLOCATIONS_BESIDE_MAX;
            assert!(
                bounds.contains(&counted),
                "{counted} instead of {expected} with sslmode={sslmode}"
            );
            // Payments that share an exchange share its records.
            let counted = allocations(&cluster, sslmode, statement_mode, (40, "1"));
            let most = expected / 2 + ALLOCATIONS_BESIDE_MAX;
            assert!(
                counted <= most,
                "{counted} for a crowd, more than {most}, with sslmode={sslmode}"
            );
        }
    }
}
