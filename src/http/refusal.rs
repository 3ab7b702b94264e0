//! Everything that makes the service answer something else than what was asked, before any handler.

use super::response::Status;

/// Why a request is refused. The connection is closed behind every one of these: where the next
/// request begins is no longer sure, or no longer wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is documented by its row in the table below
pub enum Refusal {
    BareCr,
    BareLf,
    Nul,
    ControlCharacter,
    RequestLine,
    Target,
    HeaderLine,
    ObsoleteFold,
    SpaceBeforeColon,
    HostMissing,
    HostRepeated,
    HostMalformed,
    LengthAndCoding,
    LengthMalformed,
    LengthRepeated,
    CodingInOldVersion,
    CodingRepeated,
    ChunkSize,
    ChunkExtension,
    ChunkEnd,
    Trailer,
    HeadTimeout,
    BodyTimeout,
    BodyTooLarge,
    TargetTooLong,
    ExpectationUnknown,
    TooManyHeaders,
    HeadersTooLarge,
    TrailersTooLarge,
    MethodTooLong,
    CodingUnknown,
    TooManyConnections,
    BuffersExhausted,
    VersionUnsupported,
}

/// Number of refusals, for tables of counters.
pub const COUNT: usize = TABLE.len();

type Row = (Refusal, Status, &'static str, &'static str);

/// The one table: status, code (a label of the metrics and part of the problem's type), sentence.
/// In the order of the variants.
const TABLE: [Row; 34] = {
    use Refusal as R;
    use Status as S;
    [
        (
            R::BareCr,
            S::BadRequest,
            "bare_cr",
            "a CR stands without its LF",
        ),
        (
            R::BareLf,
            S::BadRequest,
            "bare_lf",
            "a line ends in LF without its CR",
        ),
        (R::Nul, S::BadRequest, "nul", "the request head holds a NUL"),
        (
            R::ControlCharacter,
            S::BadRequest,
            "control_character",
            "the request head holds a control character",
        ),
        (
            R::RequestLine,
            S::BadRequest,
            "request_line",
            "the request line is not method, target and version",
        ),
        (
            R::Target,
            S::BadRequest,
            "target",
            "the request target is not an absolute path or an http URI",
        ),
        (
            R::HeaderLine,
            S::BadRequest,
            "header_line",
            "a header line is not a name, a colon and a value",
        ),
        (
            R::ObsoleteFold,
            S::BadRequest,
            "obsolete_fold",
            "a header line begins with white space",
        ),
        (
            R::SpaceBeforeColon,
            S::BadRequest,
            "space_before_colon",
            "white space stands before a header's colon",
        ),
        (
            R::HostMissing,
            S::BadRequest,
            "host_missing",
            "Host is missing",
        ),
        (
            R::HostRepeated,
            S::BadRequest,
            "host_repeated",
            "Host is there more than once",
        ),
        (
            R::HostMalformed,
            S::BadRequest,
            "host_malformed",
            "Host is not a host and an optional port",
        ),
        (
            R::LengthAndCoding,
            S::BadRequest,
            "length_and_coding",
            "Content-Length and Transfer-Encoding are both there",
        ),
        (
            R::LengthMalformed,
            S::BadRequest,
            "length_malformed",
            "Content-Length is not one decimal number",
        ),
        (
            R::LengthRepeated,
            S::BadRequest,
            "length_repeated",
            "Content-Length is there more than once",
        ),
        (
            R::CodingInOldVersion,
            S::BadRequest,
            "coding_in_old_version",
            "Transfer-Encoding is there in an HTTP/1.0 request",
        ),
        (
            R::CodingRepeated,
            S::BadRequest,
            "coding_repeated",
            "chunked is not the one and last transfer coding",
        ),
        (
            R::ChunkSize,
            S::BadRequest,
            "chunk_size",
            "a chunk size is not a hexadecimal number in range",
        ),
        (
            R::ChunkExtension,
            S::BadRequest,
            "chunk_extension",
            "a chunk extension is malformed or too long",
        ),
        (
            R::ChunkEnd,
            S::BadRequest,
            "chunk_end",
            "a chunk does not end in CR LF",
        ),
        (
            R::Trailer,
            S::BadRequest,
            "trailer",
            "a trailer line is malformed",
        ),
        (
            R::HeadTimeout,
            S::RequestTimeout,
            "head_timeout",
            "the request head did not arrive in time",
        ),
        (
            R::BodyTimeout,
            S::RequestTimeout,
            "body_timeout",
            "the request body did not arrive in time",
        ),
        (
            R::BodyTooLarge,
            S::ContentTooLarge,
            "body_too_large",
            "the request body is larger than 65536 bytes",
        ),
        (
            R::TargetTooLong,
            S::UriTooLong,
            "target_too_long",
            "the request target is longer than 8192 bytes",
        ),
        (
            R::ExpectationUnknown,
            S::ExpectationFailed,
            "expectation_unknown",
            "Expect is something else than 100-continue",
        ),
        (
            R::TooManyHeaders,
            S::HeadersTooLarge,
            "too_many_headers",
            "there are more than 64 header lines",
        ),
        (
            R::HeadersTooLarge,
            S::HeadersTooLarge,
            "headers_too_large",
            "the header lines are larger than 16384 bytes",
        ),
        (
            R::TrailersTooLarge,
            S::HeadersTooLarge,
            "trailers_too_large",
            "the trailer lines are larger than 4096 bytes",
        ),
        (
            R::MethodTooLong,
            S::NotImplemented,
            "method_too_long",
            "the method is longer than any registered one",
        ),
        (
            R::CodingUnknown,
            S::NotImplemented,
            "coding_unknown",
            "a transfer coding before chunked is not implemented",
        ),
        (
            R::TooManyConnections,
            S::ServiceUnavailable,
            "too_many_connections",
            "all connections are in use",
        ),
        (
            R::BuffersExhausted,
            S::ServiceUnavailable,
            "buffers_exhausted",
            "all buffer memory is in use",
        ),
        (
            R::VersionUnsupported,
            S::VersionNotSupported,
            "version_unsupported",
            "the HTTP major version is not 1",
        ),
    ]
};

#[allow(clippy::indexing_slicing)] // evaluated by the compiler
const _: () = {
    let mut index = 0;
    while index < TABLE.len() {
        assert!(TABLE[index].0 as usize == index);
        index += 1;
    }
};

impl Refusal {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// A number below [`COUNT`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The status that answers it.
    pub fn status(self) -> Status {
        self.row().1
    }

    /// A stable name: a label of the metrics, and the end of the problem's type.
    pub fn code(self) -> &'static str {
        self.row().2
    }

    /// What is wrong, for people.
    pub fn detail(self) -> &'static str {
        self.row().3
    }

    #[allow(clippy::indexing_slicing)] // the assertion above: every variant has its row
    fn row(self) -> &'static Row {
        &TABLE[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;
    use std::collections::HashSet;

    #[test]
    fn codes_are_stable_labels_that_differ() {
        let codes: HashSet<_> = Refusal::all().map(Refusal::code).collect();
        assert_eq!(codes.len(), COUNT);
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
