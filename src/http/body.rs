//! Finds the end of a request body and throws its content away: no endpoint reads one, but the next
//! request begins behind it.

use super::refusal::Refusal;
use super::request::{BodyLength, is_token};
use crate::limits::{
    BODY_MAX_BYTES, CHUNK_LINE_MAX_BYTES, CHUNK_LINES_MAX_BYTES, TRAILERS_MAX_BYTES,
};

/// What [`BodyReader::feed`] made of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that belong to the body.
    pub consumed: usize,
    /// Whether the body ends behind them.
    pub complete: bool,
}

/// A body that is being read; reading may pause at any byte.
#[derive(Clone, Debug)]
pub struct BodyReader {
    state: State,
    /// Content of all chunks so far.
    content: u64,
    /// Bytes of the current chunk line, or of all trailer lines.
    line: usize,
    /// Bytes of all chunk lines.
    lines: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// This many bytes, then the end.
    Plain(u64),
    /// In a chunk size, with its value so far once it has a digit.
    Size(Option<u64>),
    /// Behind the size: the rest of the line is an extension.
    Extension(u64),
    /// White space behind the size, which only an extension may follow.
    SizeSpace(u64),
    /// The LF of a chunk line.
    SizeLf(u64),
    /// Content of a chunk.
    Content(u64),
    /// The CR, then the LF behind a chunk.
    ContentCr,
    ContentLf,
    /// The first byte of a trailer line, or the CR of the line that ends the body.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
}

impl BodyReader {
    /// A body of `length` that begins with the next byte.
    pub fn new(length: BodyLength) -> Self {
        let state = match length {
            BodyLength::None | BodyLength::Length(0) => State::Done,
            BodyLength::Length(length) => State::Plain(length),
            BodyLength::Chunked => State::Size(None),
        };
        Self {
            state,
            content: 0,
            line: 0,
            lines: 0,
        }
    }

    /// Takes from `bytes` what belongs to the body.
    ///
    /// # Errors
    /// A violation of RFC 9112 section 7.1, or a body past its bounds.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Progress, Refusal> {
        let mut rest = bytes;
        while self.state != State::Done && !rest.is_empty() {
            rest = match self.state {
                State::Plain(left) => self.skip(rest, left, State::Plain, State::Done),
                State::Content(left) => self.skip(rest, left, State::Content, State::ContentCr),
                _ => {
                    let Some((&byte, behind)) = rest.split_first() else {
                        break;
                    };
                    self.state = self.step(byte)?;
                    behind
                }
            };
        }
        Ok(Progress {
            consumed: bytes.len() - rest.len(),
            complete: self.state == State::Done,
        })
    }

    fn skip<'a>(
        &mut self,
        bytes: &'a [u8],
        left: u64,
        more: fn(u64) -> State,
        end: State,
    ) -> &'a [u8] {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - count as u64;
        self.state = if left == 0 { end } else { more(left) };
        bytes.get(count..).unwrap_or_default()
    }

    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match self.state {
            State::Size(_) | State::SizeSpace(_) | State::Extension(_) => self.chunk_line(byte),
            State::SizeLf(size) => self.begin_chunk(byte, size),
            State::ContentCr if byte == b'\r' => Ok(State::ContentLf),
            State::ContentLf if byte == b'\n' => Ok(State::Size(None)),
            State::ContentCr | State::ContentLf => Err(Refusal::ChunkEnd),
            state => self.trailer(state, byte),
        }
    }

    fn chunk_line(&mut self, byte: u8) -> Result<State, Refusal> {
        self.line += 1;
        self.lines += 1;
        if self.lines > CHUNK_LINES_MAX_BYTES {
            return Err(Refusal::BodyTooLarge);
        }
        if self.line > CHUNK_LINE_MAX_BYTES {
            return Err(Refusal::ChunkExtension);
        }
        match (self.state, byte) {
            (State::Size(size), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                // Seventeen digits would overflow: the bound refuses long before.
                let size = size.unwrap_or(0) * 16 + digit;
                match size > BODY_MAX_BYTES {
                    true => Err(Refusal::BodyTooLarge),
                    false => Ok(State::Size(Some(size))),
                }
            }
            (State::Size(Some(size)) | State::SizeSpace(size) | State::Extension(size), b';') => {
                Ok(State::Extension(size))
            }
            // RFC 9112 section 7.1.1: white space may stand before an extension's semicolon.
            (State::Size(Some(size)) | State::SizeSpace(size), b' ' | b'\t') => {
                Ok(State::SizeSpace(size))
            }
            (State::Size(Some(size)) | State::Extension(size), b'\r') => Ok(State::SizeLf(size)),
            (State::Extension(size), b'\t' | 0x20..=0x7e | 0x80..) => Ok(State::Extension(size)),
            (State::Extension(_), _) => Err(Refusal::ChunkExtension),
            _ => Err(Refusal::ChunkSize),
        }
    }

    fn begin_chunk(&mut self, byte: u8, size: u64) -> Result<State, Refusal> {
        if byte != b'\n' {
            return Err(Refusal::BareCr);
        }
        self.line = 0;
        self.content += size;
        match size {
            _ if self.content > BODY_MAX_BYTES => Err(Refusal::BodyTooLarge),
            0 => Ok(State::TrailerStart),
            _ => Ok(State::Content(size)),
        }
    }

    /// Trailer fields (RFC 9112 section 7.1.2) are checked and ignored.
    fn trailer(&mut self, state: State, byte: u8) -> Result<State, Refusal> {
        // The blank line that ends the trailers does not count.
        let is_end = matches!(
            (state, byte),
            (State::TrailerStart, b'\r') | (State::LastLf, _)
        );
        self.line += usize::from(!is_end);
        if self.line > TRAILERS_MAX_BYTES {
            return Err(Refusal::TrailersTooLarge);
        }
        match (state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::LastLf),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerStart | State::TrailerName, _) if is_token(byte) => {
                Ok(State::TrailerName)
            }
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, b'\t' | 0x20..=0x7e | 0x80..) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::LastLf, b'\n') => Ok(State::Done),
            (State::TrailerLf | State::LastLf, _) => Err(Refusal::BareCr),
            _ => Err(Refusal::Trailer),
        }
    }
}
