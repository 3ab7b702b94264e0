//! Writes answers.

use super::date::HttpDate;
use super::request::{Method, Version};

macro_rules! statuses {
    ($($name:ident $code:literal $reason:literal,)+) => {
        /// The statuses that the service sends (RFC 9110 section 15).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // named by their reason phrases
        pub enum Status { $($name,)+ }

        impl Status {
            /// All of them, in ascending order.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The three digits.
            pub fn code(self) -> u16 {
                match self { $(Self::$name => $code,)+ }
            }

            /// The reason phrase.
            pub fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)+ }
            }

            /// The status line, in the server's own version whatever the request's is (RFC 9110 section 2.5), up to
            /// the date.
            fn line(self) -> &'static str {
                match self { $(Self::$name => concat!("HTTP/1.1 ", $code, " ", $reason, "\r\nDate: "),)+ }
            }
        }
    };
}

statuses! {
    Ok 200 "OK",
    BadRequest 400 "Bad Request",
    Unauthorized 401 "Unauthorized",
    Forbidden 403 "Forbidden",
    NotFound 404 "Not Found",
    MethodNotAllowed 405 "Method Not Allowed",
    RequestTimeout 408 "Request Timeout",
    ContentTooLarge 413 "Content Too Large",
    UriTooLong 414 "URI Too Long",
    ExpectationFailed 417 "Expectation Failed",
    UnprocessableContent 422 "Unprocessable Content",
    HeadersTooLarge 431 "Request Header Fields Too Large",
    InternalServerError 500 "Internal Server Error",
    NotImplemented 501 "Not Implemented",
    ServiceUnavailable 503 "Service Unavailable",
    GatewayTimeout 504 "Gateway Timeout",
    VersionNotSupported 505 "HTTP Version Not Supported",
}

macro_rules! names {
    ($($name:ident $text:literal,)+) => {
        /// The header fields that the service sends, but for those that `begin`, `no_store` and `body` write.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // named as the fields are
        pub enum Name { $($name,)+ }

        impl Name {
            /// What stands before the value, from the end of the line before.
            fn text(self) -> &'static str {
                match self { $(Self::$name => concat!("\r\n", $text, ": "),)+ }
            }
        }
    };
}

names! {
    Allow "Allow",
    IdempotencyReplayed "Idempotency-Replayed",
    RequestId "X-Request-Id",
    RetryAfter "Retry-After",
    ServerTiming "Server-Timing",
    TraceParent "traceparent",
    Vary "Vary",
    WwwAuthenticate "WWW-Authenticate",
}

macro_rules! contents {
    ($($name:ident $media_type:literal,)+) => {
        /// The media types of what the service sends.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // named as the types are
        pub enum Content { $($name,)+ }

        impl Content {
            /// The end of the head, with [`LENGTH_DIGITS`] zeros in the place of the length.
            fn end_of_head(self) -> &'static str {
                match self { $(Self::$name => concat!(
                    "\r\nContent-Type: ", $media_type,
                    "\r\nContent-Length: 00000000000000000000\r\n\r\n",
                ),)+ }
            }
        }
    };
}

contents! {
    Json "application/json",
    Problem "application/problem+json",
    OpenMetrics "application/openmetrics-text; version=1.0.0; charset=utf-8",
    PrometheusText "text/plain; version=0.0.4; charset=utf-8",
}

/// The interim answer to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Digits reserved for Content-Length before it is known: every length fits.
const LENGTH_DIGITS: usize = 20;

const _: () = assert!((usize::MAX.ilog10() as usize) < LENGTH_DIGITS);

/// What an answer needs to know of its request.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The request's version: it decides how to say that the connection stays open.
    pub version: Version,
    /// Whether the connection is used again.
    pub keep_alive: bool,
    /// HEAD gets the header fields of GET, without the content (RFC 9110 section 9.3.2).
    pub method: Method,
    /// When the answer is made.
    pub date: HttpDate,
}

/// An answer that is being written: status line, header fields, then [`body`](Self::body).
///
/// Appends to a buffer and allocates nothing beyond it.
#[must_use]
pub struct Response<'a> {
    out: &'a mut Vec<u8>,
    head_only: bool,
}

