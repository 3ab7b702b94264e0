//! Every endpoint, and every status that can be had without a fault.

use payment_latency_api::http::date;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::{Caller, KEY, PAYMENT, Response, Service, request, shared};

#[test]
fn the_small_endpoints_answer_as_documented() {
    let service = Service::start(shared(), &[]);
    let live = service.get("/livez", &[]);
    assert_eq!(
        (live.status, live.text().as_str()),
        (200, r#"{"status":"alive"}"#)
    );
    let ready = service.get("/readyz", &[]);
    assert_eq!(
        (ready.status, ready.text().as_str()),
        (200, r#"{"status":"ready"}"#)
    );

    let info = service.get("/info", &[]).json();
    assert_eq!(info["name"], "payment-latency-api");
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(info["region"], "eu-south-2");
    assert_eq!(info["environment"], "test");
    for field in [
        "timestamp",
        "git_revision",
        "build_timestamp",
        "rust_version",
    ] {
        assert!(info[field].is_string(), "{field}");
    }

    let health = service.get("/health", &[]);
    assert_eq!(health.status, 200);
    let health = health.json();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["database"], "connected");
    assert_eq!(health["region"], "eu-south-2");
    assert_eq!(health["environment"], "test");
    assert!(health["latency_ms"].as_f64().unwrap() > 0.0);
    assert!(health["uptime_seconds"].is_u64());
    assert!(health["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(health["pool"]["size"], 8);
    assert_eq!(health["pool"]["open"], 8);
}

#[test]
fn an_answer_has_the_date_of_the_second_that_it_is_made_in() {
    let service = Service::start(shared(), &[]);
    let unix_seconds = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    let text = |seconds| String::from_utf8(date::format(seconds).to_vec()).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2_200) {
        let sent = unix_seconds();
        let live = service.get("/livez", &[]);
        let possible: Vec<String> = (sent..=unix_seconds()).map(text).collect();
        let said = live.header("date");
        assert!(
            possible.iter().any(|date| date == said),
            "{said}, not {possible:?}"
        );
        sleep(Duration::from_millis(50));
    }

    // The second in which the request arrived is long over.
    let paid = service.pay("processing_ms=2000");
    let received = unix_seconds();
    let possible = [text(received - 1), text(received)];
    let said = paid.header("date");
    assert!(
        possible.iter().any(|date| date == said),
        "{said}, not {possible:?}"
    );
}

#[test]
fn head_has_the_header_fields_of_get_and_no_content() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    let id = [("X-Request-Id", "the-same")];
    for path in [
        "/livez", "/readyz", "/info", "/health", "/metrics", "/nothing",
    ] {
        let get = caller.get(path, &id);
        caller.send(&request("HEAD", path, &id));
        let head = caller.receive_for("HEAD");
        assert_eq!(head.status, get.status);
        assert!(head.body.is_empty());
        assert_ne!(head.header("content-length"), "0", "{path}");
        // Times and counts differ between two answers, so their lengths may differ too.
        let fields = |answer: &Response| {
            let mut fields = answer.headers.clone();
            for varies in ["date", "content-length"] {
                assert!(fields.remove(varies).is_some(), "{path}: {varies}");
            }
            fields
        };
        assert_eq!(fields(&head), fields(&get), "{path}");
    }
}

#[test]
fn a_head_that_is_refused_has_no_content_either() {
    let service = Service::start(shared(), &[]);
    for (request, status) in [
        ("HEAD /livez HTTP/1.1\r\n\r\n", 400),
        ("HEAD /livez HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
        ("HEAD /livez HTTP/3.0\r\nHost: a\r\n\r\n", 505),
        ("\r\nHEAD /livez HTTP/1.1\r\n\r\n", 400),
    ] {
        let mut caller = Caller::connect(service.address);
        caller.send(request.as_bytes());
        let head = caller.receive_for("HEAD");
        assert_eq!(head.status, status, "{request:?}");
        assert_ne!(head.header("content-length"), "0");
        assert!(caller.is_closed(), "{request:?}: more bytes follow");
    }
}

#[test]
fn conditions_and_ranges_change_no_answer() {
    let service = Service::start(shared(), &[]);
    let usual = service.get("/info", &[]);
    for (name, value) in [
        ("If-Match", "\"a\""),
        ("If-None-Match", "*"),
        ("If-Modified-Since", "Fri, 01 Jan 2100 00:00:00 GMT"),
        ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("If-Range", "\"a\""),
        ("Range", "bytes=0-0"),
        ("Range", "minutes=1-2"),
    ] {
        let answer = service.get("/info", &[(name, value)]);
        assert_eq!(answer.status, 200, "{name}");
        assert_eq!(answer.body.len(), usual.body.len(), "{name}");
        for validator in ["etag", "last-modified", "content-range"] {
            assert!(!answer.headers.contains_key(validator), "{name}");
        }
        service.pay_with("", &[(name, value)]).id();
    }
}

#[test]
fn other_methods_and_paths_are_refused_and_the_connection_goes_on() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    for path in ["/livez", "/readyz", "/info", "/health", "/metrics", PAYMENT] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
            caller.send(&request(method, path, &[]));
            let answer = caller.receive_for(method);
            answer.assert_problem(405, "method_not_allowed", "");
            let allow = if path == PAYMENT { "GET" } else { "GET, HEAD" };
            assert_eq!(answer.header("allow"), allow, "{method} {path}");
        }
    }
    caller.send(&request("HEAD", PAYMENT, &[("X-API-Key", KEY)]));
    assert_eq!(
        caller.receive_for("HEAD").status,
        405,
        "a payment has an effect"
    );
    for path in [
        "/",
        "/healthz",
        "/health/",
        "/api/payment",
        "/api/payment/simulate/x",
        "/%68ealth",
    ] {
        caller.get(path, &[]).assert_problem(404, "not_found", "");
    }
    assert_eq!(caller.get("/livez", &[]).status, 200);
}

