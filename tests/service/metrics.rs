//! The metrics' values change as they should; their format is tested with Prometheus itself.

use crate::support::{Caller, PAYMENT, Service, eventually, request, shared};
use payment_latency_api::limits::{SWEEP_INTERVAL_MS, WRITE_TIMEOUT_MS};
use socket2::{Domain, Socket, Type};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn requests_and_payments_are_counted_once_where_they_belong() {
    let service = Service::start(shared(), &[]);
    assert_eq!(service.metric(&requests("GET", PAYMENT, 200)), 0.0);
    let mut caller = Caller::connect(service.address);
    for _ in 0..3 {
        caller.pay("", &[]).id();
    }
    caller.pay("outcome=declined", &[]).id();
    caller.pay("", &[("Idempotency-Key", "metrics-1")]).id();
    caller.pay("", &[("Idempotency-Key", "metrics-1")]).id();
    caller.pay("amount=x", &[]);
    caller.get(PAYMENT, &[]);
    caller.get("/secret/path", &[]);
    caller.send(b"BREW /livez HTTP/1.1\r\nHost: a\r\n\r\n");
    caller.receive();
    for (sample, value) in [
        (requests("GET", PAYMENT, 200), 6.0),
        (requests("GET", PAYMENT, 400), 1.0),
        (requests("GET", PAYMENT, 401), 1.0),
        (requests("GET", "unmatched", 404), 1.0),
        (requests("other", "/livez", 405), 1.0),
        (
            format!("http_request_duration_seconds_count{{method=\"GET\",endpoint=\"{PAYMENT}\"}}"),
            8.0,
        ),
        ("payment_processing_duration_seconds_count".into(), 6.0),
        ("payments_total{outcome=\"approved\"}".into(), 4.0),
        ("payments_total{outcome=\"declined\"}".into(), 1.0),
        ("payments_total{outcome=\"replayed\"}".into(), 1.0),
        ("payments_in_flight".into(), 0.0),
        ("pool_size".into(), 8.0),
        ("pool_connections{state=\"open\"}".into(), 8.0),
        ("pool_connections{state=\"busy\"}".into(), 0.0),
        ("pool_connections_opened_total".into(), 8.0),
        ("database_batch_size_count".into(), 6.0),
        ("database_batch_size_sum".into(), 6.0),
        // Five writes, one conflict, one lookup of the row.
        ("database_exchange_duration_seconds_count".into(), 7.0),
        ("service_ready".into(), 1.0),
        ("service_draining".into(), 0.0),
    ] {
        assert_eq!(service.metric(&sample), value, "{sample}");
    }
    assert!(service.metric("database_last_success_timestamp_seconds") > 1.6e9);
    assert!(!service.get("/metrics", &[]).text().contains("/secret/path"));
}

#[test]
fn refusals_and_the_ends_of_connections_are_counted_by_their_reason() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    caller.send(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(caller.receive().status, 400);
    assert!(caller.is_closed());
    assert_eq!(
        service.metric("http_refused_total{reason=\"host_missing\"}"),
        1.0
    );
    assert_eq!(service.metric(&requests("other", "unmatched", 400)), 1.0);
    let mut caller = Caller::connect(service.address);
    assert_eq!(
        caller
            .get("/livez", &[("Connection", "close")])
            .header("connection"),
        "close"
    );
    assert!(caller.is_closed());
    drop(caller);
    eventually("its end was counted", || {
        service.metric("http_connections_closed_total{reason=\"requested\"}") == 1.0
    });
    // One connection and two buffers are the scrape's own.
    eventually("all others are gone", || {
        service.metric("http_connections") == 1.0
    });
    assert_eq!(service.metric("http_buffered_bytes"), 2.0 * 4096.0);
}

#[test]
fn how_late_the_thread_comes_to_a_timer_is_observed() {
    let service = Service::start(shared(), &[]);
    let metrics = || service.get("/metrics", &[]);
    let late = || {
        let metrics = metrics();
        metrics.sample("event_loop_lag_seconds_count")
            - metrics.sample("event_loop_lag_seconds_bucket{le=\"0.25\"}")
    };
    eventually("timers are observed", || {
        metrics().sample("event_loop_lag_seconds_count") > 2.0
    });
    let before = late();
    service.signal("STOP");
    std::thread::sleep(Duration::from_millis(600));
    service.signal("CONT");
    eventually("each timer that was missed shows", || {
        late() >= before + 2.0
    });
}

#[test]
fn whoever_stays_without_a_request_holds_no_buffer() {
    let service = Service::start(shared(), &[]);
    let _idle: Vec<_> = (0..10)
        .map(|_| {
            let mut caller = Caller::connect(service.address);
            assert_eq!(caller.get("/livez", &[]).status, 200);
            caller
        })
        .collect();
    // At once: the thread that answered has already released them.
    let metrics = Caller::connect(service.address).get("/metrics", &[]);
    assert_eq!(metrics.sample("http_connections"), 11.0);
    assert_eq!(metrics.sample("http_buffered_bytes"), 2.0 * 4096.0);
}

