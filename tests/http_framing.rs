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
use payment_latency_api::http::{BodyReader, HeadScan, Refusal, request};

/// What the parser makes of bytes that arrive in pieces.
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
fn every_request_of_the_table_comes_to_what_the_table_says() {
    for case in cases() {
        let expected = match case.expect {
            Expect::Accept => (Outcome::Request(case.bytes.len()), 0, ""),
            Expect::Refuse(status, code) => {
                let refusal = Refusal::all()
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
    for refusal in Refusal::all().filter(|refusal| !elsewhere.contains(&refusal.code())) {
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
        // The long ones are split around their ends and at every hundredth byte.
        let length = case.bytes.len();
        for at in (0..=length)
            .filter(|at| length < 2_000 || at % 100 == 0 || *at < 100 || length - at < 100)
        {
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
