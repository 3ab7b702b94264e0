//! Requests at the edge of what HTTP/1.1 allows, and the expected result of each. One table for both the
//! parser alone and the service on a socket, so it depends on neither.
#![allow(clippy::too_many_lines, reason = "tables")]

/// The expected result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It is handled, and the next request begins after it.
    Accept,
    /// It is answered with this status and problem code, and the connection is closed.
    Refuse(u16, &'static str),
}
use Expect::{Accept, Refuse};

/// One request, with its body.
pub struct Case {
    /// What is special about it.
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub expect: Expect,
}

const H: &str = "Host: a\r\n";

pub fn cases() -> Vec<Case> {
    let groups = [
        valid(),
        lines(),
        hosts(),
        lengths(),
        codings(),
        chunks(),
        targets(),
        sizes(),
        hidden_framing(),
        unread_bodies(),
        other_protocols(),
    ];
    groups.into_iter().flatten().collect()
}

fn case(name: &'static str, bytes: impl Into<Vec<u8>>, expect: Expect) -> Case {
    Case {
        name,
        bytes: bytes.into(),
        expect,
    }
}

/// A GET of `/livez` with `headers` after Host, and `rest` after the head.
fn get(name: &'static str, headers: &str, rest: &str, expect: Expect) -> Case {
    case(
        name,
        format!("GET /livez HTTP/1.1\r\n{H}{headers}\r\n{rest}"),
        expect,
    )
}

fn valid() -> Vec<Case> {
    vec![
        get("the least of a request", "", "", Accept),
        case(
            "HTTP/1.0 needs no Host",
            "GET /livez HTTP/1.0\r\n\r\n",
            Accept,
        ),
        // RFC 9110 section 2.5: a higher minor version is treated as the highest known one.
        case(
            "a later minor version",
            format!("GET /livez HTTP/1.2\r\n{H}\r\n"),
            Accept,
        ),
        case(
            "HTTP/1.9",
            format!("GET /livez HTTP/1.9\r\n{H}\r\n"),
            Accept,
        ),
        // RFC 9112 section 2.2: at least one empty line before the request line is ignored.
        case(
            "one empty line first",
            format!("\r\nGET /livez HTTP/1.1\r\n{H}\r\n"),
            Accept,
        ),
        case(
            "two empty lines first",
            format!("\r\n\r\nGET /livez HTTP/1.1\r\n{H}\r\n"),
            Accept,
        ),
        // RFC 9112 section 3.2.2.
        case(
            "absolute form",
            format!("GET http://b.example.com/livez HTTP/1.1\r\n{H}\r\n"),
            Accept,
        ),
        case(
            "absolute form with a port",
            format!("GET HTTP://b:80/livez HTTP/1.1\r\n{H}\r\n"),
            Accept,
        ),
        case(
            "absolute form, https",
            format!("GET https://b/livez HTTP/1.1\r\n{H}\r\n"),
            Accept,
        ),
        case(
            "absolute form without a path",
            format!("GET http://b HTTP/1.1\r\n{H}\r\n"),
            Accept,
        ),
        // RFC 9110 section 4.2.3: an empty path is "/", also in front of a query.
        case(
            "absolute form with a query and no path",
            format!("GET http://b?c=d HTTP/1.1\r\n{H}\r\n"),
            Accept,
        ),
        // RFC 9112 section 3.2.4.
        case(
            "asterisk form",
            format!("OPTIONS * HTTP/1.1\r\n{H}\r\n"),
            Accept,
        ),
        case(
            "an unknown method",
            format!("BREW /livez HTTP/1.1\r\n{H}\r\n"),
            Accept,
        ),
        case(
            "every token character",
            format!("a!#$%&'*+-.^_`|~9 / HTTP/1.1\r\n{H}\r\n"),
            Accept,
        ),
        case("HEAD", format!("HEAD /livez HTTP/1.1\r\n{H}\r\n"), Accept),
        get(
            "a body by its length",
            "Content-Length: 5\r\n",
            "hello",
            Accept,
        ),
        get("an empty body", "Content-Length: 0\r\n", "", Accept),
        get(
            "a length with zeros in front",
            "Content-Length: 0005\r\n",
            "hello",
            Accept,
        ),
        get("an empty value", "X-Empty:\r\n", "", Accept),
        get("white space around a value", "X-A: \t b \t\r\n", "", Accept),
        get("a tab inside a value", "X-A: a\tb\r\n", "", Accept),
        get(
            "bytes above ASCII in a value",
            "X-A: \u{e4}\r\n",
            "",
            Accept,
        ),
        get(
            "a name in odd letters",
            "cOnTeNt-LeNgTh: 2\r\n",
            "ok",
            Accept,
        ),
        get(
            "Expect with its body",
            "Expect: 100-Continue\r\nContent-Length: 2\r\n",
            "ok",
            Accept,
        ),
        get(
            "Expect without a body",
            "Expect: 100-continue\r\n",
            "",
            Accept,
        ),
        get(
            "Upgrade is ignored",
            "Connection: upgrade\r\nUpgrade: h2c\r\n",
            "",
            Accept,
        ),
    ]
}

