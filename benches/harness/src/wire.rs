//! One payment at a time on one TLS connection: the service's own wire and TLS code, on a blocking socket.

use crate::sample_insert;
use bytes::BytesMut;
use payment_latency_api::config::{DatabaseTarget, StatementMode};
use payment_latency_api::pg::handshake::{self, Established};
use payment_latency_api::pg::payments::{self, Insert};
use payment_latency_api::{pg::messages, random};
use std::error::Error;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::time::Duration;

/// An open connection, and the payment that it makes again and again.
pub struct Wire {
    connection: Established,
    insert: Insert,
    out: BytesMut,
}

impl Wire {
    /// Connects to the database whose URL is in a file.
    pub fn open(url_file: &OsString) -> Result<Self, Box<dyn Error>> {
        let url = std::fs::read_to_string(url_file)?;
        let target = DatabaseTarget::parse(url.trim(), "local")?;
        let connection = handshake::connect(&target, StatementMode::Named, Duration::from_secs(5))?;
        connection.socket.set_nonblocking(false)?;
        connection.socket.set_read_timeout(None)?;
        Ok(Self {
            connection,
            insert: sample_insert(),
            out: BytesMut::with_capacity(4_096),
        })
    }

    /// Sends Bind, Execute and Sync, and reads the answer.
    pub fn pay(&mut self) -> Result<(), Box<dyn Error>> {
        random::fill(&mut self.insert.transaction_id).map_err(|_| "no random bytes")?;
        payments::insert(
            StatementMode::Named,
            "local",
            &[&self.insert],
            &mut self.out,
        )?;
        // The Sync message (<https://www.postgresql.org/docs/17/protocol-message-formats.html>).
        self.out.extend_from_slice(b"S\0\0\0\x04");
        let Established {
            socket, transport, ..
        } = &mut self.connection;
        transport
            .send(&self.out)
            .map_err(|error| format!("{error:?}"))?;
        self.out.clear();
        while !transport.outgoing().is_empty() {
            let count = socket.write(transport.outgoing())?;
            transport.sent(count);
        }
        loop {
            while let Some(message) =
                messages::next(transport.messages()).map_err(|_| "malformed")?
            {
                let (tag, length) = (message.tag, message.len);
                transport.consume_messages(length);
                match tag {
                    b'Z' => return Ok(()),
                    b'E' => return Err("PostgreSQL refused the insert".into()),
                    _ => {}
                }
            }
            let space = transport
                .read_space()
                .map_err(|error| format!("{error:?}"))?;
            let count = socket.read(space)?;
            transport
                .received(count)
                .map_err(|error| format!("{error:?}"))?;
        }
    }
}
