//! What a caller waits for when others are slow or greedy: the service is stopped while all of them
//! send, and a newcomer asks how many of the others were served before it. These tests count; they
//! measure no time.

use crate::postgres::Cluster;
use crate::support::{
    Caller, KEY, PAYMENT, Response, Service, TableLock, database, eventually, request, shared,
};
use payment_latency_api::limits::{
    BUFFER_BYTES, BUFFERED_TIGHT_BYTES, HEAD_TIMEOUT_MS, PIPELINE_TURN_COUNT, RETRY_AFTER_S,
    RETRY_SPREAD_MS, SWEEP_GAP_MAX_MS, SWEEP_INTERVAL_MS,
};
use std::fs;
use std::time::{Duration, Instant};

/// Others that may be served before a newcomer, which the service notices in three polls of its sockets:
/// connected, registered, readable.
const AHEAD_MAX: f64 = 64.0;

const LIVEZ: &str = r#"http_requests_total{method="GET",endpoint="/livez",status="200"}"#;
const TIMED_OUT: &str = r#"http_refused_total{reason="head_timeout"}"#;
const REFUSED: &str = r#"pool_rejected_total{reason="waiters_full"}"#;

/// How much of what `others` cause is done before a newcomer is answered, by the metric sample that counts it.
fn answered_before(service: &Service, sample: &str, others: impl FnOnce()) -> f64 {
    let done = |metrics: &Response| metrics.sample_if_any(sample).unwrap_or_default();
    let before = done(&service.get("/metrics", &[]));
    let newcomer = newcomer_after(service, others);
    eventually("part of it is done", || {
        let now = service.get("/metrics", &[]);
        now.sample_if_any(sample).is_some_and(|now| now > before)
    });
    done(&newcomer) - before
}

/// The answer for `/metrics` to a newcomer that comes at the same moment as `others` and is seen
/// last.
fn newcomer_after(service: &Service, others: impl FnOnce()) -> Response {
    service.signal("STOP");
    eventually("the service is stopped", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", service.id())).unwrap();
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('T'))
    });
    others();
    let mut newcomer = Caller::connect(service.address);
    newcomer.send(&request("GET", "/metrics", &[]));
    service.signal("CONT");
    newcomer.receive()
}

