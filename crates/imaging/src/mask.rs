//! Which pixels of a picture are to be drawn anew.

use crate::{Filter, Image, ImagingError, resize};

/// Which pixels of a picture are to be drawn anew: the white ones of a mask.
#[derive(Clone, PartialEq, Eq)]
pub struct Mask {
    width: u32,
    height: u32,
    drawn: Vec<bool>,
}

impl Mask {
    /// A mask of this size from a picture of any, as diffusers' `VaeImageProcessor` makes it: resized, grey, and what is at
    /// least half as bright as white is drawn anew.
    ///
    /// # Errors
    ///
    /// As [`resize`].
    pub fn new(image: &Image, width: u32, height: u32) -> Result<Self, ImagingError> {
        let resized = resize(image, width, height, Filter::Lanczos3)?;
        let pixels = resized.pixels().as_chunks::<3>().0.iter();
        Ok(Self { width, height, drawn: pixels.map(|pixel| grey(*pixel) >= 128).collect() })
    }

    /// Pixels in a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Whether each pixel is drawn anew, row by row from the top.
    pub fn drawn(&self) -> &[bool] {
        &self.drawn
    }

    /// One number for each square of so many pixels a side, 1 where it is drawn anew and 0 where not: that of its top left
    /// pixel. What is left over at the right and the bottom is left out.
    ///
    /// # Panics
    ///
    /// Where the side is 0.
    pub fn squares(&self, side: usize) -> Vec<f32> {
        let (width, height) = (self.width as usize, self.height as usize);
        let rows = (0..height / side).map(|row| row * side * width);
        rows.flat_map(|row| (0..width / side).map(move |column| row + column * side))
            .map(|place| f32::from(u8::from(self.drawn[place])))
            .collect()
    }
}

/// Pillow's grey of a colour.
fn grey([red, green, blue]: [u8; 3]) -> u8 {
    let sum = 19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue);
    ((sum + 0x8000) >> 16) as u8
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let drawn = self.drawn.iter().filter(|drawn| **drawn).count();
        write!(f, "Mask({}x{}, {drawn} drawn)", self.width, self.height)
    }
}
