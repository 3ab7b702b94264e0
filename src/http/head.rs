//! Finds the end of a request head in bytes that arrive in pieces.

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

    /// Scans what `buffer` holds beyond the last call. When the head is complete, returns its
    /// length, with its leading and closing line ends.
    ///
    /// # Errors
    /// What makes the request one to refuse, whatever follows.
    pub fn scan(&mut self, buffer: &[u8]) -> Result<Option<usize>, Refusal> {
        loop {
            if !self.after_cr {
                self.skip_text(buffer)?;
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
                b'\t' if self.headers > 0 => self.check_headers_size()?,
                _ => return Err(Refusal::ControlCharacter),
            }
        }
    }

    /// Skips what is neither a line end nor a control character: of most bytes only the number
    /// matters.
    fn skip_text(&mut self, buffer: &[u8]) -> Result<(), Refusal> {
        if self.headers > 0 {
            self.seen += text_length(buffer.get(self.seen..).unwrap_or_default());
            return self.check_headers_size();
        }
        loop {
            // A request line is checked at two lengths: where its method is too long, and where the
            // line is.
            let bound = match self.seen - self.line <= METHOD_MAX_BYTES {
                true => METHOD_MAX_BYTES,
                false => LINE_MAX_BYTES,
            };
            let end = buffer.len().min(self.line + bound + 1);
            let text = buffer.get(self.seen..end).unwrap_or_default();
            let length = text_length(text);
            self.seen += length;
            self.check_line_size(buffer)?;
            if length < text.len() || self.seen == buffer.len() {
                return Ok(());
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

    fn check_line_size(&self, buffer: &[u8]) -> Result<(), Refusal> {
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

/// How many bytes stand before the first control character.
///
/// Eight bytes at a time: a subtraction borrows into the highest bit of a byte that is less than
/// what is subtracted. Bytes above the first such byte may be marked wrongly, but only the first is
/// used.
fn text_length(bytes: &[u8]) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGHEST: u64 = EACH << 7;
    let less = |word: u64, bound: u64| word.wrapping_sub(bound * EACH) & !word & HIGHEST;
    let (words, rest) = bytes.as_chunks();
    for (index, &word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(word);
        let found = less(word, 0x20) | less(word ^ (0x7f * EACH), 1);
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let control = |byte: &u8| *byte < b' ' || *byte == 0x7f;
    words.len() * 8 + rest.iter().take_while(|byte| !control(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_at_the_first_control_character_wherever_it_stands() {
        let is_text = |byte: u8| byte >= b' ' && byte != 0x7f;
        for byte in 0..=u8::MAX {
            for length in 0..20 {
                for place in 0..length {
                    for filler in [b' ', b'~', 0x80, 0xff] {
                        let mut bytes = vec![filler; length];
                        bytes[place] = byte;
                        bytes[length - 1] = if place == length - 1 { byte } else { 0x1f };
                        let expected = bytes.iter().take_while(|&&byte| is_text(byte)).count();
                        assert_eq!(text_length(&bytes), expected, "{bytes:x?}");
                    }
                }
            }
        }
    }
}
