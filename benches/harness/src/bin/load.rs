//! An open-loop load generator for HTTP/1.1: one thread, one epoll, one timerfd.
//!
//! Requests are due at random times that do not depend on the answers. A latency is counted from when
//! its request was due, so it includes any wait for a free connection or for the generator. The
//! generator's own lag is reported beside it.
//!
//! At high rates, answers do not wake it while a connection is free, since each would take the core from
//! the server: it reads what has arrived when the next request is due, and the kernel's receive timestamp
//! says when each answer arrived. There, a latency ends when the answer is in the caller's socket.

use payment_latency_harness::{Arrivals, Tally, Timer, nanos, stamps};
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const HELP: &str =
    "load ADDRESS [options]: requests at random times, latencies from when they were due

  --rate N           requests a second (100)
  --burst N          N times as many in the first 200 ms of every second (1)
  --warm-up-s N      seconds that are not counted (1)
  --duration-s N     seconds that are (5)
  --connections N    keep-alive connections; requests beyond them wait (64)
  --fresh            a new connection for each request
  --server-timing    take what the service itself says of its time, too
  --idle N           further connections that say nothing (0)
  --target PATH      what to ask for (/api/payment/simulate)
  --key-file FILE    the API key
  --keyed            an Idempotency-Key of its own with each request
  --seed N           other arrivals (1)
";

/// If nothing has been answered for this long after the last arrival, nothing will be.
const GIVE_UP: Duration = Duration::from_secs(10);

/// From this rate on, answers do not wake the generator.
const STAMPED_FROM: f64 = 4_000.0;

/// The kernel begins stamping in a task of its own, some time after the first socket asks for it.
const STAMPS_BEGIN: Duration = Duration::from_millis(10);

/// This many connections are made at once, then there is a pause: fewer than the 128 that many listeners
/// queue. The server gets no time to accept them meanwhile, and the kernel would retry one beyond the
/// queue only after a second.
const CONNECT_TOGETHER: usize = 64;
const CONNECT_PAUSE: Duration = Duration::from_millis(5);

struct Options {
    address: String,
    request: Vec<u8>,
    rate: f64,
    burst: f64,
    warm_up: Duration,
    duration: Duration,
    connections: usize,
    fresh: bool,
    server_timing: bool,
    keyed: bool,
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
            burst: 1.0,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(5),
            connections: 64,
            fresh: false,
            server_timing: false,
            keyed: false,
            idle: 0,
            seed: 1,
        };
        let (mut target, mut key) = ("/api/payment/simulate".to_owned(), String::new());
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("rate") => options.rate = parser.value()?.parse()?,
                Long("burst") => options.burst = parser.value()?.parse()?,
                Long("warm-up-s") => {
                    options.warm_up = Duration::from_secs_f64(parser.value()?.parse()?);
                }
                Long("duration-s") => {
                    options.duration = Duration::from_secs_f64(parser.value()?.parse()?);
                }
                Long("connections") => options.connections = parser.value()?.parse()?,
                Long("fresh") => options.fresh = true,
                Long("server-timing") => options.server_timing = true,
                Long("keyed") => options.keyed = true,
                Long("idle") => options.idle = parser.value()?.parse()?,
                Long("seed") => options.seed = parser.value()?.parse()?,
                Long("target") => target = parser.value()?.string()?,
                Long("key-file") => key = std::fs::read_to_string(parser.value()?)?,
                Value(address) => options.address = address.string()?,
                Long("help") => {
                    print!("{HELP}");
                    std::process::exit(0);
                }
                other => return Err(other.unexpected().into()),
            }
        }
        let close = ["", "Connection: close\r\n"][usize::from(options.fresh)];
        // The key comes last, where the next one is written over it.
        let keyed = match options.keyed {
            true => format!("Idempotency-Key: {}\r\n", "0".repeat(KEY_DIGITS)),
            false => String::new(),
        };
        options.request = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nX-API-Key: {}\r\n{close}{keyed}\r\n",
            options.address,
            key.trim(),
        )
        .into_bytes();
        Ok(options)
    }
}

