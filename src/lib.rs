//! A payment simulator: one durable PostgreSQL write for each request.
//!
//! A payment passes through these modules in this order: `server` owns sockets and connections,
//! `http` turns bytes into requests and answers into bytes, `route` and `handlers` decide what an
//! answer says, `payment` is the domain, `pool` hands work to connections, `pg` speaks PostgreSQL's
//! wire. Calls go in one direction only; docs/ARCHITECTURE.md draws it.
#![forbid(unsafe_code)]

pub mod limits;

pub mod clock;
pub mod config;
pub mod hex;
mod labels;
pub mod log;
pub mod metrics;
pub mod random;

pub mod server;

pub mod http;
pub mod route;

pub mod handlers;

pub mod payment;

pub mod pool;

pub mod pg;

pub mod migrate;
pub mod probe;
pub mod prune;
