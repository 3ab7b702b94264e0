//! Identifiers that callers send along: checked, and replaced when they are malformed.

use arrayvec::{ArrayString, ArrayVec};
use std::fmt::Write;

use crate::hex;
use crate::limits::REQUEST_ID_MAX_BYTES;

/// A request's name in logs and answers.
pub type RequestId = ArrayString<REQUEST_ID_MAX_BYTES>;

/// `version-traceid-parentid-flags` of W3C Trace Context, version 00.
pub type TraceParent = ArrayString<TRACEPARENT_BYTES>;

const TRACEPARENT_BYTES: usize = 55;

/// The caller's request id, if it is one: letters, digits and `._~+/=:@-`, which are safe in a
/// header, in JSON and in a shell.
pub fn request_id(value: &[u8]) -> Option<RequestId> {
    let safe = |b: &u8| b.is_ascii_alphanumeric() || b"._~+/=:@-".contains(b);
    if value.is_empty() || !value.iter().all(safe) {
        return None;
    }
    RequestId::from(std::str::from_utf8(value).ok()?).ok()
}

/// A request id of 128 random bits.
pub fn new_request_id(random: [u8; 16]) -> RequestId {
    let mut digits = [0; 32];
    hex::put(&random, &mut digits);
    let text = std::str::from_utf8(&digits).unwrap_or_default();
    RequestId::from(text).unwrap_or_default()
}

/// The caller's trace context, if it is one
/// (<https://www.w3.org/TR/trace-context/#traceparent-header>).
pub fn traceparent(value: &[u8]) -> Option<TraceParent> {
    let text = std::str::from_utf8(value).ok()?;
    let known = text.get(..TRACEPARENT_BYTES)?;
    let parts: ArrayVec<&str, 4> = known.split('-').take(4).collect();
    let [version, trace, parent, flags] = parts.into_inner().ok()?;
    let hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let nonzero = |part: &str| part.bytes().any(|b| b != b'0');
    let well_formed = hex(version, 2)
        && version != "ff"
        && (hex(trace, 32) && nonzero(trace))
        && (hex(parent, 16) && nonzero(parent))
        && hex(flags, 2);
    // A later version may have more after another dash. It is reduced to version 00, with the one
    // flag that version 00 knows ("Versioning of traceparent" in the recommendation).
    let ends = match text.get(TRACEPARENT_BYTES..) {
        Some("") => true,
        Some(rest) => version != "00" && rest.starts_with('-'),
        None => false,
    };
    if !well_formed || !ends {
        return None;
    }
    if version == "00" {
        return TraceParent::from(known).ok();
    }
    let sampled = u8::from_str_radix(flags, 16).ok()? & 1;
    let mut text = TraceParent::new();
    write!(text, "00-{trace}-{parent}-{sampled:02x}").ok()?;
    Some(text)
}

/// A trace context of random ids, not sampled: nobody asked for a trace.
pub fn new_traceparent(trace: [u8; 16], parent: [u8; 8]) -> TraceParent {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    hex::put(&trace, &mut text[3..35]);
    hex::put(&parent, &mut text[36..52]);
    TraceParent::from_byte_string(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_that_could_break_a_header_or_a_log_are_replaced() {
        let longest = "a".repeat(REQUEST_ID_MAX_BYTES);
        for good in [
            "a",
            "0f8fad5b-d9cb-469f-a165-70867728950e",
            "Root=1-67891233:x@y/z+~._",
            &longest,
        ] {
            assert_eq!(request_id(good.as_bytes()).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(REQUEST_ID_MAX_BYTES + 1);
        for bad in ["", "a b", "a\"b", "a\tb", "a,b", "ä", &too_long] {
            assert_eq!(request_id(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(new_request_id([0xa5; 16]).as_str(), "a5".repeat(16));
    }

    #[test]
    fn trace_contexts_follow_the_recommendation() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(traceparent(good.as_bytes()).unwrap().as_str(), good);
        for (later, kept) in [
            (
                "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings",
                good,
            ),
            (
                "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff",
                good,
            ),
            (
                "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02-",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            ),
        ] {
            assert_eq!(traceparent(later.as_bytes()).unwrap().as_str(), kept);
        }
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0\u{e9}",
        ] {
            assert_eq!(traceparent(bad.as_bytes()), None, "{bad:?}");
        }
        let trace = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128;
        let parent = 0x00f0_67aa_0ba9_02b7_u64;
        let made = new_traceparent(trace.to_be_bytes(), parent.to_be_bytes());
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        assert_eq!(made.as_str(), text);
        assert_eq!(traceparent(text.as_bytes()), Some(made));
    }
}
