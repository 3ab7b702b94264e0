//! How the process ends.

use crate::support::{
    Caller, KEY, Load, PAYMENT, Service, assert_durable, database, eventually, request, shared,
};
use payment_latency_api::limits::{
    BODY_TIMEOUT_MS, BUFFER_BYTES, FINISH_MARGIN_MS, PROCESSING_MAX_MS,
};
use std::time::{Duration, Instant};

#[test]
fn a_drain_under_load_answers_every_request() {
    let cluster = database();
    let service = Service::start(&cluster, &[("DRAIN_MS", "3000")]);
    let load = Load::start(service.address, 8, || KEY.to_owned());
    eventually("payments are made", || {
        service.metric("payments_total{outcome=\"approved\"}") > 50.0
    });
    service.signal("TERM");
    service.wait_for_log("draining");
    service
        .get("/readyz", &[])
        .assert_problem(503, "draining", "");
    let paid = service.pay("");
    assert_eq!(paid.status, 200, "payments are served while draining");
    assert_eq!(paid.header("connection"), "close");
    // A load balancer also stops sending to an instance that is not ready.
    let answers = load.stop();
    assert_eq!(service.wait().code(), Some(0));
    let failed: Vec<u16> = answers
        .iter()
        .map(|paid| paid.status)
        .filter(|status| *status != 200)
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_durable(&cluster, &answers);
}

#[test]
fn both_signals_drain_idle_connections_close_and_the_exit_is_clean() {
    for signal in ["TERM", "INT"] {
        let service = Service::start(shared(), &[]);
        let mut idle = Caller::connect(service.address);
        assert_eq!(idle.get("/livez", &[]).header("connection"), "");
        service.signal(signal);
        assert_eq!(service.wait().code(), Some(0));
        assert!(idle.is_closed());
        let stopped = service.wait_for_log("stopped");
        assert_eq!(stopped["finished"], true);
        assert!(Caller::try_connect(service.address).is_none());
    }
}

#[test]
fn a_payment_under_way_is_finished_before_the_end() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    let target = format!("{PAYMENT}?processing_ms=2000");
    caller.send(&request("GET", &target, &[("X-API-Key", KEY)]));
    eventually("it is being processed", || {
        service.metric("payments_in_flight") == 1.0
    });
    service.signal("TERM");
    let answer = caller.receive();
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(crate::support::rows(shared(), &answer.id()), "1");
    assert!(caller.is_closed());
    assert_eq!(service.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let service = Service::start(shared(), &[("DRAIN_MS", "300000")]);
    service.signal("TERM");
    service.wait_for_log("draining");
    service.signal("TERM");
    assert_eq!(service.wait().code(), Some(0));
    assert_eq!(service.wait_for_log("stopped")["finished"], false);
}

#[test]
fn a_request_whose_head_is_completed_during_the_drain_is_answered() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    caller.send(b"GET /livez HTTP/1.1\r\nHost: a");
    std::thread::sleep(Duration::from_millis(50));
    service.signal("TERM");
    service.wait_for_log("draining");
    caller.send(b"\r\n\r\n");
    assert_eq!(caller.receive().status, 200);
    assert_eq!(service.wait().code(), Some(0));
}

#[test]
fn a_request_whose_head_is_never_complete_is_refused_before_the_end() {
    // Long enough for the head's time limit to pass.
    let service = Service::start(shared(), &[("PAYMENT_DEADLINE_MS", "20000")]);
    let mut caller = Caller::connect(service.address);
    caller.send(b"GET /livez HTTP/1.1\r\nHost: a");
    begin_drain_once_it_reads(&service);
    caller.receive().assert_problem(408, "head_timeout", "");
    assert!(caller.is_closed());
    assert_eq!(service.wait().code(), Some(0));
    assert_eq!(service.wait_for_log("stopped")["finished"], true);
}

#[test]
fn who_is_left_when_the_time_to_finish_is_over_is_cut_off() {
    const DEADLINE_MS: u64 = 10;
    let deadline = DEADLINE_MS.to_string();
    let service = Service::start(shared(), &[("PAYMENT_DEADLINE_MS", &deadline)]);
    let mut caller = Caller::connect(service.address);
    caller.send(b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    let began = begin_drain_once_it_reads(&service);
    assert_eq!(service.wait().code(), Some(0));
    let finish_ms = DEADLINE_MS + PROCESSING_MAX_MS + FINISH_MARGIN_MS;
    assert!(began.elapsed() >= Duration::from_millis(finish_ms));
    let stopped = service.wait_for_log("stopped");
    assert_eq!(stopped["finished"], false);
    assert_eq!(stopped["connections_left"], 1);
    // The body's time limit is longer, and would have ended with an answer.
    const { assert!(BODY_TIMEOUT_MS > DEADLINE_MS + PROCESSING_MAX_MS + FINISH_MARGIN_MS) };
    assert!(caller.try_receive("GET").is_none());
}

/// Tells the service to end once it has read part of a request; returns when that was.
fn begin_drain_once_it_reads(service: &Service) -> Instant {
    eventually("it has begun to read the request", || {
        // Two buffers are this scrape's own.
        service.metric("http_buffered_bytes") > (2 * BUFFER_BYTES) as f64
    });
    let began = Instant::now();
    service.signal("TERM");
    began
}

#[test]
fn a_caller_that_connects_at_the_last_moment_is_answered() {
    let service = Service::start(shared(), &[("DRAIN_MS", "3000")]);
    service.signal("TERM");
    service.wait_for_log("draining");
    // Meanwhile the kernel keeps accepting connections, and the drain time passes.
    service.signal("STOP");
    let mut caller = Caller::connect(service.address);
    caller.send(&request("GET", "/livez", &[]));
    let mut silent = Caller::connect(service.address);
    std::thread::sleep(Duration::from_millis(3_100));
    service.signal("CONT");
    let answer = caller.receive();
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert!(caller.is_closed() && silent.is_closed());
    assert_eq!(service.wait().code(), Some(0));
    assert_eq!(service.wait_for_log("stopped")["finished"], true);
}