/// An idempotency key's length, in hexadecimal digits.
const KEY_DIGITS: usize = 32;

/// A connection, or the place for one that is made when needed.
struct Place {
    stream: Option<TcpStream>,
    /// When the request in progress was due, or sent if that was earlier.
    due: Duration,
    sent: Duration,
    answer: Vec<u8>,
}

struct Generator {
    options: Options,
    poll: OwnedFd,
    timer: Timer,
    /// If the kernel dates answers: a socket that keeps stamping switched on while connections come and go.
    stamping: Option<UdpSocket>,
    bytes: Vec<u8>,
    control: stamps::Control,
    places: Vec<Place>,
    free: VecDeque<usize>,
    waiting: VecDeque<Duration>,
    /// Makes keys that share no prefix, like random ones.
    keys: RandomState,
    tally: Tally,
}

const TIMER: u64 = u64::MAX;

const NO_TIME: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

fn main() -> Result<()> {
    let options = Options::read()?;
    let idle: Vec<TcpStream> = (0..options.idle)
        .map(|index| {
            pause_between_crowds(index);
            TcpStream::connect(&options.address)
        })
        .collect::<std::io::Result<_>>()?;
    let mut generator = Generator::new(options)?;
    generator.run()?;
    drop(idle);
    let Options { rate, duration, .. } = generator.options;
    println!("{}", generator.tally.to_json(rate, duration.as_secs_f64()));
    Ok(())
}

/// Lets the server accept the connections made before `index`.
fn pause_between_crowds(index: usize) {
    if index.is_multiple_of(CONNECT_TOGETHER) {
        std::thread::sleep(CONNECT_PAUSE);
    }
}