/// Why a connection ends, and how to make it end.
type End = (&'static str, fn(&Service));

#[test]
fn each_end_of_a_connection_is_counted_by_its_reason() {
    let settings = [("MAX_CONNECTIONS", "2"), ("DRAIN_MS", "60000")];
    let service = Service::start(shared(), &settings);
    let closed = |reason| format!("http_connections_closed_total{{reason=\"{reason}\"}}");
    // The observer keeps its connection open: otherwise its own end would also be counted.
    let mut looks = Caller::connect(service.address);
    let ends: [End; 4] = [
        ("peer", |service| {
            let _ = service.get("/livez", &[]);
        }),
        ("requested", |service| {
            let mut caller = Caller::connect(service.address);
            caller.get("/livez", &[("Connection", "close")]);
            assert!(caller.is_closed());
        }),
        ("refused", |service| {
            let mut caller = Caller::connect(service.address);
            caller.send(b"GET / HTTP/1.1\r\n\r\n");
            assert_eq!(caller.receive().status, 400);
            assert!(caller.is_closed());
        }),
        ("error", |service| {
            let mut stream = TcpStream::connect(service.address).unwrap();
            stream.write_all(b"GET /livez HTTP").unwrap();
            // Closing it sends a reset.
            let socket = socket2::SockRef::from(&stream);
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }),
    ];
    for (number, (reason, end)) in (1..).zip(ends) {
        end(&service);
        eventually(reason, || {
            let metrics = looks.get("/metrics", &[]);
            let of_each = ends.map(|(reason, _)| metrics.sample(&closed(reason)));
            assert!(
                of_each.iter().sum::<f64>() <= f64::from(number),
                "{of_each:?}"
            );
            metrics.sample(&closed(reason)) == 1.0
        });
    }
    let mut idle = Caller::connect(service.address);
    assert_eq!(idle.get("/livez", &[]).status, 200);
    assert_eq!(looks.get("/metrics", &[]).sample(&closed("evicted")), 0.0);
    let mut newcomer = Caller::connect(service.address);
    assert_eq!(newcomer.get("/livez", &[]).status, 200);
    assert!(idle.is_closed());
    eventually("the idle one's end is counted", || {
        looks.get("/metrics", &[]).sample(&closed("evicted")) == 1.0
    });
    service.signal("TERM");
    service.wait_for_log("draining");
    assert_eq!(newcomer.get("/livez", &[]).header("connection"), "close");
    drop(newcomer);
    eventually("an end by the drain is counted", || {
        service.metric(&closed("drain")) >= 1.0
    });
}

#[test]
fn who_does_not_take_its_answers_in_time_is_ended() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    // Far more than fits in the buffers between the two.
    let began = Instant::now();
    caller.send(&request("GET", "/metrics", &[]).repeat(400));
    let ended = || service.metric("http_connections_closed_total{reason=\"write_timeout\"}");
    eventually("its end is counted", || ended() == 1.0);
    let took = began.elapsed();
    assert!(
        took >= Duration::from_millis(WRITE_TIMEOUT_MS - SWEEP_INTERVAL_MS),
        "{took:?}"
    );
}

/// The service has handed the answer to the kernel, which ends the connection.
#[test]
fn who_never_takes_an_answer_that_fits_into_the_kernels_buffer_is_ended_too() {
    let service = Service::start(shared(), &[]);
    let caller = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    caller.set_recv_buffer_size(2_048).unwrap();
    caller.connect(&service.address.into()).unwrap();
    let began = Instant::now();
    (&caller)
        .write_all(&request("GET", "/metrics", &[]))
        .unwrap();
    let ended = || service.metric("http_connections_closed_total{reason=\"write_timeout\"}");
    eventually("its end is counted", || ended() == 1.0);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(WRITE_TIMEOUT_MS), "{took:?}");
}

#[test]
fn outcomes_of_payments_and_refusals_for_want_of_room_are_counted_from_nought() {
    let service = Service::start(shared(), &[]);
    let outcomes = [200, 500, 503, 504].map(|status| requests("GET", PAYMENT, status));
    let refusals = ["too_many_connections", "buffers_exhausted"]
        .map(|reason| format!("http_refused_total{{reason=\"{reason}\"}}"));
    for sample in outcomes.iter().chain(&refusals) {
        assert_eq!(service.metric(sample), 0.0, "{sample}");
    }
}

#[test]
fn openmetrics_is_negotiated() {
    let service = Service::start(shared(), &[]);
    let text = service.get("/metrics", &[]);
    assert_eq!(
        text.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    assert!(text.text().contains("# TYPE http_requests_total counter\n"));
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let open = service.get("/metrics", &[("Accept", accept)]);
    assert_eq!(
        open.header("content-type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(open.text().contains("# TYPE http_requests counter\n"));
    assert!(open.text().ends_with("# EOF\n"));
    for answer in [text, open] {
        assert_eq!(answer.header("vary"), "Accept");
    }
}

fn requests(method: &str, endpoint: &str, status: u16) -> String {
    format!(
        "http_requests_total{{method=\"{method}\",endpoint=\"{endpoint}\",status=\"{status}\"}}"
    )
}
