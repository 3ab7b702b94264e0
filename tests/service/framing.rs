//! Requests that arrive on a socket in pieces, and time limits. `http_framing.rs` tests the table of
//! requests whole and split at every byte; here it is sent over real sockets.

use crate::framing_cases::{Case, Expect, cases};
use crate::support::{Caller, KEY, PAYMENT, Service, request, shared};
use payment_latency_api::limits::HEAD_TIMEOUT_MS;
use std::time::Duration;

/// Sends a case in pieces and checks what comes back, and what becomes of the connection.
fn check(service: &Service, case: &Case, piece: usize) {
    let mut caller = Caller::connect(service.address);
    for bytes in case.bytes.chunks(piece) {
        caller.try_send(bytes);
    }
    let old = case.bytes.windows(8).any(|bytes| bytes == b"HTTP/1.0");
    let method = if case.bytes.starts_with(b"HEAD ") {
        "HEAD"
    } else {
        "GET"
    };
    match case.expect {
        Expect::Refuse(status, code) if method == "HEAD" => {
            assert_eq!(caller.receive_for(method).status, status, "{code}");
            assert!(caller.is_closed(), "{}", case.name);
        }
        Expect::Refuse(status, code) => {
            let answer = caller.receive();
            answer.assert_problem(status, code, "");
            assert_eq!(answer.header("connection"), "close", "{}", case.name);
            assert!(caller.is_closed(), "{}", case.name);
        }
        Expect::Accept => {
            let mut answer = caller.receive_for(method);
            if answer.status == 100 {
                answer = caller.receive();
            }
            let handled = [200, 401, 404, 405].contains(&answer.status);
            assert!(handled, "{}: {}", case.name, answer.text());
            assert_eq!(answer.header("connection") == "close", old, "{}", case.name);
            if !old {
                assert_eq!(caller.get("/livez", &[]).status, 200, "{}", case.name);
            }
        }
    }
}

#[test]
fn the_table_holds_on_a_socket_whole_and_in_small_pieces() {
    let service = Service::start(shared(), &[]);
    for case in cases() {
        check(&service, &case, case.bytes.len());
        if case.bytes.len() < 500 {
            check(&service, &case, 1);
        }
    }
}

#[test]
fn a_payment_may_arrive_one_byte_at_a_time() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    for byte in request("GET", &format!("{PAYMENT}?amount=3"), &[("X-API-Key", KEY)]) {
        caller.send(&[byte]);
        std::thread::yield_now();
    }
    assert_eq!(caller.receive().json()["amount"], "3.00");
}

#[test]
fn a_body_is_read_to_its_end_and_the_next_request_begins_behind_it() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    let mut bytes = b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n".to_vec();
    bytes.extend([b'x'; 65_536]);
    bytes.extend(request("GET", "/readyz", &[]));
    caller.send(&bytes);
    assert_eq!(caller.receive().text(), r#"{"status":"alive"}"#);
    assert_eq!(caller.receive().text(), r#"{"status":"ready"}"#);
}

#[test]
fn a_caller_that_expects_100_continue_gets_it_before_its_body() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    caller.send(
        b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n",
    );
    assert_eq!(caller.receive().status, 100);
    caller.send(b"hello");
    assert_eq!(caller.receive().status, 200);
    // A request that sends its body along gets no 100 Continue.
    caller.send(
        b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    );
    assert_eq!(caller.receive().status, 200);
}

#[test]
fn versions_and_connection_options_decide_what_becomes_of_the_connection() {
    let service = Service::start(shared(), &[]);
    for (request, connection) in [
        ("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("GET /livez HTTP/1.7\r\nHost: a\r\n\r\n", ""),
        ("GET http://a/livez HTTP/1.1\r\nHost: b\r\n\r\n", ""),
        (
            "GET /livez HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
            "close",
        ),
        ("GET /livez HTTP/1.0\r\n\r\n", "close"),
        (
            "GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            "keep-alive",
        ),
    ] {
        let mut caller = Caller::connect(service.address);
        caller.send(request.as_bytes());
        let answer = caller.receive();
        assert_eq!(answer.status, 200, "{request}");
        assert_eq!(answer.header("connection"), connection, "{request}");
        if connection == "close" {
            assert!(caller.is_closed());
        } else {
            assert_eq!(caller.get("/livez", &[]).status, 200);
        }
    }
}

#[test]
fn a_refusal_arrives_even_when_much_more_was_sent() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n".to_vec();
    bytes.extend(vec![b'x'; 70_000]);
    caller.try_send(&bytes);
    let answer = caller.receive();
    answer.assert_problem(413, "body_too_large", "");
    assert_eq!(answer.header("connection"), "close");
}

