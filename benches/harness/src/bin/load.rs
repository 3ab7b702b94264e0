//! An open-loop load generator for HTTP/1.1: one thread, one epoll, one timerfd.
//!
//! Requests are due at random times that do not depend on the answers. A latency counts from the
//! moment its request was due: what waits for a free connection, or for the generator, waits in the
//! figure too, and the generator's own lag is reported beside it.

use payment_latency_harness::{Arrivals, Tally, Timer, nanos};
use rustix::event::epoll;
use std::collections::VecDeque;
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Options {
    address: String,
    request: Vec<u8>,
    rate: f64,
    warm_up: Duration,
    duration: Duration,
    connections: usize,
    idle: usize,
    seed: u64,
}

impl Options {
    fn read() -> Result<Self> {
        use lexopt::prelude::*;
        let mut options = Self {
            address: String::new(),
            request: Vec::new(),
            rate: 100.0,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(5),
            connections: 64,
            idle: 0,
            seed: 1,
        };
        let (mut target, mut key) = ("/api/payment/simulate".to_owned(), String::new());
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("rate") => options.rate = parser.value()?.parse()?,
                Long("warm-up-s") => {
                    options.warm_up = Duration::from_secs_f64(parser.value()?.parse()?);
                }
                Long("duration-s") => {
                    options.duration = Duration::from_secs_f64(parser.value()?.parse()?);
                }
                Long("connections") => options.connections = parser.value()?.parse()?,
                Long("idle") => options.idle = parser.value()?.parse()?,
                Long("seed") => options.seed = parser.value()?.parse()?,
                Long("target") => target = parser.value()?.string()?,
                Long("key-file") => key = std::fs::read_to_string(parser.value()?)?,
                Value(address) => options.address = address.string()?,
                other => return Err(other.unexpected().into()),
            }
        }
        options.request = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nX-API-Key: {}\r\n\r\n",
            options.address,
            key.trim()
        )
        .into_bytes();
        Ok(options)
    }
}

struct Connection {
    stream: TcpStream,
    /// When the request under way was due.
    due: Duration,
    answer: Vec<u8>,
}

struct Generator {
    options: Options,
    connections: Vec<Connection>,
    free: VecDeque<usize>,
    waiting: VecDeque<Duration>,
    began: Instant,
    tally: Tally,
}

const TIMER: u64 = u64::MAX;

fn main() -> Result<()> {
    let options = Options::read()?;
    let idle: Vec<TcpStream> = (0..options.idle)
        .map(|_| TcpStream::connect(&options.address))
        .collect::<std::io::Result<_>>()?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let timer = Timer::new()?;
    epoll::add(
        &poll,
        timer.descriptor(),
        epoll::EventData::new_u64(TIMER),
        epoll::EventFlags::IN,
    )?;
    let mut connections = Vec::new();
    for index in 0..options.connections {
        let stream = TcpStream::connect(&options.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(
            &poll,
            &stream,
            epoll::EventData::new_u64(index as u64),
            epoll::EventFlags::IN,
        )?;
        connections.push(Connection {
            stream,
            due: Duration::ZERO,
            answer: Vec::with_capacity(4_096),
        });
    }
    let mut generator = Generator {
        free: (0..connections.len()).collect(),
        connections,
        waiting: VecDeque::new(),
        began: Instant::now(),
        tally: Tally::new(),
        options,
    };
    generator.run(&poll, &timer)?;
    drop(idle);
    let seconds = generator.options.duration.as_secs_f64();
    println!(
        "{}",
        generator.tally.to_json(generator.options.rate, seconds)
    );
    Ok(())
}

impl Generator {
    fn run(&mut self, poll: &rustix::fd::OwnedFd, timer: &Timer) -> Result<()> {
        let mut arrivals = Arrivals::new(self.options.rate, self.options.seed);
        let end = self.options.warm_up + self.options.duration;
        // What is not answered a while after the last arrival never will be.
        let give_up = end + Duration::from_secs(10);
        let mut events = Vec::with_capacity(256);
        timer.set(arrivals.peek())?;
        loop {
            let all_sent = arrivals.peek() > end;
            let all_free = self.free.len() == self.connections.len() && self.waiting.is_empty();
            if all_sent && (all_free || self.began.elapsed() > give_up) {
                self.tally.failed += (self.connections.len() - self.free.len()) as u64;
                self.tally.failed += self.waiting.len() as u64;
                return Ok(());
            }
            events.clear();
            epoll::wait(poll, rustix::buffer::spare_capacity(&mut events), None)?;
            for event in &events {
                let index = event.data.u64();
                if index != TIMER {
                    self.receive(usize::try_from(index)?)?;
                }
            }
            let now = self.began.elapsed();
            while arrivals.peek() <= now && arrivals.peek() <= end {
                self.waiting.push_back(arrivals.peek());
                arrivals.advance();
            }
            self.send()?;
            // Behind the end it still wakes the loop to give up.
            let next = if arrivals.peek() > end {
                now + Duration::from_secs(1)
            } else {
                arrivals.peek()
            };
            timer.set(next.saturating_sub(self.began.elapsed()))?;
        }
    }

    fn measured(&self, due: Duration) -> bool {
        due >= self.options.warm_up
    }

    fn send(&mut self) -> Result<()> {
        while let (Some(&due), Some(&index)) = (self.waiting.front(), self.free.front()) {
            self.waiting.pop_front();
            self.free.pop_front();
            let connection = &mut self.connections[index];
            connection.due = due;
            // A request is smaller than any socket's buffer, which is empty now.
            connection.stream.write_all(&self.options.request)?;
            if self.measured(due) {
                let lag = self.began.elapsed().saturating_sub(due);
                self.tally.lag.saturating_record(nanos(lag));
            }
        }
        Ok(())
    }

    fn receive(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        let mut bytes = [0; 4_096];
        loop {
            match connection.stream.read(&mut bytes) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(count) => connection.answer.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
            if let Some(success) = complete(&connection.answer) {
                connection.answer.clear();
                let due = connection.due;
                self.free.push_back(index);
                if self.measured(due) {
                    let latency = self.began.elapsed().saturating_sub(due);
                    match success {
                        true => self.tally.latency.saturating_record(nanos(latency)),
                        false => self.tally.failed += 1,
                    }
                }
                break;
            }
        }
        Ok(())
    }
}

/// Whether the answer is a 200, once it is complete.
fn complete(answer: &[u8]) -> Option<bool> {
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&answer[..head]).ok()?;
    let length: usize = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    })?;
    (answer.len() >= head + 4 + length).then(|| text.starts_with("HTTP/1.1 200"))
}