/// RFC 9112 sections 2.2, 3 and 5: line ends, the request line, header lines.
fn lines() -> Vec<Case> {
    let bare_lf = Refuse(400, "bare_lf");
    let bare_cr = Refuse(400, "bare_cr");
    let line = Refuse(400, "request_line");
    let control = Refuse(400, "control_character");
    let version = Refuse(505, "version_unsupported");
    vec![
        case(
            "LF ends the request line",
            format!("GET / HTTP/1.1\n{H}\r\n"),
            bare_lf,
        ),
        case(
            "LF ends a header line",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            bare_lf,
        ),
        case(
            "LF ends the head",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            bare_lf,
        ),
        case(
            "LF before the request",
            format!("\nGET / HTTP/1.1\r\n{H}\r\n"),
            bare_lf,
        ),
        case(
            "CR in the request line",
            format!("GET /\rx HTTP/1.1\r\n{H}\r\n"),
            bare_cr,
        ),
        case(
            "CR in a value",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            bare_cr,
        ),
        case("CR CR LF", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", bare_cr),
        case(
            "NUL in the target",
            format!("GET /\0 HTTP/1.1\r\n{H}\r\n"),
            Refuse(400, "nul"),
        ),
        get("NUL in a value", "X: a\0b\r\n", "", Refuse(400, "nul")),
        get("an escape in a value", "X: a\x1bb\r\n", "", control),
        get("DEL in a value", "X: a\x7fb\r\n", "", control),
        case(
            "a tab in the request line",
            format!("GET\t/ HTTP/1.1\r\n{H}\r\n"),
            control,
        ),
        case(
            "three empty lines first",
            format!("\r\n\r\n\r\nGET / HTTP/1.1\r\n{H}\r\n"),
            line,
        ),
        case("no version", "GET /\r\nHost: a\r\n\r\n", line),
        case("one word", "GET\r\nHost: a\r\n\r\n", line),
        case("two spaces", format!("GET  / HTTP/1.1\r\n{H}\r\n"), line),
        case("a space first", format!(" GET / HTTP/1.1\r\n{H}\r\n"), line),
        case("a space last", format!("GET / HTTP/1.1 \r\n{H}\r\n"), line),
        case(
            "a space in the target",
            format!("GET /a b HTTP/1.1\r\n{H}\r\n"),
            line,
        ),
        case(
            "a method that is no token",
            format!("G@T / HTTP/1.1\r\n{H}\r\n"),
            line,
        ),
        case(
            "lower-case http",
            format!("GET / http/1.1\r\n{H}\r\n"),
            line,
        ),
        case(
            "another protocol",
            format!("GET / ICY/1.1\r\n{H}\r\n"),
            line,
        ),
        case("two digits", format!("GET / HTTP/1.10\r\n{H}\r\n"), line),
        case("no minor version", format!("GET / HTTP/1\r\n{H}\r\n"), line),
        case("a comma", format!("GET / HTTP/1,1\r\n{H}\r\n"), line),
        case(
            "HTTP/0.9 with a number",
            format!("GET / HTTP/0.9\r\n{H}\r\n"),
            version,
        ),
        case("HTTP/2.0", format!("GET / HTTP/2.0\r\n{H}\r\n"), version),
        case("HTTP/3.0", format!("GET / HTTP/3.0\r\n{H}\r\n"), version),
        case(
            "HTTP/2's preface",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            version,
        ),
        // RFC 9112 section 5.2.
        get(
            "a folded value",
            "X: a\r\n b\r\n",
            "",
            Refuse(400, "obsolete_fold"),
        ),
        get(
            "a value folded by a tab",
            "X: a\r\n\tb\r\n",
            "",
            Refuse(400, "obsolete_fold"),
        ),
        // RFC 9112 section 2.2: white space between the request line and the first header.
        case(
            "a space before Host",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            Refuse(400, "obsolete_fold"),
        ),
        // RFC 9112 section 5.1.
        get(
            "a space before the colon",
            "X : a\r\n",
            "",
            Refuse(400, "space_before_colon"),
        ),
        get(
            "a tab before the colon",
            "X\t: a\r\n",
            "",
            Refuse(400, "space_before_colon"),
        ),
        get("no colon", "X\r\n", "", Refuse(400, "header_line")),
        get("no name", ": a\r\n", "", Refuse(400, "header_line")),
        get(
            "a name with a space",
            "X Y: a\r\n",
            "",
            Refuse(400, "header_line"),
        ),
        get(
            "a name beyond ASCII",
            "X\u{e4}: a\r\n",
            "",
            Refuse(400, "header_line"),
        ),
        get(
            "a name in quotes",
            "\"X\": a\r\n",
            "",
            Refuse(400, "header_line"),
        ),
        // RFC 9110 section 10.1.1.
        get(
            "another expectation",
            "Expect: 200-ok\r\n",
            "",
            Refuse(417, "expectation_unknown"),
        ),
    ]
}

/// RFC 9112 section 3.2: exactly one valid Host in every HTTP/1.1 request.
fn hosts() -> Vec<Case> {
    let host = |name, value: &str, expect| {
        case(
            name,
            format!("GET /livez HTTP/1.1\r\nHost: {value}\r\n\r\n"),
            expect,
        )
    };
    let malformed = Refuse(400, "host_malformed");
    vec![
        case(
            "no Host",
            "GET / HTTP/1.1\r\n\r\n",
            Refuse(400, "host_missing"),
        ),
        case(
            "no Host in absolute form",
            "GET http://a/ HTTP/1.1\r\n\r\n",
            Refuse(400, "host_missing"),
        ),
        get(
            "Host twice",
            "Host: b\r\n",
            "",
            Refuse(400, "host_repeated"),
        ),
        get(
            "the same Host twice",
            "Host: a\r\n",
            "",
            Refuse(400, "host_repeated"),
        ),
        case(
            "Host twice in HTTP/1.0",
            "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
            Refuse(400, "host_repeated"),
        ),
        host("an empty Host", "", Accept),
        host("a port", "a.example.com:8080", Accept),
        host("an empty port", "a:", Accept),
        host("an IPv6 address", "[::1]", Accept),
        host("an IPv6 address and a port", "[::1]:80", Accept),
        host(
            "an IPv4 tail in an IPv6 address",
            "[::ffff:192.0.2.1]",
            Accept,
        ),
        host("a percent-encoded name", "a%2db", Accept),
        host("only a port", ":80", malformed),
        // RFC 3986 sections 2.1 and 3.2.2.
        host("a percent sign alone", "a%", malformed),
        host("a percent sign before no digits", "a%zz", malformed),
        host("brackets around colons", "[:::::]", malformed),
        host("brackets around a dot", "[.]", malformed),
        host("brackets around an IPv4 address", "[192.0.2.1]", malformed),
        host("empty brackets", "[]", malformed),
        host("something behind the brackets", "[::1]a", malformed),
        host("a port of many digits", "a:000080", malformed),
        host("a port of letters", "a:b", malformed),
        host("two ports", "a:1:2", malformed),
        host("an open bracket", "[::1", malformed),
        host("a space", "a b", malformed),
        host("a list", "a, b/", malformed),
        host("a path", "a/b", malformed),
        host("a user", "u@a", malformed),
    ]
}

/// RFC 9112 section 6.3: lengths that two parties could count differently.
fn lengths() -> Vec<Case> {
    let length = |name, value: &str, expect| {
        get(
            name,
            &format!("Content-Length: {value}\r\n"),
            "hello",
            expect,
        )
    };
    let malformed = Refuse(400, "length_malformed");
    let both = Refuse(400, "length_and_coding");
    let repeated = Refuse(400, "length_repeated");
    vec![
        length("a plus", "+5", malformed),
        length("a minus", "-5", malformed),
        length("hexadecimal", "0x5", malformed),
        length("a fraction", "5.0", malformed),
        length("a list of equals", "5, 5", malformed),
        length("a list of others", "5, 6", malformed),
        length("a space inside", "5 5", malformed),
        length("letters", "five", malformed),
        length("an empty length", "", malformed),
        length("digits beyond ASCII", "\u{665}", malformed),
        length("too large", "65537", Refuse(413, "body_too_large")),
        length(
            "2^64",
            "18446744073709551616",
            Refuse(413, "body_too_large"),
        ),
        length(
            "2^64 and 5",
            "18446744073709551621",
            Refuse(413, "body_too_large"),
        ),
        get(
            "two equal lengths",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "hello",
            repeated,
        ),
        get(
            "two lengths",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "hello",
            repeated,
        ),
        get(
            "length, then coding",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
            both,
        ),
        get(
            "coding, then length",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "0\r\n\r\n",
            both,
        ),
        // RFC 9112 section 6.1: both together are an attempt at smuggling, whatever else is wrong with either.
        get(
            "a length and an unknown coding",
            "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n",
            "hello",
            both,
        ),
        get(
            "an unknown coding and a length",
            "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
            "hello",
            both,
        ),
        get(
            "a length and an empty coding",
            "Content-Length: 5\r\nTransfer-Encoding:\r\n",
            "hello",
            both,
        ),
        get(
            "a length and chunked twice",
            "Content-Length: 5\r\nTransfer-Encoding: chunked, chunked\r\n",
            "0\r\n\r\n",
            both,
        ),
        get(
            "a malformed length and a coding",
            "Content-Length: +5\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
            both,
        ),
        get(
            "an endless length and a coding",
            "Content-Length: 99999999999999999999\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
            both,
        ),
        get(
            "a good length, then a malformed one",
            "Content-Length: 5\r\nContent-Length: x\r\n",
            "hello",
            repeated,
        ),
        get(
            "a malformed length, then a good one",
            "Content-Length: x\r\nContent-Length: 5\r\n",
            "hello",
            malformed,
        ),
        get(
            "no length and a coding",
            "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
            both,
        ),
    ]
}

/// RFC 9112 sections 6.1 and 7.
fn codings() -> Vec<Case> {
    let coding = |name, value: &str, expect| {
        get(
            name,
            &format!("Transfer-Encoding: {value}\r\n"),
            "0\r\n\r\n",
            expect,
        )
    };
    let unknown = Refuse(501, "coding_unknown");
    let repeated = Refuse(400, "coding_repeated");
    vec![
        coding("chunked", "chunked", Accept),
        coding("Chunked", "ChUnKeD", Accept),
        coding("a tab first", "\tchunked", Accept),
        // RFC 9112 section 6.1: 501 for an unknown coding if chunked gives the length.
        coding("gzip, then chunked", "gzip, chunked", unknown),
        coding("x-gzip, then chunked", "x-gzip ,\tchunked", unknown),
        // RFC 9112 section 6.3: 400 if it does not.
        coding("gzip", "gzip", repeated),
        coding("identity", "identity", repeated),
        coding("a letter before", "xchunked", repeated),
        coding("a letter behind", "chunkedx", repeated),
        coding("in quotes", "\"chunked\"", repeated),
        coding("a parameter", "chunked;q=1", repeated),
        coding("an empty coding", "", repeated),
        coding("a comma first", ", chunked", repeated),
        coding("a comma last", "chunked,", repeated),
        coding("chunked twice", "chunked, chunked", repeated),
        coding("chunked, then gzip", "chunked, gzip", repeated),
        coding(
            "gzip between two chunked",
            "chunked, gzip, chunked",
            repeated,
        ),
        coding("an underscore inside", "chun_ked", repeated),
        coding("a line end in hexadecimal", "chunked%0d%0a", repeated),
        coding(
            "a vertical tab",
            "\x0bchunked",
            Refuse(400, "control_character"),
        ),
        get(
            "two lines",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
            repeated,
        ),
        get(
            "another line first",
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
            unknown,
        ),
        get(
            "another line last",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "0\r\n\r\n",
            repeated,
        ),
        get(
            "a space before its colon",
            "Transfer-Encoding : chunked\r\n",
            "0\r\n\r\n",
            Refuse(400, "space_before_colon"),
        ),
        // RFC 9112 section 6.1: whatever the coding, the framing of such a message is faulty.
        case(
            "an unknown one in HTTP/1.0",
            "GET /livez HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n",
            Refuse(400, "coding_in_old_version"),
        ),
        case(
            "an empty one in HTTP/1.0",
            "GET /livez HTTP/1.0\r\nTransfer-Encoding:\r\n\r\n",
            Refuse(400, "coding_in_old_version"),
        ),
        case(
            "with a length in HTTP/1.0",
            "GET /livez HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
            Refuse(400, "length_and_coding"),
        ),
        case(
            "in HTTP/1.0",
            "GET /livez HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refuse(400, "coding_in_old_version"),
        ),
    ]
}

/// RFC 9112 section 7.1.
fn chunks() -> Vec<Case> {
    let chunked =
        |name, body: &str, expect| get(name, "Transfer-Encoding: chunked\r\n", body, expect);
    let size = Refuse(400, "chunk_size");
    let end = Refuse(400, "chunk_end");
    let trailer = Refuse(400, "trailer");
    let large = Refuse(413, "body_too_large");
    let extension = format!("0;{}\r\n\r\n", "x".repeat(300));
    let zeros = format!("{}\r\n\r\n", "0".repeat(300));
    let trailers = format!("0\r\nX: {}\r\n\r\n", "x".repeat(5_000));
    let one = format!("1;{}\r\nx\r\n", "e".repeat(200));
    let mostly_extensions = one.repeat(2_000) + "0\r\n\r\n";
    let sum = format!(
        "8000\r\n{0}\r\n8000\r\n{0}\r\n1\r\nx\r\n0\r\n\r\n",
        "x".repeat(0x8000)
    );
    vec![
        chunked("one chunk", "5\r\nhello\r\n0\r\n\r\n", Accept),
        chunked(
            "three chunks",
            "1\r\nh\r\n003\r\nell\r\n1\r\no\r\n0\r\n\r\n",
            Accept,
        ),
        chunked(
            "letters in a size",
            "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n",
            Accept,
        ),
        chunked(
            "extensions",
            "1;a\r\nx\r\n1 ;b=c\r\nx\r\n0;d=\"e f\"\r\n\r\n",
            Accept,
        ),
        chunked("trailers", "0\r\nX: y\r\nZ:\r\n\r\n", Accept),
        chunked("a line end inside", "4\r\n\r\n\r\n\r\n0\r\n\r\n", Accept),
        chunked("no size", "\r\n\r\n", size),
        chunked("a prefix", "0x5\r\nhello\r\n0\r\n\r\n", size),
        chunked("a minus before the size", "-5\r\nhello\r\n0\r\n\r\n", size),
        chunked("a plus before the size", "+5\r\nhello\r\n0\r\n\r\n", size),
        chunked("a letter too far", "g\r\n", size),
        chunked("a space before the size", " 5\r\nhello\r\n0\r\n\r\n", size),
        chunked("a space behind the size", "5 \r\nhello\r\n0\r\n\r\n", size),
        chunked("only an extension", ";a\r\n", size),
        chunked(
            "a space before an extension",
            "5 ;ext\r\nhello\r\n0\r\n\r\n",
            Accept,
        ),
        chunked(
            "a line end in a quoted extension",
            "5;a=\"\r\nhello\r\n0\r\n\r\n",
            Accept,
        ),
        chunked("two sizes", "5 5\r\nhello\r\n0\r\n\r\n", size),
        chunked("a vertical tab first", "\x0b5\r\nhello\r\n0\r\n\r\n", size),
        chunked("an underscore", "1_0\r\nhello\r\n0\r\n\r\n", size),
        chunked("a trailer of only a colon", "0\r\n: y\r\n\r\n", trailer),
        chunked("NUL in a trailer", "0\r\nX: a\0b\r\n\r\n", trailer),
        chunked(
            "CR in a trailer",
            "0\r\nX: a\rb\r\n\r\n",
            Refuse(400, "bare_cr"),
        ),
        chunked(
            "CR and something at the end",
            "0\r\n\rx",
            Refuse(400, "bare_cr"),
        ),
        chunked("LF behind the size", "5\nhello\r\n0\r\n\r\n", size),
        chunked(
            "CR behind the size",
            "5\rhello\r\n0\r\n\r\n",
            Refuse(400, "bare_cr"),
        ),
        chunked(
            "LF in an extension",
            "5;a\nhello\r\n0\r\n\r\n",
            Refuse(400, "chunk_extension"),
        ),
        chunked(
            "NUL in an extension",
            "5;a\0\r\nhello\r\n0\r\n\r\n",
            Refuse(400, "chunk_extension"),
        ),
        chunked("content too long", "4\r\nhello\r\n0\r\n\r\n", end),
        chunked("no line end behind content", "5\r\nhello0\r\n\r\n", end),
        chunked("LF behind content", "5\r\nhello\n0\r\n\r\n", end),
        chunked(
            "CR and something behind content",
            "5\r\nhello\rx0\r\n\r\n",
            end,
        ),
        chunked("a trailer without a colon", "0\r\nX\r\n\r\n", trailer),
        chunked("a trailer with a space", "0\r\nX : y\r\n\r\n", trailer),
        chunked("a folded trailer", "0\r\nX: y\r\n z\r\n\r\n", trailer),
        chunked("LF behind a trailer", "0\r\nX: y\n\r\n", trailer),
        chunked("LF ends the body", "0\r\n\n", trailer),
        chunked("too large a chunk", "10001\r\n", large),
        chunked(
            "a size of 2^64 and 5",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
            large,
        ),
        chunked("more extensions than content", &mostly_extensions, large),
        chunked("too large together", &sum, large),
        chunked(
            "too long an extension",
            &extension,
            Refuse(400, "chunk_extension"),
        ),
        chunked("too many zeros", &zeros, Refuse(400, "chunk_extension")),
        chunked(
            "too long a trailer",
            &trailers,
            Refuse(431, "trailers_too_large"),
        ),
    ]
}

/// RFC 9112 section 3.2: the four forms of a target.
fn targets() -> Vec<Case> {
    let target = |name, target: &str| {
        case(
            name,
            format!("GET {target} HTTP/1.1\r\n{H}\r\n"),
            Refuse(400, "target"),
        )
    };
    let refused = Refuse(400, "target");
    let connect = |name, target: &str| {
        case(
            name,
            format!("CONNECT {target} HTTP/1.1\r\n{H}\r\n"),
            refused,
        )
    };
    vec![
        target("a fragment", "/a#b"),
        target("no slash", "a"),
        target("an asterisk in GET", "*"),
        target("an authority in GET", "a:80"),
        target("another scheme", "ftp://a/"),
        target("no authority", "http:///a"),
        target("a user in absolute form", "http://u@a/"),
        target("a fragment in absolute form", "http://a/b#c"),
        target("an open bracket in absolute form", "http://[::1/"),
        target("a port of letters in absolute form", "http://a:b/"),
        target("a quotation mark", "/\""),
        target("a backslash", "/\\"),
        target("beyond ASCII", "/\u{e4}"),
        case(
            "CONNECT without a port's host",
            format!("CONNECT /a HTTP/1.1\r\n{H}\r\n"),
            refused,
        ),
        case(
            "CONNECT",
            format!("CONNECT a:80 HTTP/1.1\r\n{H}\r\n"),
            Accept,
        ),
        case(
            "CONNECT to an IPv6 address",
            format!("CONNECT [::1]:443 HTTP/1.1\r\n{H}\r\n"),
            Accept,
        ),
        // RFC 9110 section 9.3.6: an empty or invalid port must be refused.
        connect("CONNECT without a port", "a"),
        connect("CONNECT with an empty port", "a:"),
        connect("CONNECT to port 0", "a:0"),
        connect("CONNECT to a port past the last", "a:65536"),
        connect("CONNECT to an address without a port", "[::1]"),
        connect("CONNECT in absolute form", "http://a:80/"),
        // RFC 9112 section 3.2.4: the asterisk is the whole target.
        case(
            "an asterisk with a query",
            format!("OPTIONS *?a HTTP/1.1\r\n{H}\r\n"),
            refused,
        ),
    ]
}

/// A Content-Length or Transfer-Encoding that one party sees and another does not.
fn hidden_framing() -> Vec<Case> {
    let line = Refuse(400, "header_line");
    let fold = Refuse(400, "obsolete_fold");
    let space = Refuse(400, "space_before_colon");
    let control = Refuse(400, "control_character");
    let malformed = Refuse(400, "length_malformed");
    let chunked = "0\r\n\r\n";
    vec![
        // Names that some gateways turn into the real one. Here they mean nothing: no body follows.
        get(
            "an underscore for a hyphen in a length's name",
            "Content_Length: 5\r\n",
            "",
            Accept,
        ),
        get(
            "an underscore for a hyphen in a coding's name",
            "Transfer_Encoding: chunked\r\n",
            "",
            Accept,
        ),
        get(
            "a letter before the name",
            "XTransfer-Encoding: chunked\r\n",
            "",
            Accept,
        ),
        get(
            "a letter behind the name",
            "Content-Lengthx: 5\r\n",
            "",
            Accept,
        ),
        get(
            "the name in a value",
            "X: Transfer-Encoding: chunked\r\n",
            "",
            Accept,
        ),
        get(
            "an escaped line end in a value",
            "X: a\\r\\nContent-Length: 5\r\n",
            "",
            Accept,
        ),
        get(
            "another override of the method",
            "X-HTTP-Method-Override: POST\r\n",
            "",
            Accept,
        ),
        // Octets around the name or the value that some parties trim.
        get(
            "a no-break space before the colon",
            "Transfer-Encoding\u{a0}: chunked\r\n",
            chunked,
            line,
        ),
        get(
            "a byte order mark before the name",
            "\u{feff}Content-Length: 5\r\n",
            "hello",
            line,
        ),
        get(
            "a no-break space before a length",
            "Content-Length: \u{a0}5\r\n",
            "hello",
            malformed,
        ),
        get(
            "a no-break space behind a length",
            "Content-Length: 5\u{a0}\r\n",
            "hello",
            malformed,
        ),
        get(
            "a form feed before a length",
            "Content-Length: \x0c5\r\n",
            "hello",
            control,
        ),
        get(
            "a NUL behind a length",
            "Content-Length: 5\0\r\n",
            "hello",
            Refuse(400, "nul"),
        ),
        get(
            "a space before a length's colon",
            "Content-Length : 5\r\n",
            "hello",
            space,
        ),
        get(
            "a tab before a coding's colon",
            "Transfer-Encoding\t: chunked\r\n",
            chunked,
            space,
        ),
        get("two colons", "Content-Length:: 5\r\n", "hello", malformed),
        get(
            "an equals sign for the colon",
            "Content-Length= 5\r\n",
            "hello",
            line,
        ),
        get(
            "a space before a length's name",
            "X: a\r\n Content-Length: 5\r\n",
            "hello",
            fold,
        ),
        get(
            "a tab before a coding's name",
            "X: a\r\n\tTransfer-Encoding: chunked\r\n",
            chunked,
            fold,
        ),
        get(
            "a folded coding",
            "Transfer-Encoding:\r\n chunked\r\n",
            chunked,
            fold,
        ),
        get(
            "a folded length",
            "Content-Length: 1\r\n 2\r\n",
            "hello world!",
            fold,
        ),
        get(
            "a line end inside a name",
            "Transfer-Enco\r\nding: chunked\r\n",
            chunked,
            line,
        ),
        get(
            "a coding behind a bare LF",
            "X: a\nTransfer-Encoding: chunked\r\n",
            chunked,
            Refuse(400, "bare_lf"),
        ),
        get(
            "a coding behind a bare CR",
            "X: a\rTransfer-Encoding: chunked\r\n",
            chunked,
            Refuse(400, "bare_cr"),
        ),
        get(
            "a length behind LF CR",
            "X: a\n\rContent-Length: 5\r\n",
            "hello",
            Refuse(400, "bare_lf"),
        ),
        get(
            "a name of UTF-8 letters that fold to ASCII",
            "Content-\u{130}ength: 5\r\n",
            "hello",
            line,
        ),
        // RFC 9112 section 9.6, RFC 9110 section 7.6.1: a field that a connection option names stays in force.
        get(
            "a connection option that names the length",
            "Connection: Content-Length\r\nContent-Length: 5\r\n",
            "hello",
            Accept,
        ),
        get(
            "a connection option that names the coding",
            "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
            chunked,
            Accept,
        ),
        // Numbers that libraries parse in different ways.
        get(
            "a length with an underscore",
            "Content-Length: 1_0\r\n",
            "0123456789",
            malformed,
        ),
        get(
            "a length with an exponent",
            "Content-Length: 1e1\r\n",
            "0123456789",
            malformed,
        ),
        get(
            "a length with a semicolon",
            "Content-Length: 5;a\r\n",
            "hello",
            malformed,
        ),
        get(
            "a length with a comma behind",
            "Content-Length: 5,\r\n",
            "hello",
            malformed,
        ),
        get(
            "a length in quotes",
            "Content-Length: \"5\"\r\n",
            "hello",
            malformed,
        ),
        get(
            "a length in octal",
            "Content-Length: 010\r\n",
            "0123456789",
            Accept,
        ),
    ]
}

/// Bodies that a server may forget to read (CL.0, 0.CL), and trailers that it may take for headers.
fn unread_bodies() -> Vec<Case> {
    let inner = "GET /x HTTP/1.1\r\nHost: b\r\n\r\n";
    let length = format!("Content-Length: {}\r\n", inner.len());
    let with_body = |name, line: &str| {
        case(
            name,
            format!("{line} HTTP/1.1\r\n{H}{length}\r\n{inner}"),
            Accept,
        )
    };
    let trailer = |name, field: &str| {
        get(
            name,
            "Transfer-Encoding: chunked\r\n",
            &format!("0\r\n{field}\r\n\r\n"),
            Accept,
        )
    };
    let chunked =
        |name, body: &str, expect| get(name, "Transfer-Encoding: chunked\r\n", body, expect);
    vec![
        with_body("a request as the body of GET", "GET /livez"),
        with_body(
            "a request as the body of a path that is not there",
            "GET /nothing",
        ),
        with_body(
            "a request as the body of a method that is not allowed",
            "POST /livez",
        ),
        with_body("a request as the body of HEAD", "HEAD /livez"),
        with_body("a request as the body of OPTIONS", "OPTIONS *"),
        with_body("a request as the body of CONNECT", "CONNECT a:80"),
        with_body(
            "a request as the body of a payment without a key",
            "GET /api/payment/simulate",
        ),
        get(
            "a request in a chunk",
            "Transfer-Encoding: chunked\r\n",
            &format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()),
            Accept,
        ),
        get(
            "Upgrade with a body",
            &format!("Connection: upgrade\r\nUpgrade: websocket\r\n{length}"),
            inner,
            Accept,
        ),
        get(
            "a request as the body behind 100-continue",
            &format!("Expect: 100-continue\r\n{length}"),
            inner,
            Accept,
        ),
        // RFC 9110 section 10.1.1: another list member is another expectation.
        get(
            "an expectation beside 100-continue",
            &format!("Expect: x, 100-continue\r\n{length}"),
            inner,
            Refuse(417, "expectation_unknown"),
        ),
        get(
            "an expectation with a space inside",
            &format!("Expect: y 100-continue\r\n{length}"),
            inner,
            Refuse(417, "expectation_unknown"),
        ),
        // RFC 9110 section 6.5.1: trailers are never merged into the header section.
        trailer("a length in a trailer", "Content-Length: 500"),
        trailer("a coding in a trailer", "Transfer-Encoding: chunked"),
        trailer("Host in a trailer", "Host: b"),
        trailer("close in a trailer", "Connection: close"),
        chunked(
            "a request behind the last chunk's line",
            &format!("0\r\n{inner}"),
            Refuse(400, "trailer"),
        ),
        chunked(
            "CR in an extension",
            "5;a\rb\r\nhello\r\n0\r\n\r\n",
            Refuse(400, "bare_cr"),
        ),
        chunked(
            "CR CR LF behind a size",
            "5\r\r\nhello\r\n0\r\n\r\n",
            Refuse(400, "bare_cr"),
        ),
        chunked(
            "LF in the last chunk's extension",
            "0;a\n\r\n\r\n",
            Refuse(400, "chunk_extension"),
        ),
        chunked(
            "an extension without a name",
            "5;\r\nhello\r\n0\r\n\r\n",
            Accept,
        ),
        chunked("two semicolons", "5;;a\r\nhello\r\n0\r\n\r\n", Accept),
        chunked("a last chunk of many zeros", "000\r\n\r\n", Accept),
        chunked(
            "a size of many zeros",
            "0000000000000005\r\nhello\r\n0\r\n\r\n",
            Accept,
        ),
        chunked(
            "a size of 2^32 and 5",
            "100000005\r\nhello\r\n0\r\n\r\n",
            Refuse(413, "body_too_large"),
        ),
        chunked(
            "a no-break space behind the size",
            "5\u{a0}\r\nhello\r\n0\r\n\r\n",
            Refuse(400, "chunk_size"),
        ),
    ]
}

