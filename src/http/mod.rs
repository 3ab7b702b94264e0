//! HTTP/1.1 as bytes: requests out of bytes, answers into bytes (RFC 9110, RFC 9112).
//!
//! Pure: nothing here knows of sockets, time or the runtime. `head` finds where a request head ends,
//! `request` reads it, `body` finds where the body ends, `refusal` names everything that is not
//! answered as asked, `response` and `problem` write answers, `trace` checks identifiers that
//! callers send along. httparse cuts a head into its parts; what it lets through and this service
//! does not (a line that ends in LF alone, above all) is refused here.

pub mod body;
mod byte_set;
pub mod date;
pub mod head;
pub mod problem;
pub mod refusal;
pub mod request;
pub mod response;
pub mod trace;

pub use body::BodyReader;
pub use head::HeadScan;
pub use refusal::Refusal;
pub use request::{BodyLength, Field, Method, Request, Version};
pub use response::{Content, Response, Status};
