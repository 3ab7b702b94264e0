//! Error bodies: `application/problem+json` (RFC 9457).

use serde::Serialize;

use super::response::Status;
use crate::labels::labels;

labels! {
    /// What can be wrong with a request that could be read; [`Refusal`](super::Refusal) has the others.
    pub enum Code {
        /// A parameter or header is malformed.
        InvalidRequest = "invalid_request",
        /// There is no API key.
        ApiKeyMissing = "api_key_missing",
        /// The API key is not valid, or is repeated.
        ApiKeyWrong = "api_key_wrong",
        /// There is no such path.
        NotFound = "not_found",
        /// The path does not allow this method.
        MethodNotAllowed = "method_not_allowed",
        /// The idempotency key belongs to another payment.
        IdempotencyKeyReused = "idempotency_key_reused",
        /// The database refused the payment for good.
        DatabaseRefused = "database_refused",
        /// No connection became free.
        PoolExhausted = "pool_exhausted",
        /// There is no connection.
        DatabaseUnavailable = "database_unavailable",
        /// The limit of payments under way is reached.
        TooManyInFlight = "too_many_in_flight",
        /// The pool has not been complete yet.
        Starting = "starting",
        /// The service is shutting down.
        Draining = "draining",
        /// The deadline passed.
        DeadlineExceeded = "deadline_exceeded",
    }
}

impl Code {
    /// The status that goes with it, always the same.
    pub const fn status(self) -> Status {
        match self {
            Self::InvalidRequest => Status::BadRequest,
            Self::ApiKeyMissing => Status::Unauthorized,
            Self::ApiKeyWrong => Status::Forbidden,
            Self::NotFound => Status::NotFound,
            Self::MethodNotAllowed => Status::MethodNotAllowed,
            Self::IdempotencyKeyReused => Status::UnprocessableContent,
            Self::DatabaseRefused => Status::InternalServerError,
            Self::PoolExhausted
            | Self::DatabaseUnavailable
            | Self::TooManyInFlight
            | Self::Starting
            | Self::Draining => Status::ServiceUnavailable,
            Self::DeadlineExceeded => Status::GatewayTimeout,
        }
    }
}

/// One error, as its caller gets to see it.
#[derive(Clone, Debug, Serialize)]
pub struct Problem<'a> {
    /// What kind of problem: a URN that ends in a stable code.
    #[serde(rename = "type", serialize_with = "urn")]
    pub code: &'a str,
    /// The status' reason phrase.
    pub title: &'static str,
    /// The status, once more.
    #[serde(serialize_with = "number")]
    pub status: Status,
    /// What is wrong with this request, and what would be right.
    pub detail: &'a str,
    /// The header or query parameter that is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<&'a str>,
    /// The payment that was attempted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<&'a str>,
    /// What is known of its write: `not_sent` or `unknown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<&'static str>,
    /// The same as the `X-Request-Id` header's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
}

impl<'a> Problem<'a> {
    /// A problem without particulars.
    pub fn new(status: Status, code: &'a str, detail: &'a str) -> Self {
        Self {
            code,
            title: status.reason(),
            status,
            detail,
            field: None,
            transaction_id: None,
            outcome: None,
            request_id: None,
        }
    }

    /// A problem of a request that could be read.
    pub fn of(code: Code, detail: &'a str) -> Self {
        Self::new(code.status(), code.as_str(), detail)
    }

    /// Appends the JSON text.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Writing strings and numbers into memory does not fail.
        let _ = serde_json::to_writer(out, self);
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn number<S: serde::Serializer>(status: &Status, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.code())
}

fn urn<S: serde::Serializer>(code: &&str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("urn:payment-latency-api:problem:{code}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(problem: &Problem<'_>) -> String {
        let mut out = b"before".to_vec();
        problem.write(&mut out);
        String::from_utf8(out).unwrap().split_off("before".len())
    }

    #[test]
    fn a_problem_without_particulars_has_only_the_members_of_rfc_9457() {
        let problem = Problem::new(Status::NotFound, "not_found", "there is nothing here");
        assert_eq!(
            written(&problem),
            concat!(
                r#"{"type":"urn:payment-latency-api:problem:not_found","title":"Not Found","#,
                r#""status":404,"detail":"there is nothing here"}"#
            )
        );
    }

    #[test]
    fn particulars_are_written_and_text_of_callers_stays_text() {
        let mut problem = Problem::new(Status::GatewayTimeout, "deadline", "too late");
        problem.field = Some("a\"\\\r\n\u{1}\u{e9}");
        problem.transaction_id = Some("id");
        problem.outcome = Some("unknown");
        problem.request_id = Some("r");
        let text = written(&problem);
        assert!(!text.bytes().any(|byte| byte.is_ascii_control()), "{text}");
        let found: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = json!({
            "type": "urn:payment-latency-api:problem:deadline", "title": "Gateway Timeout",
            "status": 504, "detail": "too late", "field": "a\"\\\r\n\u{1}\u{e9}",
            "transaction_id": "id", "outcome": "unknown", "request_id": "r",
        });
        assert_eq!(found, expected);
    }
}