/// Other protocols on the HTTP/1.1 port.
fn other_protocols() -> Vec<Case> {
    let line = Refuse(400, "request_line");
    let control = Refuse(400, "control_character");
    let version = Refuse(505, "version_unsupported");
    vec![
        case("HTTP/0.9", "GET /livez\r\n\r\n", line),
        case("HTTP/0.9 without a path", "GET\r\n\r\n", line),
        case(
            "HTTP/0.9 with a header",
            "GET /livez\r\nHost: a\r\nConnection: close\r\n\r\n",
            line,
        ),
        // RFC 9113 section 3.4, with an empty SETTINGS frame.
        case(
            "HTTP/2's preface and first frame",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
            version,
        ),
        case(
            "an HTTP/2 frame alone",
            "\0\0\0\x04\0\0\0\0\0",
            Refuse(400, "nul"),
        ),
        // RFC 9113 section 3.1 removed h2c; RFC 9110 section 7.8: a server may ignore it.
        get(
            "an upgrade to HTTP/2",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
            "",
            Accept,
        ),
        get(
            "an upgrade to WebSocket",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            "",
            Accept,
        ),
        case(
            "an upgrade in HTTP/1.0",
            "GET /livez HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            Accept,
        ),
        case(
            "TLS on the plain port",
            b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03".to_vec(),
            control,
        ),
        case(
            "the PROXY protocol",
            format!("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /livez HTTP/1.1\r\n{H}\r\n"),
            line,
        ),
        case("SSH", "SSH-2.0-OpenSSH_9.2\r\n\r\n", line),
        case(
            "an answer",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            line,
        ),
        case(
            "two versions",
            format!("GET /livez HTTP/1.1 HTTP/1.1\r\n{H}\r\n"),
            line,
        ),
        case(
            "a version with a zero in front",
            format!("GET /livez HTTP/01.1\r\n{H}\r\n"),
            line,
        ),
        case(
            "a version with three numbers",
            format!("GET /livez HTTP/1.1.1\r\n{H}\r\n"),
            line,
        ),
        case(
            "a version without a slash",
            format!("GET /livez HTTP 1.1\r\n{H}\r\n"),
            line,
        ),
        case(
            "a vertical tab in the request line",
            format!("GET\x0b/livez HTTP/1.1\r\n{H}\r\n"),
            control,
        ),
        case(
            "a no-break space in the request line",
            format!("GET\u{a0}/livez HTTP/1.1\r\n{H}\r\n"),
            line,
        ),
        case(
            "an encoded line end in the target",
            format!("GET /%0d%0aX:%20y HTTP/1.1\r\n{H}\r\n"),
            Accept,
        ),
        case(
            "two slashes first",
            format!("GET //b/livez HTTP/1.1\r\n{H}\r\n"),
            Accept,
        ),
        case(
            "dots in the path",
            format!("GET /x/../livez HTTP/1.1\r\n{H}\r\n"),
            Accept,
        ),
    ]
}

