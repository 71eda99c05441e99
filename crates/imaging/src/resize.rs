//! Resizing, bit for bit as Pillow resizes 8-bit pictures: that is what the reference processors do.
//!
//! Pillow convolves with a filter that is as wide as the reduction asks for, along rows, then along columns; since version
//! 13 columns come first where the height shrinks much more. Weights are integers of 22 bits, sums are integers, and
//! between the passes samples are rounded to 8 bits. So the result does not depend on the order of additions, and vectors
//! give the same numbers as one sample after the other.
//! <https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c>
//!
//! Only what is asked for is computed: a window of the result costs what the window costs, and rows are held only as
//! long as a row of the result needs them.

mod canvas;
mod nearest;
mod passes;
#[cfg(test)]
mod tests;
mod weights;

pub(crate) use canvas::Canvas;

use crate::{Image, ImagingError};

/// How samples between pixels are found. The numbers in `preprocessor_config.json` are Pillow's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The pixel that the centre falls into: 0.
    Nearest,
    /// Three lobes of the sine: 1.
    Lanczos3,
    /// 2.
    Bilinear,
    /// Cubic with a = -0.5: 3.
    Bicubic,
    /// The average of the pixels that are covered: 4.
    Box,
    /// As wide as bilinear, and sharper: 5.
    Hamming,
}

/// A part of a picture, in its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Columns left of it.
    pub left: u32,
    /// Rows above it.
    pub top: u32,
    /// Its columns.
    pub width: u32,
    /// Its rows.
    pub height: u32,
}

/// The picture in another size.
///
/// # Errors
///
/// [`ImagingError::Size`] where a side of the result is zero, or the result has more than 2³² samples.
pub fn resize(image: &Image, width: u32, height: u32, filter: Filter) -> Result<Image, ImagingError> {
    resize_window(image, width, height, Window { left: 0, top: 0, width, height }, filter)
}

/// A window of what [`resize`] would give, at the price of the window: the result is never larger in memory than that.
///
/// # Errors
///
/// [`ImagingError::Size`] where the window is empty, not inside `width` and `height`, or has more than 2³² samples.
pub fn resize_window(
    image: &Image,
    width: u32,
    height: u32,
    window: Window,
    filter: Filter,
) -> Result<Image, ImagingError> {
    let wrong =
        |reason| ImagingError::Size { width: window.width.into(), height: window.height.into(), reason };
    let ends_inside =
        |start: u32, length: u32, whole: u32| start.checked_add(length).is_some_and(|end| end <= whole);
    if window.width == 0 || window.height == 0 {
        return Err(wrong("a picture has at least one pixel"));
    }
    if !ends_inside(window.left, window.width, width) || !ends_inside(window.top, window.height, height) {
        return Err(wrong("that is not inside the resized picture"));
    }
    if u64::from(window.width) * u64::from(window.height) * 3 > u64::from(u32::MAX) {
        return Err(wrong("that is too large"));
    }
    Ok(Canvas::of(image).resized((width, height), window, filter))
}
