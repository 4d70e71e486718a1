//! Reading from borrowed bytes and writing with lengths patched in afterwards.

use super::{Malformed, Oversized};

/// Unread bytes. Every method consumes what it returns and names the field it failed on.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns how many bytes are unread.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rest.len()
    }

    /// Tells whether everything is read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes `n` bytes.
    ///
    /// # Errors
    /// `Truncated` when fewer are left.
    pub fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(Malformed::Truncated(what))?;
        self.rest = rest;
        Ok(head)
    }

    /// Takes `N` bytes as an array.
    ///
    /// # Errors
    /// `Truncated` when fewer are left.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Malformed::Truncated(what))?;
        self.rest = rest;
        Ok(*head)
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// `Truncated` when nothing is left.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.array(what).map(u8::from_be_bytes)
    }

    /// Takes two bytes as a number.
    ///
    /// # Errors
    /// `Truncated` when fewer are left.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        self.array(what).map(u16::from_be_bytes)
    }

    /// Takes four bytes as a number.
    ///
    /// # Errors
    /// `Truncated` when fewer are left.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.array(what).map(u32::from_be_bytes)
    }

    /// Takes eight bytes as a number.
    ///
    /// # Errors
    /// `Truncated` when fewer are left.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// Takes `length` bytes, which count `already` bytes that are read, as a reader of their own.
    ///
    /// # Errors
    /// `Length` when `length` does not even hold what is read, `Truncated` when fewer are left.
    pub fn sub(&mut self, length: u16, already: usize, what: &'static str) -> Result<Self, Malformed> {
        let n = usize::from(length).checked_sub(already).ok_or(Malformed::Length(what))?;
        self.take(n, what).map(Self::new)
    }

    /// Takes everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// `Trailing` when bytes are left.
    pub const fn finish(self, what: &'static str) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Trailing(what)) }
    }
}

/// Bytes to send, growing.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

/// A place that a length is written to later.
#[derive(Debug)]
#[must_use = "a length that is not patched stays zero"]
pub struct Gap {
    at: usize,
    start: usize,
}

impl Writer {
    /// Starts empty, with room for an ordinary message.
    #[must_use]
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(512) }
    }

    /// Returns the number of bytes written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Tells whether nothing is written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes one byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Writes two bytes.
    pub fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Writes four bytes.
    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Writes eight bytes.
    pub fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// Leaves room for the 16-bit length of a structure whose first byte is at `start`.
    pub fn gap_u16(&mut self, start: usize) -> Gap {
        let at = self.bytes.len();
        self.u16(0);
        Gap { at, start }
    }

    /// Writes the length of the structure that ends here.
    ///
    /// # Errors
    /// `Oversized` when 16 bits do not hold it.
    pub fn close_u16(&mut self, gap: Gap, what: &'static str) -> Result<(), Oversized> {
        let length = u16::try_from(self.bytes.len() - gap.start).map_err(|_| Oversized(what))?;
        self.patch(gap.at, &length.to_be_bytes());
        Ok(())
    }

    /// Overwrites bytes that are already written; what lies outside them is left alone.
    pub fn patch(&mut self, at: usize, value: &[u8]) {
        for (slot, byte) in self.bytes.iter_mut().skip(at).zip(value) {
            *slot = *byte;
        }
    }

    /// Returns the bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
