//! The table of requests, against the parser alone: whole, byte by byte, and split at every byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    dead_code,
    unreachable_pub,
    reason = "a failure here is the test's failure"
)]

#[path = "support/framing_cases.rs"]
mod framing_cases;

use framing_cases::{Expect, cases};
use payment_latency_api::http::{
    BodyLength, BodyReader, Field, HeadScan, Method, Refusal, Version, request,
};
use payment_latency_api::limits::{HEAD_MAX_BYTES, TRAILERS_MAX_BYTES};

/// How the parser reads bytes that arrive in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// A request of this length.
    Request(usize),
    Refused(Refusal),
    /// More bytes are needed.
    Incomplete,
}

fn read(pieces: &[&[u8]]) -> Outcome {
    let mut buffer = Vec::new();
    let mut scan = HeadScan::new();
    let mut body: Option<(usize, BodyReader)> = None;
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if body.is_none() {
            match scan.scan(&buffer) {
                Err(refusal) => return Outcome::Refused(refusal),
                Ok(None) => continue,
                Ok(Some(length)) => match request::parse(&buffer[..length]) {
                    Err(refusal) => return Outcome::Refused(refusal),
                    Ok(request) => body = Some((length, BodyReader::new(request.body))),
                },
            }
        }
        if let Some((read, reader)) = &mut body {
            match reader.feed(&buffer[*read..]) {
                Err(refusal) => return Outcome::Refused(refusal),
                Ok(progress) => {
                    *read += progress.consumed;
                    if progress.complete {
                        return Outcome::Request(*read);
                    }
                }
            }
        }
    }
    Outcome::Incomplete
}

#[test]
fn trailers_may_take_what_is_said_and_not_a_byte_more() {
    for (length, fits) in [(TRAILERS_MAX_BYTES, true), (TRAILERS_MAX_BYTES + 1, false)] {
        let line = format!("X: {}\r\n", "x".repeat(length - 5));
        let head = "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let request = format!("{head}0\r\n{line}\r\n");
        let expected = match fits {
            true => Outcome::Request(request.len()),
            false => Outcome::Refused(Refusal::TrailersTooLarge),
        };
        assert_eq!(read(&[request.as_bytes()]), expected, "{length}");
    }
}

#[test]
fn every_request_of_the_table_comes_to_what_the_table_says() {
    for case in cases() {
        let expected = match case.expect {
            Expect::Accept => (Outcome::Request(case.bytes.len()), 0, ""),
            Expect::Refuse(status, code) => {
                let refusal = Refusal::ALL
                    .into_iter()
                    .find(|refusal| refusal.code() == code)
                    .expect(code);
                (Outcome::Refused(refusal), status, code)
            }
        };
        let found = read(&[&case.bytes]);
        assert_eq!(found, expected.0, "{}", case.name);
        if let Outcome::Refused(refusal) = found {
            assert_eq!(refusal.status().code(), expected.1, "{}", case.name);
        }
    }
}

#[test]
fn every_refusal_has_its_case() {
    let all: Vec<Expect> = cases().iter().map(|case| case.expect).collect();
    // These depend on time or on other connections.
    let elsewhere = [
        "head_timeout",
        "body_timeout",
        "too_many_connections",
        "buffers_exhausted",
    ];
    for refusal in Refusal::ALL
        .into_iter()
        .filter(|refusal| !elsewhere.contains(&refusal.code()))
    {
        let expect = Expect::Refuse(refusal.status().code(), refusal.code());
        assert!(all.contains(&expect), "{}", refusal.code());
    }
}

#[test]
fn it_makes_no_difference_where_a_request_is_split() {
    for case in cases() {
        let whole = read(&[&case.bytes]);
        let bytes: Vec<&[u8]> = case.bytes.chunks(1).collect();
        assert_eq!(read(&bytes), whole, "{} byte by byte", case.name);
        // Long ones are split around both ends and at some fifty places between.
        let length = case.bytes.len();
        for at in (0..=length).filter(|at| {
            length < 2_000 || at % (length / 50).max(100) == 0 || *at < 100 || length - at < 100
        }) {
            let (first, second) = case.bytes.split_at(at);
            assert_eq!(read(&[first, second]), whole, "{} split at {at}", case.name);
        }
    }
}

