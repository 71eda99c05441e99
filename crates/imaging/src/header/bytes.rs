//! Numbers out of bytes, never past their end and never without end.

use std::cell::Cell;

/// How many reads a walk over a file may still make.
///
/// A file may be made of millions of empty pieces, or of filler between them, and whoever asks for its header waits. What
/// is read one after another counts here, whatever it is, so that no format's walk can be longer.
#[derive(Debug)]
pub(super) struct Steps(Cell<u32>);

impl Steps {
    /// Four reads for each of 64 Ki pieces: a PNG of 256 MiB in the 8 KiB that most encoders write at a time has half as
    /// many, and a TIFF's directory cannot have more.
    pub(super) const MOST: u32 = 4 << 16;

    pub(super) fn new() -> Self {
        Self(Cell::new(Self::MOST))
    }

    /// Whether a walk was stopped.
    pub(super) fn are_used_up(&self) -> bool {
        self.0.get() == 0
    }

    fn take(&self) -> Option<()> {
        self.0.set(self.0.get().checked_sub(1)?);
        Some(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endian {
    Little,
    Big,
}

/// A place in a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'b> {
    bytes: &'b [u8],
    rest: &'b [u8],
    endian: Endian,
    steps: &'b Steps,
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8], endian: Endian, steps: &'b Steps) -> Self {
        Self { bytes, rest: bytes, endian, steps }
    }

    /// Other bytes, read in the same way.
    pub(super) fn of(self, bytes: &'b [u8]) -> Self {
        Self { bytes, rest: bytes, ..self }
    }

    /// The same file at another place.
    pub(super) fn at(self, place: u64) -> Option<Self> {
        let rest = self.bytes.get(usize::try_from(place).ok()?..)?;
        Some(Self { rest, ..self })
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        self.steps.take()?;
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn rest(&self) -> &'b [u8] {
        self.rest
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = *self.take(N)?.first_chunk::<N>()?;
        if self.endian == Endian::Big {
            bytes.reverse();
        }
        Some(bytes)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u24(&mut self) -> Option<u32> {
        self.array::<3>().map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