#[test]
fn a_payment_takes_a_key_and_only_a_right_one() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    let absent = caller.get(PAYMENT, &[]);
    absent.assert_problem(401, "api_key_missing", "X-API-Key");
    assert!(absent.header("www-authenticate").starts_with("ApiKey "));
    assert_eq!(absent.header("cache-control"), "no-store");
    for wrong in ["", "x", &KEY[1..], &format!("{KEY}0"), &KEY.to_uppercase()] {
        caller.get(PAYMENT, &[("X-API-Key", wrong)]).assert_problem(
            403,
            "api_key_wrong",
            "X-API-Key",
        );
    }
    let twice = caller.get(PAYMENT, &[("X-API-Key", KEY), ("X-API-Key", KEY)]);
    twice.assert_problem(403, "api_key_wrong", "X-API-Key");
    assert_eq!(caller.get(PAYMENT, &[("x-api-KEY", KEY)]).status, 200);
}

#[test]
fn what_is_malformed_in_a_payment_is_named() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    for (query, field) in [
        ("amount=", "amount"),
        ("amount=-1", "amount"),
        ("amount=1e3", "amount"),
        ("amount=0", "amount"),
        ("amount=1.234", "amount"),
        ("amount=1&currency=JPY&amount=2", "amount"),
        ("amount=1.5&currency=JPY", "amount"),
        ("amount=1.2345&currency=KWD", "amount"),
        ("amount=9999999999999999", "amount"),
        ("amount=%zz", "amount"),
        ("currency=eur", "currency"),
        ("currency=XAU", "currency"),
        ("currency=ABC", "currency"),
        ("outcome=maybe", "outcome"),
        ("processing_ms=2001", "processing_ms"),
        ("processing_ms=-1", "processing_ms"),
        ("processing_ms=1.5", "processing_ms"),
        ("colour=red", "colour"),
    ] {
        caller
            .pay(query, &[])
            .assert_problem(400, "invalid_request", field);
    }
    let long = "k".repeat(256);
    for (name, value) in [
        ("Idempotency-Key", ""),
        ("Idempotency-Key", "two words"),
        ("Idempotency-Key", &long),
        ("X-Request-Timeout-Ms", ""),
        ("X-Request-Timeout-Ms", "0"),
        ("X-Request-Timeout-Ms", "+5"),
        ("X-Request-Timeout-Ms", "1.5"),
        ("X-Request-Timeout-Ms", "99999999999"),
    ] {
        caller
            .pay("", &[(name, value)])
            .assert_problem(400, "invalid_request", name);
        caller
            .pay("", &[(name, "5"), (name, "5")])
            .assert_problem(400, "invalid_request", name);
    }
}

#[test]
fn identifiers_are_echoed_when_they_are_well_formed_and_replaced_when_not() {
    let service = Service::start(shared(), &[]);
    let mut caller = Caller::connect(service.address);
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = caller.get(
        "/livez",
        &[("X-Request-Id", "order-17"), ("traceparent", trace)],
    );
    assert_eq!(answer.header("x-request-id"), "order-17");
    assert_eq!(answer.header("traceparent"), trace);
    let answer = caller.get(
        "/livez",
        &[("X-Request-Id", "a b"), ("traceparent", "00-xyz")],
    );
    assert_eq!(answer.header("x-request-id").len(), 32);
    assert_eq!(answer.header("traceparent").len(), 55);
    let problem = caller.get("/x", &[("X-Request-Id", "order-18")]).json();
    assert_eq!(problem["request_id"], "order-18");
    let absent = caller.get("/livez", &[]);
    assert_eq!(absent.header("x-request-id").len(), 32);
    assert!(!absent.headers.contains_key("traceparent"));
}

#[test]
fn a_line_for_each_request_is_logged_only_when_asked_for() {
    let quiet = Service::start(shared(), &[]);
    quiet.get("/livez", &[("X-Request-Id", "quiet-1")]);
    let loud = Service::start(shared(), &[("LOG_REQUESTS", "true")]);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    loud.get(
        "/livez?secret=1",
        &[("X-Request-Id", "loud-1"), ("traceparent", trace)],
    );
    let line = loud.wait_for_log("request");
    assert_eq!(line["request_id"], "loud-1");
    assert_eq!(line["traceparent"], trace);
    assert_eq!(
        (&line["method"], &line["endpoint"]),
        (&"GET".into(), &"/livez".into())
    );
    assert_eq!(line["status"], 200);
    assert!(line["transaction_id"].is_null());
    let key = [("Idempotency-Key", "logged-once")];
    let paid = [loud.pay_with("", &key), loud.pay_with("", &key)].map(|answer| answer.id());
    let lines = loud.wait_for_logs("request", 3);
    assert_eq!(
        paid.map(serde_json::Value::from),
        [1, 2].map(|at: usize| lines[at]["transaction_id"].clone())
    );
    assert!(!loud.log_text().contains("secret"));
    assert!(!quiet.log_text().contains("quiet-1"));
}

#[test]
fn the_unspecified_address_of_ipv6_takes_callers_of_both_families() {
    let service = Service::start(shared(), &[("LISTEN_ADDRESS", "::")]);
    for address in [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        Ipv6Addr::LOCALHOST.into(),
    ] {
        let mut caller = Caller::connect((address, service.address.port()).into());
        assert_eq!(caller.get("/livez", &[]).status, 200, "{address}");
    }
}
