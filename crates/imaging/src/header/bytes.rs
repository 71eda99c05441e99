//! Numbers out of bytes, never past their end.

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
}

impl<'b> Reader<'b> {
    pub(super) fn new(bytes: &'b [u8], endian: Endian) -> Self {
        Self { bytes, rest: bytes, endian }
    }

    /// The same file at another place.
    pub(super) fn at(self, place: u64) -> Option<Self> {
        let rest = self.bytes.get(usize::try_from(place).ok()?..)?;
        Some(Self { rest, ..self })
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'b [u8]> {
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
