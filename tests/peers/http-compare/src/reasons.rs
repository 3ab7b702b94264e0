//! Why the servers differ: a sentence, and the requests that it is about.

/// In the order in which they are printed.
pub const REASONS: [(&str, &[&str]); 23] = [
    (
        "A line that ends in LF alone may be accepted as a line (RFC 9112 section 2.2). nginx and hyper do \
         so in heads, nginx also in chunked bodies, hyper only after their trailers. Parties that differ \
         here see different requests, so this service refuses it everywhere.",
        &[
            "LF ends the request line",
            "LF ends a header line",
            "LF ends the head",
            "LF before the request",
            "a coding behind a bare LF",
            "LF behind the size",
            "LF in an extension",
            "LF behind content",
            "LF in the last chunk's extension",
            "LF behind a trailer",
            "LF ends the body",
        ],
    ),
    (
        "More than two empty lines before a request are no longer a slip; this service refuses them.",
        &["three empty lines first"],
    ),
    (
        "nginx accepts lines that are not header lines: it drops a line without a colon or with a name \
         that is not a token, and it accepts control characters in values and more than one space in a \
         request line. This service and hyper refuse them (RFC 9110 sections 5.1 and 5.5, RFC 9112 section \
         3).",
        &[
            "an escape in a value",
            "DEL in a value",
            "two spaces",
            "a space last",
            "no colon",
            "a name beyond ASCII",
            "a name in quotes",
        ],
    ),
    (
        "The same, before a body: nginx drops the line that would have announced the body, and finds the \
         body where the next request should be.",
        &[
            "a no-break space before the colon",
            "a byte order mark before the name",
            "a line end inside a name",
            "a name of UTF-8 letters that fold to ASCII",
        ],
    ),
    (
        "Versions. hyper speaks 1.0 and 1.1 but no later minor version (RFC 9110 section 2.5 says to \
         process it as 1.1); nginx reads 1.10 as a minor version of two digits. Any other major version \
         gets 505 here.",
        &[
            "a later minor version",
            "HTTP/1.9",
            "two digits",
            "HTTP/0.9 with a number",
            "HTTP/2.0",
            "HTTP/3.0",
            "HTTP/2's preface",
            "HTTP/2's preface and first frame",
        ],
    ),
    (
        "nginx answers HTTP/0.9 with the content alone, which is empty here. This service and hyper do not \
         speak it.",
        &["no version", "HTTP/0.9", "HTTP/0.9 with a header"],
    ),
    (
        "hyper leaves Host to its service: no Host, two of them and malformed ones pass (RFC 9112 section \
         3.2 asks for 400).",
        &[
            "no Host",
            "no Host in absolute form",
            "Host twice",
            "the same Host twice",
            "Host twice in HTTP/1.0",
            "only a port",
            "a space",
            "a list",
            "a path",
        ],
    ),
    (
        "nginx checks the characters of Host, not the form of RFC 3986 section 3.2; hyper checks neither.",
        &[
            "a percent sign alone",
            "a percent sign before no digits",
            "brackets around colons",
            "brackets around a dot",
            "brackets around an IPv4 address",
            "empty brackets",
            "something behind the brackets",
            "a port of many digits",
            "a port of letters",
            "two ports",
            "an open bracket",
            "a user",
        ],
    ),
    (
        "An empty Host is for a URI without an authority (RFC 9112 section 3.2); nginx does not accept it.",
        &["an empty Host"],
    ),
    (
        "nginx without a proxy module has neither OPTIONS with an asterisk nor CONNECT, and accepts no \
         method with characters other than capital letters, a hyphen and an underscore. This service \
         answers them like every other method: 405 or 404.",
        &[
            "asterisk form",
            "every token character",
            "CONNECT",
            "CONNECT to an IPv6 address",
            "a request as the body of OPTIONS",
            "a request as the body of CONNECT",
        ],
    ),
    (
        "hyper leaves the form of a target to its service: the authority form passes with every method, \
         and so do the asterisk, user information, and CONNECT without a port (RFC 9112 section 3.2, RFC \
         9110 section 9.3.6).",
        &[
            "no slash",
            "an asterisk in GET",
            "an authority in GET",
            "a user in absolute form",
            "a port of letters in absolute form",
            "CONNECT without a port",
            "CONNECT with an empty port",
            "CONNECT to port 0",
            "CONNECT to a port past the last",
            "CONNECT to an address without a port",
        ],
    ),
    (
        "To nginx, CONNECT with a path or a URI is a method that is not allowed there; it is a malformed \
         target (RFC 9112 section 3.2.3).",
        &["CONNECT without a port's host", "CONNECT in absolute form"],
    ),
    (
        "Characters that are not allowed in a URI, a fragment, and other schemes: nginx and hyper accept \
         them in a target, and whatever is behind them may read them differently.",
        &[
            "a fragment",
            "another scheme",
            "a fragment in absolute form",
            "a quotation mark",
            "a backslash",
            "beyond ASCII",
        ],
    ),
    (
        "Content-Length and Transfer-Encoding together: hyper reads the coding and closes, which RFC 9112 \
         section 6.1 allows; this service and nginx refuse. This service checks for the pair before \
         anything else that is wrong with either.",
        &[
            "length, then coding",
            "coding, then length",
            "no length and a coding",
            "a length and chunked twice",
            "a length and an unknown coding",
            "an unknown coding and a length",
            "a length and an empty coding",
        ],
    ),
    (
        "Two equal lengths may be treated as one (RFC 9110 section 8.6); hyper does so.",
        &["two equal lengths"],
    ),
    (
        "A transfer coding that does not end in chunked leaves the length open: 400 (RFC 9112 section \
         6.3). nginx answers 501 to every coding except a single `chunked`.",
        &[
            "gzip",
            "identity",
            "a letter before",
            "a letter behind",
            "in quotes",
            "a parameter",
            "an empty coding",
            "a comma last",
            "chunked, then gzip",
            "an underscore inside",
            "a line end in hexadecimal",
        ],
    ),
    (
        "hyper looks only at the last transfer coding, and passes on a body that is still coded, or \
         chunked twice. This service refuses codings that it does not have with 501, and chunked twice \
         with 400 (RFC 9112 section 6.1).",
        &[
            "gzip, then chunked",
            "x-gzip, then chunked",
            "a comma first",
            "chunked twice",
            "gzip between two chunked",
            "two lines",
            "another line first",
        ],
    ),
    (
        "A tab before a value is whitespace like a space (RFC 9110 section 5.6.3); to nginx it is part of \
         the coding's name. A vertical tab is never whitespace; nginx calls it an unknown coding.",
        &["a tab first", "a vertical tab"],
    ),
    (
        "nginx reads chunk sizes, extensions and trailers loosely: whitespace and other octets after a \
         size, control characters, trailers that are not header lines. hyper also drops unknown octets in \
         extensions.",
        &[
            "a space behind the size",
            "two sizes",
            "NUL in an extension",
            "a trailer of only a colon",
            "NUL in a trailer",
            "a trailer without a colon",
            "a trailer with a space",
            "a folded trailer",
            "a request behind the last chunk's line",
        ],
    ),
    (
        "Bounds. This service accepts 64 KiB of content, 256 bytes in a chunk line, 4 KiB of trailers, 64 \
         header lines in 16 KiB, targets of 8,192 bytes and methods of 32; the others have other bounds, \
         or leave them to configuration and to the service behind them. nginx answers large header lines \
         with 400.",
        &[
            "too large",
            "too large a chunk",
            "a size of 2^32 and 5",
            "too large together",
            "more extensions than content",
            "too long an extension",
            "too many zeros",
            "too long a trailer",
            "too many headers",
            "the largest headers",
            "too large headers",
            "headers one byte too large",
            "far too large headers",
            "a value of tabs without an end",
            "a value of spaces without an end",
            "the longest target",
            "too long a target",
            "far too long a target",
            "too long a method",
            "a method without an end",
        ],
    ),
    (
        "A length above 64 bits is larger than the bound, 413 here; the others call it malformed.",
        &["2^64", "2^64 and 5", "a size of 2^64 and 5"],
    ),
    (
        "nginx sends 100 Continue whenever the request asks for it; this service only if a body follows \
         and none of it has arrived (RFC 9110 section 10.1.1). hyper sends it as soon as its service asks \
         for the body.",
        &[
            "Expect with its body",
            "Expect without a body",
            "a request as the body behind 100-continue",
        ],
    ),
    (
        "An unknown expectation is 417 here (RFC 9110 section 10.1.1 leaves it open); the others ignore \
         it.",
        &[
            "another expectation",
            "an expectation beside 100-continue",
            "an expectation with a space inside",
        ],
    ),
];
