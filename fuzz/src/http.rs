//! Bytes from callers.

use payment_latency_api::http::request::Request;
use payment_latency_api::http::{BodyLength, BodyReader, HeadScan, Refusal, request};
use payment_latency_api::limits::{
    BODY_MAX_BYTES, HEAD_MAX_BYTES, HEADERS_MAX_BYTES, TARGET_MAX_BYTES,
};
use payment_latency_api::payment::{Currency, Parameters};

use super::Pieces;

/// The result of a stream: where its requests end, and why reading stopped.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) ends: Vec<usize>,
    pub(super) refused: Option<Refusal>,
    /// The last request asked for the connection to be closed.
    pub(super) closed: bool,
}

/// Reads a stream as a connection does; `each` sees every complete request with its head.
pub(super) fn read<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    mut each: impl FnMut(&[u8], &Request<'_>),
) -> Stream {
    let mut stream = Stream::default();
    let mut buffer = Vec::new();
    let mut scan = HeadScan::new();
    let mut consumed = 0;
    let mut body: Option<(Vec<u8>, BodyReader)> = None;
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match step(&mut buffer, &mut scan, &mut body, &mut consumed) {
                Err(refusal) => {
                    stream.refused = Some(refusal);
                    return stream;
                }
                Ok(None) => break,
                Ok(Some(head)) => {
                    let request = request::parse(&head).expect("it was read before");
                    each(&head, &request);
                    stream.ends.push(consumed);
                    if !request.keep_alive {
                        stream.closed = true;
                        return stream;
                    }
                }
            }
        }
        assert!(
            buffer.len() <= HEAD_MAX_BYTES + piece.len(),
            "unread bytes grow"
        );
    }
    stream
}

/// The head of the next complete request, taken from the buffer with its body.
fn step(
    buffer: &mut Vec<u8>,
    scan: &mut HeadScan,
    body: &mut Option<(Vec<u8>, BodyReader)>,
    consumed: &mut usize,
) -> Result<Option<Vec<u8>>, Refusal> {
    if body.is_none() {
        let Some(length) = scan.scan(buffer)? else {
            return Ok(None);
        };
        let head: Vec<u8> = buffer.drain(..length).collect();
        *scan = HeadScan::new();
        *consumed += length;
        let length = check(&head)?;
        *body = Some((head, BodyReader::new(length)));
    }
    let Some((_, reader)) = body else {
        return Ok(None);
    };
    let progress = reader.feed(buffer)?;
    buffer.drain(..progress.consumed);
    *consumed += progress.consumed;
    Ok(match progress.complete {
        true => body.take().map(|(head, _)| head),
        false => None,
    })
}

/// What must hold for every head that is accepted.
fn check(head: &[u8]) -> Result<BodyLength, Refusal> {
    let request = request::parse(head)?;
    assert!(head.len() <= HEAD_MAX_BYTES && head.ends_with(b"\r\n\r\n"));
    let text = head.trim_ascii_start();
    let line_end = text.iter().position(|&b| b == b'\n').expect("a line");
    assert!(text.len() - line_end <= HEADERS_MAX_BYTES + 4);
    assert!(request.path.len() <= TARGET_MAX_BYTES);
    assert!(request.path.bytes().all(|b| b.is_ascii_graphic()));
    let fields = [
        request.api_key,
        request.idempotency_key,
        request.timeout_ms,
        request.request_id,
        request.traceparent,
    ];
    for value in fields.iter().filter_map(|field| field.one()) {
        assert!(!value.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')));
    }
    if let BodyLength::Length(length) = request.body {
        assert!((1..=BODY_MAX_BYTES).contains(&length));
    }
    Ok(request.body)
}

/// A stream of requests: the first byte decides where it is split, which must not change the result.
pub fn requests(data: &[u8]) {
    let Some((&seed, bytes)) = data.split_first() else {
        return;
    };
    let whole = read(std::iter::once(bytes), |_, _| {});
    let split = read(Pieces::new(seed, bytes), |_, _| {});
    assert_eq!(whole, split);
}

/// A chunked body: splitting it changes nothing, and a second reading of an accepted one ends where the
/// first does.
pub fn chunks(data: &[u8]) {
    let Some((&seed, bytes)) = data.split_first() else {
        return;
    };
    let whole = feed(std::iter::once(bytes));
    assert_eq!(whole, feed(Pieces::new(seed, bytes)));
    if let Ok((consumed, true)) = whole {
        assert_eq!(decode(bytes), Some(consumed), "two readings differ");
    }
}

/// Bytes that belong to the body, and whether it is complete.
fn feed<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(usize, bool), Refusal> {
    let mut reader = BodyReader::new(BodyLength::Chunked);
    let mut consumed = 0;
    for piece in pieces {
        let progress = reader.feed(piece)?;
        consumed += progress.consumed;
        if progress.complete {
            return Ok((consumed, true));
        }
        assert_eq!(progress.consumed, piece.len(), "bytes of the body are left");
    }
    Ok((consumed, false))
}

/// RFC 9112 section 7.1 read line by line: where the body ends.
fn decode(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = line(bytes, &mut at)?;
        let size = line.split(|&b| b == b';').next()?.trim_ascii_end();
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        at += size;
        if bytes.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    while !line(bytes, &mut at)?.is_empty() {}
    Some(at)
}

fn line<'a>(bytes: &'a [u8], at: &mut usize) -> Option<&'a [u8]> {
    let rest = bytes.get(*at..)?;
    let length = rest.windows(2).position(|pair| pair == b"\r\n")?;
    *at += length + 2;
    rest.get(..length)
}

/// The query of a payment: what is accepted can be written down and read again, and the text about a
/// mistake is safe in a header, a log and JSON.
pub fn query(data: &[u8]) {
    let default = Currency::EUR;
    match Parameters::from_query(Some(data), default) {
        Ok(read) => {
            let amount = read.amount.to_string();
            let again = format!(
                "processing_ms={}&outcome={}&currency={}&amount={amount}",
                read.processing_ms,
                read.outcome.as_str(),
                read.currency.code(),
            );
            let again = Parameters::from_query(Some(again.as_bytes()), default).expect("valid");
            assert_eq!(read, again);
            assert_eq!(read.request_hash(), again.request_hash());
        }
        Err(mistake) => {
            let text = mistake.to_string();
            assert!(text.len() < 400, "{} bytes", text.len());
            assert!(text.bytes().all(|b| matches!(b, b' '..=b'~')), "{text:?}");
        }
    }
}
