//! Reads a complete request head.

use std::net::Ipv6Addr;

use super::byte_set::ByteSet;
use super::refusal::Refusal;
use crate::labels::labels;
use crate::limits::{BODY_MAX_BYTES, HEADERS_MAX_COUNT, TARGET_MAX_BYTES, USUAL_HEADERS_COUNT};

/// Digits of the largest port.
const PORT_MAX_DIGITS: usize = 5;

labels! {
    /// The methods that the service tells apart.
    pub enum Method {
        /// What all endpoints take.
        Get = "GET",
        /// The same without the content.
        Head = "HEAD",
        /// Any other token.
        Other = "other",
    }
}

/// The versions that the service speaks. A minor version above 1 is treated as 1 (RFC 9110
/// section 2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// Where the body ends (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
}

/// A header field that the service reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Field<'a> {
    /// It is not there.
    #[default]
    Absent,
    /// Its value, without the white space around it.
    One(&'a [u8]),
    /// It is repeated.
    Repeated,
}

impl<'a> Field<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Absent => Self::One(value),
            _ => Self::Repeated,
        };
    }

    /// The value, if there is exactly one.
    pub fn one(self) -> Option<&'a [u8]> {
        match self {
            Self::One(value) => Some(value),
            _ => None,
        }
    }
}

/// A request as its head says it.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// How to treat it.
    pub method: Method,
    /// The version of the answer.
    pub version: Version,
    /// The path, as sent; the whole target of CONNECT and of `OPTIONS *`.
    pub path: &'a str,
    /// What stands behind the target's first question mark.
    pub query: Option<&'a str>,
    /// Whether the caller wants the connection to stay open.
    pub keep_alive: bool,
    /// Whether the caller waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// Where the body ends.
    pub body: BodyLength,
    /// `X-API-Key`
    pub api_key: Field<'a>,
    /// `Idempotency-Key`
    pub idempotency_key: Field<'a>,
    /// `X-Request-Timeout-Ms`
    pub timeout_ms: Field<'a>,
    /// `X-Request-Id`
    pub request_id: Field<'a>,
    /// `traceparent`
    pub traceparent: Field<'a>,
    /// `Accept`, the first one.
    pub accept: Option<&'a [u8]>,
}

/// Reads `head`, which [`HeadScan`](super::HeadScan) found to be complete.
///
/// # Errors
/// What makes the framing of the request ambiguous, or its meaning unknown.
pub fn parse(head: &[u8]) -> Result<Request<'_>, Refusal> {
    let start = head
        .iter()
        .take_while(|b| matches!(b, b'\r' | b'\n'))
        .count();
    let head = head.get(start..).unwrap_or_default();
    let mut lines = head.split(|&b| b == b'\n');
    let line = lines
        .next()
        .and_then(|line| line.strip_suffix(b"\r"))
        .unwrap_or_default();
    let (token, target, version) = split_line(line)?;
    // httparse accepts only the versions that it knows itself. So the request line is checked
    // above, and httparse sees the header lines only.
    let block = head.get(line.len() + 2..).unwrap_or_default();
    let mut few = [httparse::EMPTY_HEADER; USUAL_HEADERS_COUNT];
    let mut many;
    let mut parsed = httparse::parse_headers(block, &mut few);
    if parsed == Err(httparse::Error::TooManyHeaders) {
        many = [httparse::EMPTY_HEADER; HEADERS_MAX_COUNT];
        parsed = httparse::parse_headers(block, &mut many);
    }
    let parsed = match parsed {
        Ok(httparse::Status::Complete((_, parsed))) => {
            debug_assert!(lines.all(|line| header_line_fault(line).is_none()));
            parsed
        }
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooManyHeaders),
        _ => {
            return Err(lines
                .find_map(header_line_fault)
                .unwrap_or(Refusal::HeaderLine));
        }
    };
    let (method, path, query) = read_method_and_target(token, target)?;
    let mut fields = Fields::default();
    for header in parsed {
        fields.add(header)?;
    }
    fields.into_request(method, version, path, query)
}

/// The three parts of a request line, checked except for the content of the target.
fn split_line(line: &[u8]) -> Result<(&[u8], &[u8], Version), Refusal> {
    let mut parts = line.split(|&b| b == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::RequestLine);
    };
    if method.is_empty() || !method.iter().all(|&b| is_token(b)) || target.is_empty() {
        return Err(Refusal::RequestLine);
    }
    if target.len() > TARGET_MAX_BYTES {
        return Err(Refusal::TargetTooLong);
    }
    let version = match version {
        b"HTTP/1.0" => Version::Http10,
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Version::Http11,
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            return Err(Refusal::VersionUnsupported);
        }
        _ => return Err(Refusal::RequestLine),
    };
    Ok((method, target, version))
}

