//! Finds the end of a request head in bytes that arrive bit by bit.

use super::refusal::Refusal;
use super::request::is_token;
use crate::limits::{
    HEADERS_MAX_BYTES, HEADERS_MAX_COUNT, LEADING_CRLF_MAX_COUNT, METHOD_MAX_BYTES,
    TARGET_MAX_BYTES,
};

/// Longest request line: method, target, version and what stands between them.
const LINE_MAX_BYTES: usize = METHOD_MAX_BYTES + TARGET_MAX_BYTES + " HTTP/1.1  ".len();

/// A scan that goes on where it stopped: no byte is looked at twice.
///
/// It checks what can be decided a byte at a time: line ends (RFC 9112 section 2.2 lets a server
/// take a bare LF for a line end, and forbids a bare CR; two parties that differ on this can be
/// made to see different requests, so both are refused), control characters, and sizes.
#[derive(Clone, Debug, Default)]
pub struct HeadScan {
    /// Bytes looked at.
    seen: usize,
    /// Where the current line begins.
    line: usize,
    /// Where the first header line begins; 0 in the request line.
    headers: usize,
    leading: usize,
    lines: usize,
    after_cr: bool,
}

impl HeadScan {
    /// A scan of a head that begins with the next byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a byte of the request has been seen; blank lines before it do not count.
    pub fn has_begun(&self) -> bool {
        self.seen > self.line || self.headers > 0
    }

    /// Looks at what `buffer` holds beyond the last look, and returns the length of the head, with
    /// its leading and closing line ends, when it is complete.
    ///
    /// # Errors
    /// What makes the request refusable whatever follows.
    pub fn scan(&mut self, buffer: &[u8]) -> Result<Option<usize>, Refusal> {
        loop {
            // Header lines are most of a head, and of most of their bytes only the number counts.
            if self.headers > 0 && !self.after_cr {
                let rest = buffer.get(self.seen..).unwrap_or_default();
                self.seen += rest.iter().take_while(|&&byte| !is_control(byte)).count();
                self.check_headers_size()?;
            }
            let Some(&byte) = buffer.get(self.seen) else {
                return Ok(None);
            };
            self.seen += 1;
            if self.after_cr {
                if byte != b'\n' {
                    return Err(Refusal::BareCr);
                }
                self.after_cr = false;
                if self.end_line()? {
                    return Ok(Some(self.seen));
                }
                continue;
            }
            match byte {
                b'\r' => self.after_cr = true,
                b'\n' => return Err(Refusal::BareLf),
                0 => return Err(Refusal::Nul),
                0x01..=0x08 | 0x0a..=0x1f | 0x7f => return Err(Refusal::ControlCharacter),
                b'\t' if self.headers == 0 => return Err(Refusal::ControlCharacter),
                _ => self.check_size(buffer)?,
            }
        }
    }

    /// Ends a line at `seen`; true when it was the blank one that ends the head.
    fn end_line(&mut self) -> Result<bool, Refusal> {
        let blank = self.seen - self.line == 2;
        self.line = self.seen;
        if self.headers == 0 {
            if !blank {
                self.headers = self.seen;
                return Ok(false);
            }
            self.leading += 1;
            return match self.leading > LEADING_CRLF_MAX_COUNT {
                true => Err(Refusal::RequestLine),
                false => Ok(false),
            };
        }
        if blank {
            return Ok(true);
        }
        self.lines += 1;
        if self.lines > HEADERS_MAX_COUNT {
            return Err(Refusal::TooManyHeaders);
        }
        self.check_headers_size().map(|()| false)
    }

    /// Header lines count with their line ends; the blank line behind them does not.
    fn check_headers_size(&self) -> Result<(), Refusal> {
        match self.seen - self.headers > HEADERS_MAX_BYTES {
            true => Err(Refusal::HeadersTooLarge),
            false => Ok(()),
        }
    }

    fn check_size(&self, buffer: &[u8]) -> Result<(), Refusal> {
        if self.headers > 0 {
            return self.check_headers_size();
        }
        let length = self.seen - self.line;
        if length <= METHOD_MAX_BYTES {
            return Ok(());
        }
        // The method is looked for once, when the line has just outgrown the longest one.
        if length == METHOD_MAX_BYTES + 1 {
            let start = buffer.get(self.line..self.seen).unwrap_or_default();
            if start.iter().all(|&byte| is_token(byte)) {
                return Err(Refusal::MethodTooLong);
            }
            // RFC 9110 section 15.6.2: 501 is for methods, and this is not one.
            if !start.contains(&b' ') {
                return Err(Refusal::RequestLine);
            }
        }
        match length > LINE_MAX_BYTES {
            true => Err(Refusal::TargetTooLong),
            false => Ok(()),
        }
    }
}

fn is_control(byte: u8) -> bool {
    byte < b' ' || byte == 0x7f
}