#[test]
fn answers_before_a_refusal_are_written_first() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    let mut bytes = request("GET", "/livez", &[]);
    bytes.extend(request("GET", PAYMENT, &[("X-API-Key", KEY)]));
    bytes.extend(b"GET / HTTP/1.1\nHost: a\n\n");
    caller.send(&bytes);
    assert_eq!(caller.receive().status, 200);
    caller.receive().id();
    caller.receive().assert_problem(400, "bare_lf", "");
    assert!(caller.is_closed());
}

#[test]
fn what_does_not_arrive_in_time_is_answered_and_idle_connections_live_on() {
    let service = Service::start(shared(), &[]);
    let mut body = Caller::connect(service.address);
    body.send(b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell");
    // Two are parked by now: one before its first request, one after it.
    let mut idle = [(); 2].map(|()| Caller::connect(service.address));
    assert_eq!(idle[0].get("/livez", &[]).status, 200);
    let mut slow = Caller::connect(service.address);
    slow.send(b"GET /livez HTT");
    std::thread::sleep(Duration::from_millis(HEAD_TIMEOUT_MS / 2));
    // Bytes in between do not extend the limit: if they did, this one would be ended first.
    let mut later = Caller::connect(service.address);
    later.send(b"GET /livez HTT");
    slow.send(b"P/1.1\r\nHost: a\r\n");
    slow.receive().assert_problem(408, "head_timeout", "");
    assert!(later.is_open().unwrap());
    assert!(slow.is_closed());
    body.receive().assert_problem(408, "body_timeout", "");
    assert!(body.is_closed());
    for caller in &mut idle {
        assert_eq!(caller.get("/livez", &[]).status, 200);
    }
}

#[test]
fn a_caller_that_closes_its_sending_half_still_gets_its_answer() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    caller.send(&request("GET", PAYMENT, &[("X-API-Key", KEY)]));
    caller.finish_sending();
    caller.receive().id();
    assert!(caller.is_closed());
}

#[test]
fn a_slow_reader_gets_all_of_its_answers() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    let one = request("GET", "/metrics", &[]);
    let mut bytes = Vec::new();
    for _ in 0..400 {
        bytes.extend(&one);
    }
    // Far more than fits in the buffers between the two: the service has to wait for the reader.
    caller.send(&bytes);
    for _ in 0..400 {
        assert_eq!(caller.receive().status, 200);
    }
}

#[test]
fn nothing_behind_a_request_that_closes_is_processed() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    let mut bytes = request("GET", "/livez", &[("Connection", "close")]);
    bytes.extend(request("GET", PAYMENT, &[("X-API-Key", KEY)]));
    caller.send(&bytes);
    assert_eq!(caller.receive().header("connection"), "close");
    assert!(caller.is_closed());
    assert_eq!(service.metric("payments_total{outcome=\"approved\"}"), 0.0);
}

#[test]
fn a_request_that_is_cut_short_is_closed_and_has_no_effect() {
    let service = Service::start(shared(), &[]);
    let payment = request(
        "GET",
        PAYMENT,
        &[("X-API-Key", KEY), ("Content-Length", "5")],
    );
    let head = payment.len();
    for bytes in [
        &payment[..head - 2],
        &payment,
        &[&payment[..], b"hell"].concat(),
    ] {
        let mut caller = Caller::connect(service.address);
        caller.send(bytes);
        caller.finish_sending();
        assert!(caller.is_closed(), "{}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(service.metric("payments_total{outcome=\"approved\"}"), 0.0);
}