impl<'a> Response<'a> {
    /// Writes the status line, `Date` and, where it is needed, `Connection`.
    pub fn begin(out: &'a mut Vec<u8>, context: &Context, status: Status) -> Self {
        out.extend_from_slice(status.line().as_bytes());
        out.extend_from_slice(&context.date);
        match (context.keep_alive, context.version) {
            (false, _) => out.extend_from_slice(b"\r\nConnection: close"),
            (true, Version::Http10) => out.extend_from_slice(b"\r\nConnection: keep-alive"),
            (true, Version::Http11) => {}
        }
        Self {
            out,
            head_only: context.method == Method::Head,
        }
    }

    /// Adds a header field. Its value must not hold a line end: values that callers sent are checked
    /// by `trace` before they come here.
    pub fn header(self, name: Name, value: &[u8]) -> Self {
        self.header_of(name, &[value])
    }

    /// Adds a header field whose value is in pieces.
    pub fn header_of(self, name: Name, pieces: &[&[u8]]) -> Self {
        self.out.extend_from_slice(name.text().as_bytes());
        for piece in pieces {
            debug_assert!(!piece.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
            self.out.extend_from_slice(piece);
        }
        self
    }

    /// Adds `Cache-Control: no-store`.
    pub fn no_store(self) -> Self {
        self.out.extend_from_slice(b"\r\nCache-Control: no-store");
        self
    }

    /// Ends the answer with the content that `write` appends.
    pub fn body(self, content: Content, write: impl FnOnce(&mut Vec<u8>)) {
        let Self { out, head_only } = self;
        out.extend_from_slice(content.end_of_head().as_bytes());
        let body = out.len();
        let number = body.saturating_sub(LENGTH_DIGITS + "\r\n\r\n".len());
        write(out);
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(out.len() - body).as_bytes();
        if head_only {
            out.truncate(body);
        }
        // The number is written once it is known, and what follows moves up behind it.
        let surplus = LENGTH_DIGITS.saturating_sub(digits.len());
        if let Some(place) = out.get_mut(number..number + digits.len()) {
            place.copy_from_slice(digits);
        }
        out.copy_within(number + LENGTH_DIGITS.., number + LENGTH_DIGITS - surplus);
        out.truncate(out.len() - surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(context: &Context, body: &str) -> String {
        let mut out = b"before".to_vec();
        Response::begin(&mut out, context, Status::NotFound)
            .header(Name::Allow, b"GET")
            .body(Content::Json, |out| out.extend_from_slice(body.as_bytes()));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_answer_has_the_length_of_its_body_and_says_what_becomes_of_the_connection() {
        let date = super::super::date::format(0);
        for (version, keep_alive, method, connection) in [
            (Version::Http11, true, Method::Get, ""),
            (Version::Http11, false, Method::Get, "Connection: close\r\n"),
            (
                Version::Http10,
                true,
                Method::Get,
                "Connection: keep-alive\r\n",
            ),
            (
                Version::Http10,
                false,
                Method::Head,
                "Connection: close\r\n",
            ),
        ] {
            let context = Context {
                version,
                keep_alive,
                method,
                date,
            };
            for body in ["", "x", "123456789", &"y".repeat(123_456)] {
                let content = if method == Method::Head { "" } else { body };
                let expected = format!(
                    "beforeHTTP/1.1 404 Not Found\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n{connection}\
                     Allow: GET\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{content}",
                    body.len(),
                );
                assert_eq!(written(&context, body), expected);
            }
        }
    }

    #[test]
    fn lengths_of_every_number_of_digits_are_written_without_zeros_in_front() {
        let context = Context {
            version: Version::Http11,
            keep_alive: true,
            method: Method::Get,
            date: super::super::date::format(0),
        };
        for digits in 0..8 {
            let length = 10_usize.pow(digits);
            let mut out = Vec::new();
            Response::begin(&mut out, &context, Status::Ok)
                .body(Content::Json, |out| out.resize(out.len() + length, b'z'));
            let head = out.len() - length;
            let end = format!("Content-Length: {length}\r\n\r\n");
            assert!(out[..head].ends_with(end.as_bytes()), "{length}");
            assert!(out[head..].iter().all(|&byte| byte == b'z'), "{length}");
        }
    }

    #[test]
    fn every_status_line_has_its_code_and_reason() {
        for status in Status::ALL {
            assert_eq!(
                status.line(),
                format!("HTTP/1.1 {} {}\r\nDate: ", status.code(), status.reason())
            );
        }
    }
}