/// Tells apart faults that httparse reports as one. Tests and fuzzing also ask it about what
/// httparse accepts.
fn header_line_fault(line: &[u8]) -> Option<Refusal> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Some(Refusal::ObsoleteFold);
    }
    let Some(colon) = line.iter().position(|&b| b == b':') else {
        return (!line.is_empty()).then_some(Refusal::HeaderLine);
    };
    let name = line.get(..colon).unwrap_or_default();
    match name.last() {
        None => Some(Refusal::HeaderLine),
        // RFC 9112 section 5.1: a server must refuse this.
        Some(b' ' | b'\t') => Some(Refusal::SpaceBeforeColon),
        _ if name.iter().all(|&b| is_token(b)) => None,
        _ => Some(Refusal::HeaderLine),
    }
}

fn read_method_and_target<'a>(
    token: &[u8],
    target: &'a [u8],
) -> Result<(Method, &'a str, Option<&'a str>), Refusal> {
    let target = std::str::from_utf8(target).map_err(|_| Refusal::Target)?;
    let method = match token {
        b"GET" => Method::Get,
        b"HEAD" => Method::Head,
        _ => Method::Other,
    };
    if !target.bytes().all(is_target) {
        return Err(Refusal::Target);
    }
    let (path, query) = read_target(token, target).ok_or(Refusal::Target)?;
    Ok((method, path, query))
}

/// Path and query of a target in one of the four forms of RFC 9112 section 3.2.
fn read_target<'a>(method: &[u8], target: &'a str) -> Option<(&'a str, Option<&'a str>)> {
    match method {
        b"OPTIONS" if target == "*" => Some((target, None)),
        b"CONNECT" => is_tunnel_end(target.as_bytes()).then_some((target, None)),
        _ if target.starts_with('/') => Some(split_query(target)),
        _ => absolute_form(target),
    }
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

/// An absolute-form target. Its authority stands in for Host (RFC 9112 section 3.2.2); the service
/// has one virtual host, so neither decides anything.
fn absolute_form(target: &str) -> Option<(&str, Option<&str>)> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let head = target.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme)
            .then(|| target.get(scheme.len()..))?
    })?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end)?;
    split_authority(authority.as_bytes())?;
    let (path, query) = split_query(rest);
    // RFC 9110 section 4.2.3: an empty path is "/".
    Some((if path.is_empty() { "/" } else { path }, query))
}

#[derive(Default)]
struct Fields<'a> {
    host: bool,
    has_length: bool,
    length: u64,
    /// What is wrong with the length, taken alone.
    length_fault: Option<Refusal>,
    has_coding: bool,
    /// The last transfer coding is chunked.
    chunked: bool,
    coding_is_faulty: bool,
    coding_is_unknown: bool,
    close: bool,
    keep_alive: bool,
    expect_continue: bool,
    expect_other: bool,
    api_key: Field<'a>,
    idempotency_key: Field<'a>,
    timeout_ms: Field<'a>,
    request_id: Field<'a>,
    traceparent: Field<'a>,
    accept: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn add(&mut self, header: &httparse::Header<'a>) -> Result<(), Refusal> {
        let name = header.name.as_bytes();
        let value = header.value.trim_ascii();
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        // The first byte and the length decide at once for most headers that callers send.
        match (name.first().map(u8::to_ascii_lowercase), name.len()) {
            (Some(b'h'), 4) if is(b"host") => return self.add_host(value),
            (Some(b'c'), 14) if is(b"content-length") => {
                // Kept until the whole head is read: a Transfer-Encoding beside it outweighs its
                // fault.
                let result = self.add_length(value);
                self.length_fault = self.length_fault.or(result.err());
            }
            (Some(b't'), 17) if is(b"transfer-encoding") => self.add_coding(value),
            (Some(b'c'), 10) if is(b"connection") => self.add_connection(value),
            (Some(b'e'), 6) if is(b"expect") => match value.eq_ignore_ascii_case(b"100-continue") {
                true => self.expect_continue = true,
                false => self.expect_other = true,
            },
            (Some(b'x'), 9) if is(b"x-api-key") => self.api_key.add(value),
            (Some(b'i'), 15) if is(b"idempotency-key") => self.idempotency_key.add(value),
            (Some(b'x'), 20) if is(b"x-request-timeout-ms") => self.timeout_ms.add(value),
            (Some(b'x'), 12) if is(b"x-request-id") => self.request_id.add(value),
            (Some(b't'), 11) if is(b"traceparent") => self.traceparent.add(value),
            (Some(b'a'), 6) if is(b"accept") => self.accept = self.accept.or(Some(value)),
            _ => {}
        }
        Ok(())
    }

    fn add_host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.host, true) {
            return Err(Refusal::HostRepeated);
        }
        // An empty Host is what a URI without an authority has (RFC 9110 section 7.2).
        match value.is_empty() || split_authority(value).is_some() {
            true => Ok(()),
            false => Err(Refusal::HostMalformed),
        }
    }

    /// One number and nothing else. A list of equal numbers may be taken (RFC 9110 section 8.6), but
    /// no honest sender makes one.
    fn add_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.has_length, true) {
            return Err(Refusal::LengthRepeated);
        }
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Refusal::LengthMalformed);
        }
        let number = value.iter().try_fold(0_u64, |number, digit| {
            number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        });
        self.length = number
            .filter(|&number| number <= BODY_MAX_BYTES)
            .ok_or(Refusal::BodyTooLarge)?;
        Ok(())
    }

    /// RFC 9112 section 6.1: chunked, once, and last. No other coding is implemented. Empty elements,
    /// which other lists may have, are faulty here: parties differ on them.
    fn add_coding(&mut self, value: &[u8]) {
        self.has_coding = true;
        for coding in value.split(|&b| b == b',') {
            let coding = coding.trim_ascii();
            self.coding_is_faulty |= self.chunked || coding.is_empty();
            self.chunked = coding.eq_ignore_ascii_case(b"chunked");
            self.coding_is_unknown |= !self.chunked;
        }
    }

    /// RFC 9112 section 6.3 before section 6.1: where the body ends is not sure unless chunked is
    /// last, whatever the others are.
    fn check_coding(&self) -> Result<BodyLength, Refusal> {
        match self.chunked && !self.coding_is_faulty {
            false => Err(Refusal::CodingRepeated),
            true if self.coding_is_unknown => Err(Refusal::CodingUnknown),
            true => Ok(BodyLength::Chunked),
        }
    }

    /// RFC 9112 sections 6.1 and 6.3: first what makes the framing ambiguous.
    fn body(&self, version: Version) -> Result<BodyLength, Refusal> {
        match (self.has_length, self.has_coding) {
            (true, true) => return Err(Refusal::LengthAndCoding),
            (_, true) if version == Version::Http10 => return Err(Refusal::CodingInOldVersion),
            (_, true) => return self.check_coding(),
            _ => {}
        }
        match (self.length_fault, self.length) {
            (Some(fault), _) => Err(fault),
            (None, 0) => Ok(BodyLength::None),
            (None, length) => Ok(BodyLength::Length(length)),
        }
    }

    fn add_connection(&mut self, value: &[u8]) {
        for option in value.split(|&b| b == b',') {
            let option = option.trim_ascii();
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn into_request(
        self,
        method: Method,
        version: Version,
        path: &'a str,
        query: Option<&'a str>,
    ) -> Result<Request<'a>, Refusal> {
        let old = version == Version::Http10;
        if !self.host && !old {
            return Err(Refusal::HostMissing);
        }
        let body = self.body(version)?;
        if self.expect_other && !old {
            return Err(Refusal::ExpectationUnknown);
        }
        Ok(Request {
            method,
            version,
            path,
            query,
            keep_alive: !self.close && (!old || self.keep_alive),
            // RFC 9110 section 10.1.1: ignored in HTTP/1.0, and pointless without a body.
            expect_continue: self.expect_continue && !old && body != BodyLength::None,
            body,
            api_key: self.api_key,
            idempotency_key: self.idempotency_key,
            timeout_ms: self.timeout_ms,
            request_id: self.request_id,
            traceparent: self.traceparent,
            accept: self.accept,
        })
    }
}

