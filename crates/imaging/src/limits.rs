//! What a picture may cost.

use crate::ImagingError;

/// The largest picture that is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most pixels. By default 64 Mi, which is more than a camera of 60 megapixels takes; decoded they are 192 MiB,
    /// and [`Header::decoding_bytes`](crate::Header::decoding_bytes) says what decoding takes besides.
    pub pixels: u64,
    /// The longest side. By default 65,535, the most that a JPEG can have: what is resized is held in windows whose
    /// memory grows with the longest side, and nobody sends a line of 64 Mi pixels but to do harm.
    pub side: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pixels: 64 << 20, side: 65_535 }
    }
}

impl Limits {
    pub(crate) fn check(&self, width: u64, height: u64) -> Result<(), ImagingError> {
        let fits = width <= u64::from(self.side)
            && height <= u64::from(self.side)
            && width.checked_mul(height).is_some_and(|pixels| pixels <= self.pixels);
        if fits {
            Ok(())
        } else {
            Err(ImagingError::TooLarge { width, height, pixels: self.pixels, side: self.side })
        }
    }
}
