//! The steps that all processors share: resize, then crop in the middle.

use crate::resize::Canvas;
use crate::{Filter, Image, ImagingError, Window};

/// The most pixels that a tile may have. No vision tower reads a hundredth of that; without a bound, a line of pixels
/// whose shorter side is resized would fill any memory.
const MOST_PIXELS: u64 = 16 << 20;

/// What size a picture is resized to. Fields are named as in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Exact {
        height: u32,
        width: u32,
    },
    /// The longer side follows in proportion, cut to whole pixels.
    ShortestEdge {
        edge: u32,
        longest: Option<u32>,
    },
    /// As large as fits.
    Within {
        height: u32,
        width: u32,
    },
}

/// Resize and crop, each of which may be left out.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) resize: Option<(Size, Filter)>,
    /// Width and height.
    pub(super) crop: Option<(u32, u32)>,
}

impl Frame {
    /// Width and height of what a picture of this size becomes.
    pub(super) fn size(&self, width: u32, height: u32) -> Result<(u32, u32), ImagingError> {
        let (resized_width, resized_height) = self.resized(width, height)?;
        let (width, height) = self
            .crop
            .map_or((resized_width, resized_height), |(width, height)| (u64::from(width), u64::from(height)));
        if width * height > MOST_PIXELS {
            let reason = "that is more than the 16 Mi pixels that a tile may have";
            return Err(ImagingError::Size { width, height, reason });
        }
        // They are whole sides of at most that many pixels.
        Ok((width as u32, height as u32))
    }

    /// Width and height after resizing; at most 2³² each.
    fn resized(&self, width: u32, height: u32) -> Result<(u64, u64), ImagingError> {
        let Some((size, _)) = self.resize else {
            return Ok((width.into(), height.into()));
        };
        let (width, height) = size.of(width, height);
        let reason = match () {
            () if width == 0 || height == 0 => "the picture is too narrow for this processor",
            () if width.max(height) > u64::from(u32::MAX) => "the picture is too long for this processor",
            () => return Ok((width, height)),
        };
        Err(ImagingError::Size { width, height, reason })
    }

    /// The tile; of what is cropped away nothing is computed.
    pub(super) fn apply(&self, canvas: &Canvas<'_>) -> Result<Image, ImagingError> {
        let (width, height) = canvas.size();
        // Both are checked by the size.
        let (tile_width, tile_height) = self.size(width, height)?;
        let (resized_width, resized_height) = self.resized(width, height)?;
        let resized = (resized_width as u32, resized_height as u32);
        let (across, down) = (Overlap::new(resized.0, tile_width), Overlap::new(resized.1, tile_height));
        let window = Window { left: across.from, top: down.from, width: across.length, height: down.length };
        let filter = self.resize.map_or(Filter::Nearest, |(_, filter)| filter);
        let part = canvas.resized(resized, window, filter);
        if (part.width(), part.height()) == (tile_width, tile_height) {
            return Ok(part);
        }
        // What is too small for its crop is surrounded by black, before levels become numbers.
        let mut tile = Image::filled(tile_width, tile_height, [0; 3]);
        tile.place(&part, across.to, down.to);
        Ok(tile)
    }
}

/// What a crop in the middle takes along one axis, and where it puts it.
struct Overlap {
    from: u32,
    to: u32,
    length: u32,
}

impl Overlap {
    fn new(whole: u32, crop: u32) -> Self {
        if whole >= crop {
            Self { from: (whole - crop) / 2, to: 0, length: crop }
        } else {
            Self { from: 0, to: (crop - whole).div_ceil(2), length: whole }
        }
    }
}

impl Size {
    /// Width and height for a picture. Products and quotients are of doubles and cut off where the reference does so.
    fn of(self, width: u32, height: u32) -> (u64, u64) {
        let (wide, high) = (f64::from(width), f64::from(height));
        match self {
            Self::Exact { height, width } => (width.into(), height.into()),
            Self::ShortestEdge { edge, longest: None } => {
                let (short, long) = (wide.min(high), wide.max(high));
                // An integer product, then a quotient of doubles.
                let other = (f64::from(edge) * long / short) as u64;
                if width <= height { (edge.into(), other) } else { (other, edge.into()) }
            }
            Self::ShortestEdge { edge, longest: Some(longest) } => {
                let (short, long) = (wide.min(high), wide.max(high));
                let mut size = f64::from(edge);
                let mut exact = size;
                if long / short * size > f64::from(longest) {
                    exact = f64::from(longest) * short / long;
                    size = exact.round_ties_even();
                }
                if (width >= height && high == size) || (height >= width && wide == size) {
                    (width.into(), height.into())
                } else if width < height {
                    (size as u64, (exact * high / wide) as u64)
                } else {
                    ((exact * wide / high) as u64, size as u64)
                }
            }
            Self::Within { height: most_high, width: most_wide } => {
                let scale = (f64::from(most_high) / high).min(f64::from(most_wide) / wide);
                ((wide * scale) as u64, (high * scale) as u64)
            }
        }
    }
}