/// What RFC 3986 lets stand in a URI, percent-encoding included, but for the fragment's `#`.
fn is_target(byte: u8) -> bool {
    const TARGET: ByteSet = ByteSet::alphanumeric_and(b"-._~:/?[]@!$&'()*+,;=%");
    TARGET.contains(byte)
}

/// RFC 9110 section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    const TOKEN: ByteSet = ByteSet::alphanumeric_and(b"!#$%&'*+-.^_`|~");
    TOKEN.contains(byte)
}

/// Host and port of `host[:port]` (RFC 3986 section 3.2, without user information).
fn split_authority(value: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let (host, port) = match value.iter().rposition(|&b| b == b':') {
        Some(colon) if !value.ends_with(b"]") => {
            let (host, port) = value.split_at_checked(colon)?;
            (host, Some(port.get(1..)?))
        }
        _ => (value, None),
    };
    let port_is_sane = port.unwrap_or_default().iter().all(u8::is_ascii_digit)
        && port.unwrap_or_default().len() <= PORT_MAX_DIGITS;
    let host_is_sane = match host {
        [b'[', address @ .., b']'] => {
            std::str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
        }
        _ => is_registered_name(host),
    };
    (port_is_sane && host_is_sane).then_some((host, port))
}

/// RFC 3986 section 3.2.2, but not empty; IPv4 addresses are among these.
fn is_registered_name(host: &[u8]) -> bool {
    const NAME: ByteSet = ByteSet::alphanumeric_and(b"-._~!$&'()*+,;=");
    let mut rest = host;
    while let [byte, behind @ ..] = rest {
        rest = match (byte, behind) {
            (b'%', [high, low, behind @ ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                behind
            }
            (&byte, _) if NAME.contains(byte) => behind,
            _ => return false,
        };
    }
    !host.is_empty()
}

/// What CONNECT may name: a host and a port that exists (RFC 9110 section 9.3.6).
fn is_tunnel_end(target: &[u8]) -> bool {
    let port = split_authority(target)
        .and_then(|(_, port)| std::str::from_utf8(port?).ok()?.parse::<u16>().ok());
    port.is_some_and(|port| port > 0)
}
