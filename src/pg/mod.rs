//! PostgreSQL's wire, and nothing else of the service: protocol version 3.0 over TLS.
//!
//! In reading order: `transport` (bytes, TLS records), `handshake` (a new connection, on a blocking
//! socket), `scram` (its login), `payments` (the statements), `connection` (one exchange on a socket of the runtime),
//! `owner` (the connection of migrations, by a library).
//! The protocol's pages: <https://www.postgresql.org/docs/17/protocol.html>.

mod bytes;
pub mod connection;
pub mod error;
pub mod handshake;
pub mod messages;
pub mod owner;
pub mod payments;
pub mod scram;
pub mod tls;
pub mod transport;