/// Callers in the middle of a request's head.
fn crowd_in_a_head(service: &Service) -> Vec<Caller> {
    let crowd: Vec<Caller> = (0..900)
        .map(|_| {
            let mut caller = Caller::connect(service.address);
            caller.send(b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: ");
            caller
        })
        .collect();
    let over = Instant::now() + Duration::from_millis(HEAD_TIMEOUT_MS);
    eventually("all of them are in the middle of a head", || {
        let all = crowd.len() as f64 * BUFFER_BYTES as f64;
        service.metric("http_buffered_bytes") >= all || Instant::now() >= over
    });
    crowd
}

#[test]
fn a_crowd_that_sends_its_heads_in_pieces_does_not_stand_before_others() {
    let service = Service::start(shared(), &[]);
    let mut crowd = crowd_in_a_head(&service);
    let ahead = answered_before(&service, LIVEZ, || {
        crowd
            .iter_mut()
            .for_each(|caller| caller.send(b"1\r\n\r\n"));
    });
    assert!(ahead <= AHEAD_MAX, "{ahead}");
    all_are_answered(&mut crowd, 1, 200);
}

#[test]
fn a_crowd_whose_time_is_over_at_once_does_not_stand_before_others() {
    // Of the time in which the service is stopped, only this much counts: the last part of a head's
    // time limit.
    const LAST_PART_MS: u64 = SWEEP_GAP_MAX_MS - 2 * SWEEP_INTERVAL_MS;
    let service = Service::start(shared(), &[]);
    let timed_out = |metrics: &Response| metrics.sample_if_any(TIMED_OUT).unwrap_or_default();
    eventually("the time of all of them runs out at once", || {
        let before = timed_out(&service.get("/metrics", &[]));
        let began = Instant::now();
        let mut crowd = crowd_in_a_head(&service);
        let nearly = Duration::from_millis(HEAD_TIMEOUT_MS - LAST_PART_MS);
        std::thread::sleep(nearly.saturating_sub(began.elapsed()));
        let mut goes_on = Instant::now();
        let newcomer = newcomer_after(&service, || {
            std::thread::sleep(Duration::from_millis(2 * SWEEP_GAP_MAX_MS));
            goes_on = Instant::now();
        });
        let ahead = timed_out(&newcomer) - before;
        all_are_answered(&mut crowd, 1, 408);
        // On a busy machine, some are ended before it is stopped, or some later.
        let at_once = goes_on.elapsed() < Duration::from_millis(SWEEP_GAP_MAX_MS);
        assert!(ahead <= AHEAD_MAX || !at_once, "{ahead}");
        at_once
    });
}

#[test]
fn a_pipeline_does_not_stand_before_others() {
    let service = Service::start(shared(), &[]);
    let mut greedy = Caller::connect(service.address);
    let ahead = answered_before(&service, LIVEZ, || {
        greedy.send(&request("GET", "/livez", &[]).repeat(1_000));
    });
    assert!(ahead <= AHEAD_MAX, "{ahead}");
    all_are_answered(&mut [greedy], 1_000, 200);
}

#[test]
fn a_crowd_of_pipelines_stands_before_others_with_one_request_each() {
    let service = Service::start(shared(), &[]);
    let short = request("GET", "/livez", &[]);
    let to_fill = |value: &str| request("GET", "/livez", &[("X-Fill", value)]);
    let fills_a_buffer = to_fill(&"x".repeat(BUFFER_BYTES - to_fill("").len()));
    let in_one_go = PIPELINE_TURN_COUNT as usize;
    for (request, times) in [(short, in_one_go), (fills_a_buffer, in_one_go / 2)] {
        let many = request.repeat(times);
        let mut crowd: Vec<Caller> = (0..300).map(|_| Caller::connect(service.address)).collect();
        let ahead = answered_before(&service, LIVEZ, || {
            crowd.iter_mut().for_each(|greedy| greedy.send(&many));
        });
        assert!(ahead <= crowd.len() as f64 + AHEAD_MAX, "{ahead}");
        all_are_answered(&mut crowd, times, 200);
    }
}

#[test]
fn a_crowd_of_pipelines_that_has_all_connections_makes_room_for_a_newcomer() {
    let service = Service::start(shared(), &[("MAX_CONNECTIONS", "3")]);
    let mut crowd: Vec<Caller> = (0..3).map(|_| Caller::connect(service.address)).collect();
    for greedy in &mut crowd {
        assert_eq!(greedy.get("/livez", &[]).status, 200);
    }
    let newcomer = newcomer_after(&service, || {
        let many = request("GET", "/livez", &[]).repeat(1_000);
        crowd.iter_mut().for_each(|greedy| greedy.send(&many));
    });
    assert_eq!(newcomer.status, 200);
}

/// A service that refuses every payment, until the lock is dropped.
fn exhausted(cluster: &Cluster) -> (Service, TableLock, Caller) {
    let settings = [
        ("POOL_SIZE", "1"),
        ("WAITERS_MAX", "0"),
        ("EXCHANGE_TIMEOUT_MS", "25000"),
        ("PAYMENT_DEADLINE_MS", "29000"),
    ];
    let service = Service::start(cluster, &settings);
    let lock = TableLock::take(cluster);
    let mut busy = Caller::connect(service.address);
    busy.send(&payment());
    eventually("the connection is busy", || {
        service.metric("pool_connections{state=\"busy\"}") == 1.0
    });
    (service, lock, busy)
}

fn payment() -> Vec<u8> {
    request("GET", PAYMENT, &[("X-API-Key", KEY)])
}

/// `try_once` returns how many were ahead of a newcomer. On a busy machine it may take so long that callers may ask
/// again, which is another case; then it is tried once more.
fn before_they_may_ask_again(mut try_once: impl FnMut() -> f64) {
    eventually("all of them ask again at once", || {
        let began = Instant::now();
        let ahead = try_once();
        let at_once =
            began.elapsed() < Duration::from_millis(RETRY_AFTER_S * 1_000 - RETRY_SPREAD_MS);
        assert!(ahead <= AHEAD_MAX || !at_once, "{ahead}");
        at_once
    });
}

fn all_are_answered(crowd: &mut [Caller], times: usize, status: u16) {
    for caller in crowd {
        (0..times).for_each(|_| assert_eq!(caller.receive().status, status));
    }
}

#[test]
fn a_pipeline_of_refusals_does_not_stand_before_others() {
    let cluster = database();
    let (service, _lock, _busy) = exhausted(&cluster);
    let many = payment().repeat(12);
    before_they_may_ask_again(|| {
        let mut crowd: Vec<Caller> = (0..40).map(|_| Caller::connect(service.address)).collect();
        let ahead = answered_before(&service, REFUSED, || {
            crowd.iter_mut().for_each(|caller| caller.send(&many));
        });
        all_are_answered(&mut crowd, 12, 503);
        ahead
    });
}

/// While a crowd of unfinished heads fills the buffers, a caller that holds a buffer makes way for the next one, never
/// a caller that holds none.
#[test]
fn who_is_refused_and_asks_again_while_buffers_are_tight_is_answered() {
    let cluster = database();
    let (service, _lock, _busy) = exhausted(&cluster);
    let large = format!(
        "GET /{} HTTP/1.1\r\nX-Fill: {}",
        "a".repeat(7_000),
        "b".repeat(10_000)
    );
    let crowd = |count| -> Vec<Caller> {
        (0..count)
            .map(|_| Caller::connect(service.address))
            .collect()
    };
    eventually(
        "all of them ask again at once, while buffers are tight",
        || {
            let (mut callers, mut small) = (crowd(40), crowd(1_000));
            let rest = BUFFERED_TIGHT_BYTES - small.len() * BUFFER_BYTES;
            let mut greedy = crowd(rest / (8 * BUFFER_BYTES) + 40);
            let began = Instant::now();
            callers
                .iter_mut()
                .for_each(|caller| caller.send(&payment()));
            all_are_answered(&mut callers, 1, 503);
            small.iter_mut().for_each(|caller| caller.try_send(b"GET"));
            greedy
                .iter_mut()
                .for_each(|caller| caller.try_send(large.as_bytes()));
            let soon =
                || began.elapsed() < Duration::from_millis(RETRY_AFTER_S * 1_000 - RETRY_SPREAD_MS);
            let tight = || service.metric("http_buffered_bytes") > BUFFERED_TIGHT_BYTES as f64;
            while soon() && !tight() {}
            callers
                .iter_mut()
                .for_each(|caller| caller.send(&payment()));
            all_are_answered(&mut callers, 1, 503);
            soon()
        },
    );
}

#[test]
fn who_is_refused_and_asks_again_at_once_does_not_stand_before_others() {
    let cluster = database();
    let (service, _lock, _busy) = exhausted(&cluster);
    let mut crowd: Vec<Caller> = (0..400).map(|_| Caller::connect(service.address)).collect();
    let ask = |crowd: &mut [Caller]| crowd.iter_mut().for_each(|caller| caller.send(&payment()));
    for blank_lines in ["", "\r\n"] {
        before_they_may_ask_again(|| {
            ask(&mut crowd);
            all_are_answered(&mut crowd, 1, 503);
            crowd
                .iter_mut()
                .for_each(|caller| caller.send(blank_lines.as_bytes()));
            let ahead = answered_before(&service, REFUSED, || ask(&mut crowd));
            all_are_answered(&mut crowd, 1, 503);
            ahead
        });
    }
}
