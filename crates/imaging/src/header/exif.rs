//! Which way up a picture is.

use image::metadata::Orientation as Exif;

use crate::Image;

/// How a stored picture must be turned to be looked at: the value of the EXIF tag, 1 to 8. CIPA DC-008, 4.6.4.A.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Orientation(u8);

impl Default for Orientation {
    fn default() -> Self {
        Self(1)
    }
}

impl Orientation {
    /// A value outside 1 to 8 means nothing, and nothing is turned.
    pub(super) fn from_value(value: u64) -> Self {
        if (1..=8).contains(&value) { Self(value as u8) } else { Self::default() }
    }

    /// From an EXIF block, with or without the name that JPEG puts before it.
    pub(super) fn from_block(block: &[u8]) -> Option<Self> {
        let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
        Exif::from_exif_chunk(block).map(|exif| Self(exif.to_exif()))
    }

    pub(crate) fn swaps_sides(self) -> bool {
        self.0 >= 5
    }

    /// The picture the right way up.
    pub(crate) fn apply(self, stored: Image) -> Image {
        if self.0 <= 1 {
            return stored;
        }
        let (width, height) = (stored.width(), stored.height());
        let (wide, high) = if self.swaps_sides() { (height, width) } else { (width, height) };
        let mut turned = Image::filled(wide, high, [0; 3]);
        for y in 0..high {
            let row = turned.row_mut(y).as_chunks_mut::<3>().0;
            for (x, pixel) in (0..wide).zip(row) {
                let (from_x, from_y) = match self.0 {
                    2 => (width - 1 - x, y),
                    3 => (width - 1 - x, height - 1 - y),
                    4 => (x, height - 1 - y),
                    5 => (y, x),
                    6 => (y, height - 1 - x),
                    7 => (width - 1 - y, height - 1 - x),
                    _ => (width - 1 - y, x),
                };
                *pixel = stored.row(from_y).as_chunks::<3>().0[from_x as usize];
            }
        }
        turned
    }
}
