//! The limit of open descriptors, which bounds connections (getrlimit(2)).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to `wanted`, as far as the hard limit allows, and returns what is in force.
pub(super) fn raise_limit(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // An absent limit counts as one that nothing reaches.
    let (soft, hard) = (
        limit.current.unwrap_or(u64::MAX),
        limit.maximum.unwrap_or(u64::MAX),
    );
    if soft >= wanted {
        return soft;
    }
    let raised = wanted.min(hard);
    let limit = Rlimit {
        current: Some(raised),
        ..limit
    };
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => raised,
        Err(_) => soft,
    }
}
