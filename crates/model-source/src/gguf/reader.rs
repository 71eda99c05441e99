//! Little-endian values from a slice, none of which reaches past its end.

/// Where the next value is.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Bytes not read yet.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The next `length` bytes, or what is wrong, as the rest of a sentence that begins with the file's name.
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let Some(taken) = self.bytes[self.position..].get(..length) else {
            return Err(format!(
                "is truncated: its header goes on past its {} bytes; download it again",
                self.bytes.len()
            ));
        };
        self.position += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, String> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, String> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// A count or length, which cannot be more than the `smallest` bytes that each of its things takes leave room for.
    pub(super) fn count(&mut self, smallest: usize, what: &str) -> Result<usize, String> {
        let count = self.u64()?;
        match usize::try_from(count) {
            Ok(fits) if fits <= self.left() / smallest => Ok(fits),
            _ => Err(format!(
                "is truncated or damaged: its header tells of {count} {what} where {} bytes are left; download it again",
                self.left()
            )),
        }
    }

    /// A string: its length, then its bytes.
    pub(super) fn string(&mut self) -> Result<&'a [u8], String> {
        let length = self.count(1, "bytes of text")?;
        self.take(length)
    }
}