impl Generator {
    fn new(options: Options) -> Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = Timer::new()?;
        let stamping = match options.rate >= STAMPED_FROM {
            true => Some(UdpSocket::bind(("127.0.0.1", 0))?),
            false => None,
        };
        if let Some(socket) = &stamping {
            stamps::enable(socket)?;
            std::thread::sleep(STAMPS_BEGIN);
        }
        epoll::add(
            &poll,
            timer.descriptor(),
            epoll::EventData::new_u64(TIMER),
            epoll::EventFlags::IN,
        )?;
        let place = |_| Place {
            stream: None,
            due: Duration::ZERO,
            sent: Duration::ZERO,
            answer: Vec::with_capacity(4_096),
        };
        let mut generator = Self {
            places: (0..options.connections).map(place).collect(),
            free: (0..options.connections).collect(),
            waiting: VecDeque::new(),
            keys: RandomState::new(),
            tally: Tally::new(),
            poll,
            timer,
            stamping,
            bytes: vec![0; 4_096],
            control: stamps::Control::default(),
            options,
        };
        if !generator.options.fresh {
            for index in 0..generator.places.len() {
                pause_between_crowds(index);
                generator.connect(index)?;
            }
        }
        // Times count from after connecting.
        generator.timer.restart();
        Ok(generator)
    }

    fn connect(&mut self, index: usize) -> Result<()> {
        let stream = TcpStream::connect(&self.options.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        if self.stamping.is_some() {
            stamps::enable(&stream)?;
        }
        epoll::add(
            &self.poll,
            &stream,
            epoll::EventData::new_u64(index as u64),
            epoll::EventFlags::IN,
        )?;
        self.places[index].stream = Some(stream);
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        let mut arrivals = Arrivals::new(self.options.rate, self.options.burst, self.options.seed);
        let end = self.options.warm_up + self.options.duration;
        let mut events = Vec::with_capacity(256);
        loop {
            let all_sent = arrivals.peek() > end;
            let all_free = self.free.len() == self.places.len() && self.waiting.is_empty();
            let progress = end.max(self.options.warm_up + self.tally.took);
            if all_sent && (all_free || self.timer.now() > progress + GIVE_UP) {
                self.tally.failed += (self.places.len() - self.free.len()) as u64;
                self.tally.unsent = self.waiting.len() as u64;
                self.tally.failed += self.tally.unsent;
                return Ok(());
            }
            // After the last request, or without a free connection, the next event is an answer.
            let blocked = all_sent || (self.stamping.is_some() && !self.waiting.is_empty());
            // The timer still wakes the loop so that it can give up; within a second it is set only once.
            let next = match blocked {
                true => Duration::from_secs(self.timer.now().as_secs() + 2),
                false => arrivals.peek(),
            };
            if self.stamping.is_some() && !blocked {
                self.timer.nap(next);
                // Due requests are sent before anything is read, even the end of a connection.
                self.arrive(&mut arrivals, end);
                self.send()?;
                self.receive_all(&mut events, Some(&NO_TIME))?;
            } else {
                self.timer.set(next)?;
                self.receive_all(&mut events, None)?;
                self.arrive(&mut arrivals, end);
            }
            self.send()?;
        }
    }

    /// Starts the requests that are due.
    fn arrive(&mut self, arrivals: &mut Arrivals, end: Duration) {
        let horizon = self.timer.horizon();
        while arrivals.peek() <= horizon && arrivals.peek() <= end {
            self.waiting.push_back(arrivals.peek());
            arrivals.advance();
        }
    }

    fn receive_all(
        &mut self,
        events: &mut Vec<epoll::Event>,
        timeout: Option<&Timespec>,
    ) -> Result<()> {
        events.clear();
        epoll::wait(&self.poll, rustix::buffer::spare_capacity(events), timeout)?;
        for event in events {
            match event.data.u64() {
                TIMER => self.timer.woke(),
                index => self.receive(usize::try_from(index)?)?,
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        while let (Some(&due), Some(&index)) = (self.waiting.front(), self.free.front()) {
            self.waiting.pop_front();
            self.free.pop_front();
            let now = self.timer.now();
            if self.places[index].stream.is_none() {
                self.connect(index)?;
            }
            if due >= self.options.warm_up {
                let lag = now.saturating_sub(due);
                self.tally.lag.saturating_record(nanos(lag));
            }
            if self.options.keyed {
                self.next_key();
            }
            let place = &mut self.places[index];
            place.due = due.min(now);
            place.sent = now;
            // A request fits in any socket's buffer, which is empty now.
            let sent = place
                .stream
                .as_mut()
                .map(|stream| stream.write_all(&self.options.request));
            if !matches!(sent, Some(Ok(()))) {
                self.end(index, Kind::Failure, self.timer.now());
            }
        }
        Ok(())
    }

    fn next_key(&mut self) {
        let now = nanos(self.timer.now());
        let key = format!("{:016x}{now:016x}", self.keys.hash_one(now));
        let end = self.options.request.len() - "\r\n\r\n".len();
        self.options.request[end - KEY_DIGITS..end].copy_from_slice(key.as_bytes());
    }

    fn receive(&mut self, index: usize) -> Result<()> {
        let place = &mut self.places[index];
        let Some(stream) = &mut place.stream else {
            return Ok(());
        };
        let read = match self.stamping {
            Some(_) => stamps::read(stream, &mut self.bytes, &mut self.control),
            None => stream.read(&mut self.bytes).map(|count| (count, None)),
        };
        match read {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok((count, stamp)) if count > 0 => {
                place.answer.extend_from_slice(&self.bytes[..count]);
                if let Some(kind) = complete(&place.answer) {
                    if self.options.fresh {
                        place.stream = None;
                    }
                    let at = self.answered_at(index, stamp)?;
                    self.end(index, kind, at);
                }
            }
            // The server has closed it, idle or not.
            _ => {
                place.stream = None;
                if !self.free.contains(&index) {
                    self.end(index, Kind::Failure, self.timer.now());
                }
            }
        }
        Ok(())
    }

    /// When the answer that has just been read arrived. A missing stamp, or one that is not between the sending
    /// of the request and now, ends the run: its latencies would be meaningless.
    fn answered_at(&self, index: usize, stamp: Option<Duration>) -> Result<Duration> {
        if self.stamping.is_none() {
            return Ok(self.timer.now());
        }
        let stamp = stamp.ok_or("the kernel gave no receive timestamp (SO_TIMESTAMPNS)")?;
        // The wall clock first: an interruption between the two can make an answer seem late, but never early.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let (now, sent) = (self.timer.now(), self.places[index].sent);
        wall.checked_sub(stamp)
            .and_then(|age| now.checked_sub(age))
            .filter(|at| *at >= sent)
            .ok_or_else(|| {
                format!("a receive timestamp (SO_TIMESTAMPNS) of {stamp:?} at {wall:?}, sent at {sent:?} of {now:?}")
                    .into()
            })
    }

    /// Counts a request that has ended, and frees its place.
    fn end(&mut self, index: usize, kind: Kind, at: Duration) {
        let place = &mut self.places[index];
        let total = match kind {
            Kind::Success if self.options.server_timing => total(&place.answer),
            _ => None,
        };
        place.answer.clear();
        self.free.push_back(index);
        self.tally.served += u64::from(kind == Kind::Success);
        if place.due < self.options.warm_up {
            return;
        }
        let latency = nanos(at.saturating_sub(place.due));
        let answered = nanos(at.saturating_sub(place.sent));
        let took = at.saturating_sub(self.options.warm_up);
        self.tally.took = self.tally.took.max(took);
        match kind {
            Kind::Success => {
                if let Some(total) = total {
                    self.tally.service.saturating_record(nanos(total));
                }
                self.tally.answer.saturating_record(answered);
                return self.tally.latency.saturating_record(latency);
            }
            Kind::Refusal => self.tally.refusal.saturating_record(latency),
            Kind::Failure => {}
        }
        self.tally.failed += 1;
    }
}

/// The result of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// 200.
    Success,
    /// 503 with `Retry-After`.
    Refusal,
    /// Anything else, whether an answer or not.
    Failure,
}

/// The service's own time for an answer.
fn total(answer: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(answer).ok()?;
    let (_, total) = text.split_once("total;dur=")?;
    let (milliseconds, _) = total.split_once("\r\n")?;
    Some(Duration::from_secs_f64(
        milliseconds.parse::<f64>().ok()? / 1e3,
    ))
}

/// The kind of answer, once it is complete.
fn complete(answer: &[u8]) -> Option<Kind> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(answer) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return None,
        Err(_) => return Some(Kind::Failure),
    };
    let named = |name: &str| {
        response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))
    };
    let length = std::str::from_utf8(named("Content-Length")?.value).ok()?;
    let length: usize = length.trim().parse().ok()?;
    (answer.len() >= head + length).then(|| match response.code {
        Some(200) => Kind::Success,
        Some(503) if named("Retry-After").is_some() => Kind::Refusal,
        _ => Kind::Failure,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_what_its_status_says_once_its_body_is_there() {
        let kind = |head: &str, body| complete(format!("HTTP/1.1 {head}\r\n\r\n{body}").as_bytes());
        assert!(kind("200 OK\r\ncontent-length: 2", "{}") == Some(Kind::Success));
        assert!(kind("200 OK\r\nContent-Length: 2", "{").is_none());
        assert!(kind("200 OK\r\nDate: now", "{}").is_none());
        assert!(kind("503 Busy\r\nRetry-After: 1\r\nContent-Length: 0", "") == Some(Kind::Refusal));
        assert!(kind("503 Busy\r\nContent-Length: 0", "") == Some(Kind::Failure));
        assert!(kind("429 Slow\r\nRetry-After: 1\r\nContent-Length: 0", "") == Some(Kind::Failure));
        assert!(complete(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n").is_none());
        assert!(complete(b"SSH-2.0-1\r\n") == Some(Kind::Failure));
    }
}
