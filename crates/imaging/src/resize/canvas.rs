//! A picture on a larger sheet of one colour, which is never made.

use super::{Filter, Window, nearest, passes};
use crate::Image;

/// A picture and what surrounds it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Canvas<'i> {
    image: &'i Image,
    width: u32,
    height: u32,
    left: u32,
    top: u32,
    fill: [u8; 3],
}

impl<'i> Canvas<'i> {
    /// Nothing around it.
    pub(crate) fn of(image: &'i Image) -> Self {
        Self { image, width: image.width(), height: image.height(), left: 0, top: 0, fill: [0; 3] }
    }

    /// In the middle of a square as large as the longer side, the odd row or column after it.
    pub(crate) fn squared(image: &'i Image, fill: [u8; 3]) -> Self {
        let side = image.width().max(image.height());
        let (left, top) = ((side - image.width()) / 2, (side - image.height()) / 2);
        Self { image, width: side, height: side, left, top, fill }
    }

    pub(crate) fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Whether a row shows nothing of the picture.
    pub(super) fn is_blank(&self, row: u32) -> bool {
        row < self.top || row >= self.top + self.image.height()
    }

    /// The samples of a row; `scratch` holds them where they are not the picture's own.
    pub(super) fn row<'s>(&'s self, row: u32, scratch: &'s mut Vec<u8>) -> &'s [u8] {
        if self.width == self.image.width() && !self.is_blank(row) {
            return self.image.row(row - self.top);
        }
        scratch.clear();
        scratch.extend(self.fill.iter().cycle().take(self.width as usize * 3));
        if !self.is_blank(row) {
            let own = self.image.row(row - self.top);
            scratch[self.left as usize * 3..][..own.len()].copy_from_slice(own);
        }
        scratch
    }

    /// A window, which lies inside, of the whole sheet in another size.
    pub(crate) fn resized(&self, size: (u32, u32), window: Window, filter: Filter) -> Image {
        match filter {
            Filter::Nearest => nearest::resized(self, size, window),
            _ => passes::resized(self, size, window, filter),
        }
    }
}
