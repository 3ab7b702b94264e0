//! `GET /livez`: the event loop turns. It never asks the database: a restart would not help it.

use super::{App, Caller};
use crate::http::{Content, Status};

pub(super) fn answer(app: &App, caller: &Caller, out: &mut Vec<u8>) -> Status {
    caller
        .respond(app, Status::Ok, out)
        .body(Content::Json, |out| {
            out.extend_from_slice(br#"{"status":"alive"}"#)
        });
    Status::Ok
}