#[test]
fn a_request_ends_where_the_next_begins() {
    let next = b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n";
    for case in cases()
        .into_iter()
        .filter(|case| case.expect == Expect::Accept)
    {
        let both = [&case.bytes, &next[..]].concat();
        assert_eq!(
            read(&[&both]),
            Outcome::Request(case.bytes.len()),
            "{}",
            case.name
        );
    }
}

#[test]
fn changed_requests_never_panic_and_splits_never_matter() {
    const INTERESTING: &[u8] = b"\r\n\0 \t:;,/*?#%0159afgx\x7f\x80\xff\"[]@-+";
    let cases: Vec<_> = cases()
        .into_iter()
        .filter(|case| case.bytes.len() < 500)
        .collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for _ in 0..100_000 {
        let mut bytes = cases[random(cases.len())].bytes.clone();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = INTERESTING[random(INTERESTING.len())],
                1 => bytes.insert(at, INTERESTING[random(INTERESTING.len())]),
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {
                    let other = &cases[random(cases.len())].bytes;
                    let from = random(other.len());
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                    bytes.push(b'\n');
                }
            }
        }
        let whole = read(&[&bytes]);
        let (first, second) = bytes.split_at(random(bytes.len()));
        assert_eq!(
            read(&[first, second]),
            whole,
            "{:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[test]
fn bytes_that_were_seen_are_not_looked_at_again() {
    for case in cases()
        .into_iter()
        .filter(|case| case.expect == Expect::Accept)
    {
        let mut whole = HeadScan::new();
        let length = whole.scan(&case.bytes).unwrap().unwrap();
        // The method is looked for once, when the line is longer than the longest method.
        for at in (40..length).step_by(length / 40 + 1) {
            let mut scan = HeadScan::new();
            assert_eq!(scan.scan(&case.bytes[..at]), Ok(None));
            let mut changed = case.bytes.clone();
            changed[..at].fill(0);
            assert_eq!(scan.scan(&changed), Ok(Some(length)), "{}", case.name);
        }
    }
}

#[test]
fn no_head_grows_past_its_limits_before_it_is_refused() {
    let heads: [&[u8]; 4] = [
        b"",
        b"GET /",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: ",
    ];
    for start in heads {
        for filler in [&b"a"[..], b" ", b"\t", b":", b"\x80", b"X: \r\n", b"\r\n"] {
            let mut bytes = start.to_vec();
            while bytes.len() <= HEAD_MAX_BYTES {
                bytes.extend_from_slice(filler);
            }
            assert_ne!(
                read(&[&bytes]),
                Outcome::Incomplete,
                "{start:?}, then {filler:?}"
            );
        }
    }
}

/// Version, whether the connection stays open, whether 100 Continue is waited for, and the body.
type Connection = (Version, bool, bool, BodyLength);

fn connection(head: &str) -> Connection {
    let request = request::parse(head.as_bytes()).expect(head);
    let (keep_alive, expect) = (request.keep_alive, request.expect_continue);
    (request.version, keep_alive, expect, request.body)
}

/// Version, header lines, and the result.
const CONNECTIONS: &[(&str, &str, Connection)] = {
    use BodyLength::{Chunked, Length, None};
    use Version::{Http10, Http11};
    &[
        ("1.1", "", (Http11, true, false, None)),
        ("1.7", "", (Http11, true, false, None)),
        ("1.0", "", (Http10, false, false, None)),
        ("1.1", "Connection: close\r\n", (Http11, false, false, None)),
        (
            "1.1",
            "Connection: a ,\tCLOSE, b\r\n",
            (Http11, false, false, None),
        ),
        ("1.1", "Connection: closed\r\n", (Http11, true, false, None)),
        // RFC 9110 section 5.6.1.2: empty elements are passed over.
        (
            "1.1",
            "Connection: , ,close,\r\n",
            (Http11, false, false, None),
        ),
        (
            "1.1",
            "Connection: a\r\nConnection: close\r\n",
            (Http11, false, false, None),
        ),
        (
            "1.0",
            "Connection: Keep-Alive\r\n",
            (Http10, true, false, None),
        ),
        // RFC 9112 section 9.3: close takes precedence.
        (
            "1.0",
            "Connection: keep-alive, close\r\n",
            (Http10, false, false, None),
        ),
        (
            "1.1",
            "Connection: keep-alive, close\r\n",
            (Http11, false, false, None),
        ),
        ("1.1", "Content-Length: 0\r\n", (Http11, true, false, None)),
        (
            "1.1",
            "Content-Length: 65536\r\n",
            (Http11, true, false, Length(65_536)),
        ),
        (
            "1.0",
            "Content-Length: 007\r\n",
            (Http10, false, false, Length(7)),
        ),
        (
            "1.1",
            "Transfer-Encoding: Chunked\r\n",
            (Http11, true, false, Chunked),
        ),
        // RFC 9110 section 10.1.1: without a body, and in HTTP/1.0, it is ignored.
        (
            "1.1",
            "Expect: 100-Continue\r\nContent-Length: 1\r\n",
            (Http11, true, true, Length(1)),
        ),
        (
            "1.1",
            "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n",
            (Http11, true, true, Chunked),
        ),
        (
            "1.1",
            "Expect: 100-continue\r\n",
            (Http11, true, false, None),
        ),
        (
            "1.0",
            "Expect: 100-continue\r\nContent-Length: 1\r\n",
            (Http10, false, false, Length(1)),
        ),
        (
            "1.0",
            "Expect: 100-continue, another\r\n",
            (Http10, false, false, None),
        ),
    ]
};

#[test]
fn version_and_options_decide_whether_the_connection_stays_open() {
    for (version, headers, expected) in CONNECTIONS {
        let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{headers}\r\n");
        assert_eq!(connection(&head), *expected, "{head}");
    }
}

#[test]
fn a_target_is_cut_into_path_and_query() {
    use Method::{Get, Head, Other};
    for (line, method, path, query) in [
        ("GET /", Get, "/", None),
        ("GET /a/b?c=d&e", Get, "/a/b", Some("c=d&e")),
        ("GET /a?", Get, "/a", Some("")),
        ("GET /a?b?c", Get, "/a", Some("b?c")),
        ("GET //a", Get, "//a", None),
        ("HEAD /%41?%42", Head, "/%41", Some("%42")),
        ("get /", Other, "/", None),
        ("GET http://b", Get, "/", None),
        ("GET HTTPS://b:1/c?d", Get, "/c", Some("d")),
        ("GET http://b?c/d", Get, "/", Some("c/d")),
        ("GET http://[::1]:80/c", Get, "/c", None),
        ("OPTIONS *", Other, "*", None),
        ("OPTIONS /a?b", Other, "/a", Some("b")),
        ("CONNECT b:80", Other, "b:80", None),
    ] {
        let head = format!("\r\n{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        let request = request::parse(head.as_bytes()).expect(line);
        let found = (request.method, request.path, request.query);
        assert_eq!(found, (method, path, query), "{line}");
    }
}

#[test]
fn header_fields_are_found_in_any_letters_and_repeats_are_told() {
    type Read = for<'a> fn(&request::Request<'a>) -> Field<'a>;
    let fields: [(&str, Read); 5] = [
        ("X-API-Key", |request| request.api_key),
        ("Idempotency-Key", |request| request.idempotency_key),
        ("X-Request-Timeout-Ms", |request| request.timeout_ms),
        ("X-Request-Id", |request| request.request_id),
        ("traceparent", |request| request.traceparent),
    ];
    for (name, read) in fields {
        for name in [name.to_owned(), name.to_lowercase(), name.to_uppercase()] {
            for (lines, expected) in [
                (String::new(), Field::Absent),
                (format!("{name}x: v\r\nx{name}: v\r\n"), Field::Absent),
                (format!("{name}:\r\n"), Field::One(b"")),
                (format!("{name}: \t v w\t \r\n"), Field::One(b"v w")),
                (format!("{name}: v\r\n{name}: v\r\n"), Field::Repeated),
                (
                    format!("{name}: v\r\n{name}: w\r\n{name}:\r\n"),
                    Field::Repeated,
                ),
            ] {
                let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
                let request = request::parse(head.as_bytes()).expect(&head);
                assert_eq!(read(&request), expected, "{head}");
            }
        }
    }
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: b\r\naccept: c\r\n\r\n";
    assert_eq!(request::parse(head).unwrap().accept, Some(&b"b"[..]));
}
