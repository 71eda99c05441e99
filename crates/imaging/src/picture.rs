//! A decoded picture.

use crate::ImagingError;

/// A picture: 8-bit red, green and blue of every pixel, rows from the top down.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Image {
    /// A picture from its samples: three a pixel, row by row from the top.
    ///
    /// # Errors
    ///
    /// [`ImagingError::Size`] where a side is zero or the samples are not as many as the sides say.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self, ImagingError> {
        let size = |reason| ImagingError::Size { width: width.into(), height: height.into(), reason };
        if width == 0 || height == 0 {
            return Err(size("a picture has at least one pixel"));
        }
        let samples = u64::from(width) * u64::from(height);
        if samples.checked_mul(3) != Some(pixels.len() as u64) {
            return Err(size("the samples are not three a pixel"));
        }
        Ok(Self { width, height, pixels })
    }

    /// A picture from the numbers of a model that draws: all reds, all greens, all blues, each row by row, from -1 to 1.
    /// What is beyond is cut off, and levels are rounded, as diffusers' `VaeImageProcessor` does.
    ///
    /// # Errors
    ///
    /// [`ImagingError::Size`] as [`new`](Self::new).
    pub fn from_planes(width: u32, height: u32, planes: &[f32]) -> Result<Self, ImagingError> {
        let count = planes.len() / 3;
        let mut pixels = vec![0; planes.len()];
        for (channel, plane) in planes.chunks(count.max(1)).enumerate().take(3) {
            for (pixel, number) in pixels.chunks_exact_mut(3).zip(plane) {
                let level = (number * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0;
                pixel[channel] = level.round_ties_even() as u8;
            }
        }
        Self::new(width, height, pixels)
    }

    /// The numbers of a model that draws, as [`from_planes`](Self::from_planes) takes them.
    pub fn planes(&self) -> Vec<f32> {
        let number = |level: u8| 2.0 * (f32::from(level) / 255.0) - 1.0;
        let channel =
            |channel: usize| self.pixels.iter().skip(channel).step_by(3).map(|level| number(*level));
        (0..3).flat_map(channel).collect()
    }

    /// A picture of one colour, for sizes known to be at least one and to fit in memory.
    pub(crate) fn filled(width: u32, height: u32, colour: [u8; 3]) -> Self {
        let count = width as usize * height as usize;
        let pixels = if colour == [0; 3] { vec![0; count * 3] } else { colour.repeat(count) };
        Self { width, height, pixels }
    }

    /// Pixels in a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// All samples: three a pixel, row by row from the top.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The samples of one row, counted from the top.
    pub(crate) fn row(&self, row: u32) -> &[u8] {
        let stride = self.width as usize * 3;
        &self.pixels[row as usize * stride..][..stride]
    }

    pub(crate) fn row_mut(&mut self, row: u32) -> &mut [u8] {
        let stride = self.width as usize * 3;
        &mut self.pixels[row as usize * stride..][..stride]
    }

    pub(crate) fn samples_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// A copy of a part, which must lie inside.
    pub(crate) fn part(&self, left: u32, top: u32, width: u32, height: u32) -> Self {
        let (start, length) = (left as usize * 3, width as usize * 3);
        let rows = (top..top + height).flat_map(|row| &self.row(row)[start..start + length]);
        Self { width, height, pixels: rows.copied().collect() }
    }

    /// Puts `other` down with its top left corner here; it must fit.
    pub(crate) fn place(&mut self, other: &Self, left: u32, top: u32) {
        let (start, length) = (left as usize * 3, other.width as usize * 3);
        for row in 0..other.height {
            self.row_mut(top + row)[start..start + length].copy_from_slice(other.row(row));
        }
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Image({}x{})", self.width, self.height)
    }
}