fn sizes() -> Vec<Case> {
    let target = |length: usize| format!("GET /{} HTTP/1.1\r\n{H}\r\n", "x".repeat(length - 1));
    let headers = |count: usize| {
        format!(
            "GET /livez HTTP/1.1\r\n{H}{}\r\n",
            "X: y\r\n".repeat(count - 1)
        )
    };
    // The Host line counts, and so do the long line's name and line ends.
    let bytes = |length: usize| {
        let rest = length - H.len() - "X: \r\n".len();
        format!("GET /livez HTTP/1.1\r\n{H}X: {}\r\n\r\n", "y".repeat(rest))
    };
    vec![
        case("the longest target", target(8_192), Accept),
        case(
            "too long a target",
            target(8_193),
            Refuse(414, "target_too_long"),
        ),
        case(
            "far too long a target",
            target(60_000),
            Refuse(414, "target_too_long"),
        ),
        case("the most headers", headers(64), Accept),
        case(
            "too many headers",
            headers(65),
            Refuse(431, "too_many_headers"),
        ),
        case("the largest headers", bytes(16_384), Accept),
        case(
            "too large headers",
            bytes(16_390),
            Refuse(431, "headers_too_large"),
        ),
        case(
            "headers one byte too large",
            bytes(16_385),
            Refuse(431, "headers_too_large"),
        ),
        case(
            "far too large headers",
            bytes(60_000),
            Refuse(431, "headers_too_large"),
        ),
        case(
            "a value of tabs without an end",
            format!("GET /livez HTTP/1.1\r\n{H}X: {}", "\t".repeat(20_000)),
            Refuse(431, "headers_too_large"),
        ),
        case(
            "a value of spaces without an end",
            format!("GET /livez HTTP/1.1\r\n{H}X: {}", " ".repeat(20_000)),
            Refuse(431, "headers_too_large"),
        ),
        case(
            "the longest method",
            format!("{} / HTTP/1.1\r\n{H}\r\n", "M".repeat(32)),
            Accept,
        ),
        case(
            "too long a method",
            format!("{} / HTTP/1.1\r\n{H}\r\n", "M".repeat(33)),
            Refuse(501, "method_too_long"),
        ),
        // RFC 9110 section 15.6.2: 501 is for a method, and this is not one.
        case(
            "too long for a method, and no token",
            format!("GET/{} / HTTP/1.1\r\n{H}\r\n", "x".repeat(40)),
            Refuse(400, "request_line"),
        ),
        case(
            "a method without an end",
            "M".repeat(60_000),
            Refuse(501, "method_too_long"),
        ),
    ]
}
