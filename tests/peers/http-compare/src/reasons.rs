//! Why the servers differ: a sentence, and the requests that it is about.

/// In the order in which they are printed.
pub const REASONS: [(&str, &[&str]); 0] = [];
