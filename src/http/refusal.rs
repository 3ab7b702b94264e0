//! Everything that makes the service answer something else than what was asked, before any handler.

use super::response::Status;

macro_rules! refusals {
    ($($name:ident $status:ident $code:literal $detail:literal,)+) => {
        /// Why a request is refused. The connection is closed after each of these: where the next
        /// request begins is no longer certain, or no further request is wanted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal { $(#[doc = $detail] $name,)+ }

        impl Refusal {
            /// All of them, in order.
            pub const ALL: [Self; [$($code,)+].len()] = [$(Self::$name,)+];

            /// The status that answers it.
            pub fn status(self) -> Status {
                match self { $(Self::$name => Status::$status,)+ }
            }

            /// A stable name: a label of the metrics, and the end of the problem's type.
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// What is wrong, for people.
            pub fn detail(self) -> &'static str {
                match self { $(Self::$name => $detail,)+ }
            }
        }
    };
}

refusals! {
    BareCr BadRequest "bare_cr" "a CR is not followed by LF",
    BareLf BadRequest "bare_lf" "a line ends in LF without CR",
    Nul BadRequest "nul" "the request head contains a NUL",
    ControlCharacter BadRequest "control_character" "the request head contains a control character",
    RequestLine BadRequest "request_line" "the request line is not method, target and version",
    Target BadRequest "target" "the request target is not a valid path or http URI",
    HeaderLine BadRequest "header_line" "a header line is not a name, a colon and a value",
    ObsoleteFold BadRequest "obsolete_fold" "a header line begins with whitespace",
    SpaceBeforeColon BadRequest "space_before_colon" "a header line has whitespace before the colon",
    HostMissing BadRequest "host_missing" "Host is missing",
    HostRepeated BadRequest "host_repeated" "Host is repeated",
    HostMalformed BadRequest "host_malformed" "Host is not a host and an optional port",
    LengthAndCoding BadRequest "length_and_coding" "both Content-Length and Transfer-Encoding are present",
    LengthMalformed BadRequest "length_malformed" "Content-Length is not one decimal number",
    LengthRepeated BadRequest "length_repeated" "Content-Length is repeated",
    CodingInOldVersion BadRequest "coding_in_old_version" "an HTTP/1.0 request has Transfer-Encoding",
    CodingRepeated BadRequest "coding_repeated" "Transfer-Encoding is not a list that ends in one chunked",
    ChunkSize BadRequest "chunk_size" "a chunk size is not a hexadecimal number in range",
    ChunkExtension BadRequest "chunk_extension" "a chunk extension is malformed or too long",
    ChunkEnd BadRequest "chunk_end" "a chunk does not end in CR LF",
    Trailer BadRequest "trailer" "a trailer line is malformed",
    HeadTimeout RequestTimeout "head_timeout" "the request head did not arrive in time",
    BodyTimeout RequestTimeout "body_timeout" "the request body did not arrive in time",
    BodyTooLarge ContentTooLarge "body_too_large" "the body is larger than 65536 bytes, or its framing is too large",
    TargetTooLong UriTooLong "target_too_long" "the request target is longer than 8192 bytes",
    ExpectationUnknown ExpectationFailed "expectation_unknown" "Expect is not 100-continue",
    TooManyHeaders HeadersTooLarge "too_many_headers" "there are more than 64 header lines",
    HeadersTooLarge HeadersTooLarge "headers_too_large" "the header lines are longer than 16384 bytes",
    TrailersTooLarge HeadersTooLarge "trailers_too_large" "the trailer lines are longer than 4096 bytes",
    MethodTooLong NotImplemented "method_too_long" "the method is longer than any registered one",
    CodingUnknown NotImplemented "coding_unknown" "a transfer coding before chunked is not implemented",
    TooManyConnections ServiceUnavailable "too_many_connections" "all connections are in use",
    BuffersExhausted ServiceUnavailable "buffers_exhausted" "all buffer memory is in use",
    VersionUnsupported VersionNotSupported "version_unsupported" "the HTTP major version is not 1",
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use std::collections::HashSet;

    #[test]
    fn codes_are_stable_labels_that_differ() {
        let codes: HashSet<_> = Refusal::ALL.map(Refusal::code).into();
        assert_eq!(codes.len(), Refusal::ALL.len());
        for code in codes {
            let label = code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(label && !code.is_empty(), "{code}");
        }
    }

    #[test]
    fn sentences_name_the_limits_in_force() {
        for (refusal, limit) in [
            (Refusal::BodyTooLarge, limits::BODY_MAX_BYTES),
            (Refusal::TargetTooLong, limits::TARGET_MAX_BYTES as u64),
            (Refusal::TooManyHeaders, limits::HEADERS_MAX_COUNT as u64),
            (Refusal::HeadersTooLarge, limits::HEADERS_MAX_BYTES as u64),
            (Refusal::TrailersTooLarge, limits::TRAILERS_MAX_BYTES as u64),
        ] {
            let detail = refusal.detail();
            assert!(detail.contains(&format!(" {limit} ")), "{detail}");
        }
    }
}
