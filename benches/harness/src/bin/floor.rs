//! The floor: Bind, Execute and Sync on one TLS connection at the same arrivals, without any HTTP.
//!
//! It uses the service's own wire and TLS code, on a blocking socket. Any time beyond this is added by
//! the service itself.

use payment_latency_harness::wire::Wire;
use payment_latency_harness::{Arrivals, Tally, Timer, nanos};
use std::error::Error;
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
    let mut wire = Wire::open(&url_file.ok_or("--url-file is required")?)?;
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
        wire.pay()?;
        tally.served += 1;
        if due >= warm_up {
            let latency = timer.now().saturating_sub(due.min(sent));
            // After an earlier payment, the connection was late, not the timer.
            if slept {
                tally.lag.saturating_record(nanos(sent.saturating_sub(due)));
            }
            tally.latency.saturating_record(nanos(latency));
        }
    }
    println!("{}", tally.to_json(rate, duration_s));
    Ok(())
}
