//! Error bodies: `application/problem+json` (RFC 9457).

use serde::Serialize;

use super::response::Status;

/// One error, as its caller gets to see it.
#[derive(Clone, Debug, Serialize)]
pub struct Problem<'a> {
    /// What kind of problem: a URN that ends in a stable code.
    #[serde(rename = "type", serialize_with = "urn")]
    pub code: &'a str,
    /// The status' reason phrase.
    pub title: &'static str,
    /// The status, once more.
    pub status: u16,
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
            status: status.code(),
            detail,
            field: None,
            transaction_id: None,
            outcome: None,
            request_id: None,
        }
    }

    /// Appends the JSON text.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Writing strings and numbers into memory does not fail.
        let _ = serde_json::to_writer(out, self);
    }
}

fn urn<S: serde::Serializer>(code: &&str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("urn:payment-latency-api:problem:{code}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
