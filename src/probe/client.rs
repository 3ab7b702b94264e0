//! A small blocking HTTP/1.1 client on one connection.

use std::fmt;
use std::io::{BufRead, BufReader, Error, ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::options::Options;
use crate::limits::{PROBE_BODY_MAX_BYTES, PROBE_LINE_MAX_BYTES};

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    Unresolved,
    NotConnected,
    Timeout,
    Closed,
    Malformed,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unresolved => "could not resolve the host",
            Self::NotConnected => "could not connect",
            Self::Timeout => "timed out",
            Self::Closed => "the connection closed before the answer ended",
            Self::Malformed => "the answer is not HTTP/1, or too large",
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Closed,
        }
    }
}

pub(super) struct Client<'a> {
    options: &'a Options,
    stream: Option<BufReader<TcpStream>>,
}

impl<'a> Client<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Self {
            options,
            stream: None,
        }
    }

    /// Sends one request that was `due` then, and returns its answer's status. A request whose time
    /// is over is not sent. The connection is kept as long as the server keeps it.
    pub(super) fn exchange(&mut self, due: Instant) -> Result<u16, Failure> {
        let deadline = due + self.options.timeout;
        time_left(deadline)?;
        let kept = self.stream.take().filter(is_open);
        let mut stream = match kept {
            Some(stream) => stream,
            None => BufReader::new(connect(self.options, deadline)?),
        };
        stream
            .get_ref()
            .set_write_timeout(Some(time_left(deadline)?))?;
        stream.get_mut().write_all(&self.options.request)?;
        let (status, keep) = read_answer(&mut stream, deadline)?;
        if keep {
            self.stream = Some(stream);
        }
        Ok(status)
    }
}

/// A kept connection that the server has closed meanwhile is not used again.
fn is_open(stream: &BufReader<TcpStream>) -> bool {
    let socket = stream.get_ref();
    if socket.set_nonblocking(true).is_err() {
        return false;
    }
    let nothing =
        matches!(socket.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    nothing && socket.set_nonblocking(false).is_ok()
}

fn connect(options: &Options, deadline: Instant) -> Result<TcpStream, Failure> {
    let addresses = (options.host.as_str(), options.port)
        .to_socket_addrs()
        .map_err(|_| Failure::Unresolved)?;
    let mut failure = Failure::Unresolved;
    for address in addresses {
        match TcpStream::connect_timeout(&address, time_left(deadline)?) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => failure = Failure::Timeout,
            Err(_) => failure = Failure::NotConnected,
        }
    }
    Err(failure)
}

fn time_left(deadline: Instant) -> Result<Duration, Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Failure::Timeout);
    }
    Ok(left)
}

/// Where the body ends (RFC 9112 section 6.3).
enum Body {
    Length(u64),
    Chunked,
    UntilClose,
}

fn read_answer(
    stream: &mut BufReader<TcpStream>,
    deadline: Instant,
) -> Result<(u16, bool), Failure> {
    loop {
        let line = read_line(stream, deadline)?;
        let minor = match line.get(..9) {
            Some("HTTP/1.1 ") => 1,
            Some("HTTP/1.0 ") => 0,
            _ => return Err(Failure::Malformed),
        };
        let status = line.get(9..12).and_then(|digits| digits.parse().ok());
        let status: u16 = status.ok_or(Failure::Malformed)?;
        let mut keep = minor == 1;
        let mut body = Body::UntilClose;
        loop {
            let line = read_line(stream, deadline)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or(Failure::Malformed)?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let length = value.parse().map_err(|_| Failure::Malformed)?;
                    // Transfer-Encoding takes precedence.
                    if !matches!(body, Body::Chunked) {
                        body = Body::Length(length);
                    }
                }
                "transfer-encoding" => body = Body::Chunked,
                "connection" => keep = !value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        match status {
            100..=199 => continue,
            204 | 304 => return Ok((status, keep)),
            _ => {}
        }
        match body {
            Body::Length(length) => skip(stream, length, deadline)?,
            Body::Chunked => skip_chunks(stream, deadline)?,
            Body::UntilClose => keep = false,
        }
        return Ok((status, keep));
    }
}

fn read_line(stream: &mut BufReader<TcpStream>, deadline: Instant) -> Result<String, Failure> {
    let mut line = Vec::new();
    loop {
        let bytes = fill(stream, deadline)?;
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let count = end.map_or(bytes.len(), |end| end + 1);
        line.extend_from_slice(bytes.get(..count).unwrap_or_default());
        stream.consume(count);
        if line.len() > PROBE_LINE_MAX_BYTES {
            return Err(Failure::Malformed);
        }
        if end.is_some() {
            break;
        }
    }
    let text = line.strip_suffix(b"\n").unwrap_or(&line);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    // The names and values that matter here are ASCII.
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Bytes that have come and were not taken yet, at least one.
fn fill(stream: &mut BufReader<TcpStream>, deadline: Instant) -> Result<&[u8], Failure> {
    let left = time_left(deadline)?;
    stream.get_ref().set_read_timeout(Some(left))?;
    match stream.fill_buf()? {
        [] => Err(Failure::Closed),
        bytes => Ok(bytes),
    }
}

fn skip(stream: &mut BufReader<TcpStream>, length: u64, deadline: Instant) -> Result<(), Failure> {
    if length > PROBE_BODY_MAX_BYTES {
        return Err(Failure::Malformed);
    }
    let mut left = length;
    while left > 0 {
        let count = (fill(stream, deadline)?.len() as u64).min(left);
        stream.consume(usize::try_from(count).unwrap_or(0));
        left -= count;
    }
    Ok(())
}

fn skip_chunks(stream: &mut BufReader<TcpStream>, deadline: Instant) -> Result<(), Failure> {
    let mut total = 0_u64;
    loop {
        let line = read_line(stream, deadline)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| Failure::Malformed)?;
        total = total.saturating_add(size);
        if size == 0 {
            while !read_line(stream, deadline)?.is_empty() {}
            return Ok(());
        }
        if total > PROBE_BODY_MAX_BYTES {
            return Err(Failure::Malformed);
        }
        skip(stream, size, deadline)?;
        if !read_line(stream, deadline)?.is_empty() {
            return Err(Failure::Malformed);
        }
    }
}
