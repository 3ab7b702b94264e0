//! The floor: Bind, Execute and Sync on one TLS connection at the same arrivals, and no HTTP at all.
//!
//! It uses the service's own wire and TLS code, on a blocking socket. What it takes longer than this,
//! the service adds.

use bytes::BytesMut;
use payment_latency_api::config::{DatabaseTarget, StatementMode};
use payment_latency_api::pg::handshake::{self, Established};
use payment_latency_api::pg::messages;
use payment_latency_api::pg::payments;
use payment_latency_api::random;
use payment_latency_harness::{Arrivals, Tally, Timer, nanos, sample_insert};
use std::error::Error;
use std::io::{Read, Write};
use std::time::Duration;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    use lexopt::prelude::*;
    let (mut rate, mut warm_up_s, mut duration_s, mut seed) = (100.0, 1.0, 5.0, 1);
    let mut url_file = None;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("rate") => rate = parser.value()?.parse()?,
            Long("warm-up-s") => warm_up_s = parser.value()?.parse()?,
            Long("duration-s") => duration_s = parser.value()?.parse()?,
            Long("seed") => seed = parser.value()?.parse()?,
            Long("url-file") => url_file = Some(parser.value()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let url = std::fs::read_to_string(url_file.ok_or("--url-file is missing")?)?;
    let target = DatabaseTarget::parse(url.trim(), "local")?;
    let mode = StatementMode::Named;
    let mut connection = handshake::connect(&target, mode, Duration::from_secs(5))?;
    connection.socket.set_nonblocking(false)?;
    connection.socket.set_read_timeout(None)?;
    let mut insert = sample_insert();
    let mut out = BytesMut::with_capacity(4_096);
    let mut tally = Tally::new();
    let mut arrivals = Arrivals::new(rate, 1.0, seed);
    let mut timer = Timer::new()?;
    let warm_up = Duration::from_secs_f64(warm_up_s);
    let end = warm_up + Duration::from_secs_f64(duration_s);
    while arrivals.peek() <= end {
        let due = arrivals.peek();
        arrivals.advance();
        let slept = timer.sleep_until(due)?;
        let sent = timer.now();
        random::fill(&mut insert.transaction_id).map_err(|_| "no random bytes")?;
        payments::insert(mode, "local", &[&insert], &mut out)?;
        postgres_sync(&mut out);
        exchange(&mut connection, &mut out)?;
        tally.served += 1;
        if due >= warm_up {
            let latency = timer.now().saturating_sub(due.min(sent));
            // Behind an earlier payment it is the connection that was late, not the timer.
            if slept {
                tally.lag.saturating_record(nanos(sent.saturating_sub(due)));
            }
            tally.latency.saturating_record(nanos(latency));
        }
    }
    println!("{}", tally.to_json(rate, duration_s));
    Ok(())
}

/// The Sync message (<https://www.postgresql.org/docs/17/protocol-message-formats.html>).
fn postgres_sync(out: &mut BytesMut) {
    out.extend_from_slice(b"S\0\0\0\x04");
}

fn exchange(connection: &mut Established, out: &mut BytesMut) -> Result<()> {
    let transport = &mut connection.transport;
    transport.send(out).map_err(|error| format!("{error:?}"))?;
    out.clear();
    while !transport.outgoing().is_empty() {
        let count = connection.socket.write(transport.outgoing())?;
        transport.sent(count);
    }
    loop {
        while let Some(message) = messages::next(transport.messages()).map_err(|_| "malformed")? {
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
        let count = connection.socket.read(space)?;
        transport
            .received(count)
            .map_err(|error| format!("{error:?}"))?;
    }
}
