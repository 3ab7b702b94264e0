//! `GET /readyz`: whether a load balancer should send requests here.
//!
//! Ready once the pool has been complete, and then until the drain. A database that goes away later
//! is the matter of `/health`: a fail-over must not take every instance out at once.

use super::{App, Caller};
use crate::http::problem::{Code, Problem};
use crate::http::{Content, Status};

pub(super) fn answer(app: &App, caller: &Caller, out: &mut Vec<u8>) -> Status {
    if app.is_draining() {
        let problem = Problem::of(Code::Draining, "the service is shutting down");
        return caller.problem(app, &problem, out);
    }
    if !app.pool.is_ready() {
        let detail = match app.pool.last_failure() {
            None => "connections to the database are being opened",
            Some(step) => step.sentence(),
        };
        let problem = Problem::of(Code::Starting, detail);
        return caller.problem(app, &problem, out);
    }
    caller
        .respond(app, Status::Ok, out)
        .body(Content::Json, |out| {
            out.extend_from_slice(br#"{"status":"ready"}"#)
        });
    Status::Ok
}
