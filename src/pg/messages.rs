//! Splitting what PostgreSQL sent into messages, in place.
//!
//! `postgres_protocol::message::backend::Message` owns reference-counted bytes; on the request path
//! that is an allocation for each read, so payments walk the slice instead and only the header's
//! rules are taken from there. <https://www.postgresql.org/docs/17/protocol-message-formats.html>

use postgres_protocol::message::backend::Header;

use crate::limits::PG_MESSAGE_MAX_BYTES;

/// One message: its tag and the body behind the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'b> {
    /// The first byte.
    pub tag: u8,
    /// What follows the length.
    pub body: &'b [u8],
    /// Bytes that the whole message takes.
    pub len: usize,
}

/// The bytes are no valid message, or one past the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The first message of `bytes`, or `None` while it is incomplete. One past the bound is refused by
/// its header: nothing may be reserved or read for it.
pub fn next(bytes: &[u8]) -> Result<Option<Message<'_>>, Malformed> {
    let Some(header) = Header::parse(bytes).map_err(|_| Malformed)? else {
        return Ok(None);
    };
    let len = usize::try_from(header.len()).map_err(|_| Malformed)? + 1;
    if len > PG_MESSAGE_MAX_BYTES {
        return Err(Malformed);
    }
    Ok(bytes.get(..len).map(|whole| Message {
        tag: header.tag(),
        body: whole.get(5..).unwrap_or_default(),
        len,
    }))
}

/// The columns of a DataRow, one at a time; `None` inside is SQL's NULL.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'b> {
    rest: &'b [u8],
}

impl<'b> Columns<'b> {
    /// Reads the body of a DataRow.
    pub fn new(body: &'b [u8]) -> Result<Self, Malformed> {
        Ok(Self::after_count(body.get(2..).ok_or(Malformed)?))
    }

    /// Reads what is behind a DataRow's number of columns.
    pub fn after_count(rest: &'b [u8]) -> Self {
        Self { rest }
    }

    /// The next column.
    pub fn next_column(&mut self) -> Result<Option<&'b [u8]>, Malformed> {
        let (len, rest) = self.rest.split_first_chunk::<4>().ok_or(Malformed)?;
        let len = i32::from_be_bytes(*len);
        if len == -1 {
            self.rest = rest;
            return Ok(None);
        }
        let len = usize::try_from(len).map_err(|_| Malformed)?;
        let (value, rest) = rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(Some(value))
    }

    /// The next column, which must not be NULL and has exactly `N` bytes.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let value = self.next_column()?.ok_or(Malformed)?;
        value.try_into().map_err(|_| Malformed)
    }

    /// The next column, which must be text.
    pub fn text(&mut self) -> Result<&'b str, Malformed> {
        let value = self.next_column()?.ok_or(Malformed)?;
        std::str::from_utf8(value).map_err(|_| Malformed)
    }
}
