//! LLaVA-NeXT: the picture as a whole, then in tiles of the resolution that suits it best.

use super::frame::Frame;
use crate::resize::Canvas;
use crate::{Filter, Image, ImagingError, Window};

/// The resolutions to choose from, and how a picture is cut. Sizes are (width, height) here; the configuration's pinpoints
/// are (height, width).
#[derive(Debug, Clone)]
pub(super) struct Tiles {
    resolutions: Vec<(u32, u32)>,
    base: (u32, u32),
    /// The side of a tile before the common steps.
    side: u32,
    filter: Filter,
    /// Of every tile after them.
    tile: (u32, u32),
}

impl Tiles {
    /// `None` where the tiles of some resolution would differ in size.
    pub(super) fn new(
        resolutions: Vec<(u32, u32)>,
        base: (u32, u32),
        side: u32,
        filter: Filter,
        frame: &Frame,
    ) -> Option<Self> {
        let tile = frame.size(base.0, base.1).ok()?;
        let tiles = Self { resolutions, base, side, filter, tile };
        let agree = |&resolution| {
            let mut windows = tiles.windows(resolution);
            windows.all(|window| frame.size(window.width, window.height).is_ok_and(|size| size == tile))
        };
        tiles.resolutions.iter().all(agree).then_some(tiles)
    }

    pub(super) fn tile(&self) -> (u32, u32) {
        self.tile
    }

    /// The whole picture and the tiles of a resolution.
    pub(super) fn count(&self, (width, height): (u32, u32)) -> usize {
        1 + (width.div_ceil(self.side) * height.div_ceil(self.side)) as usize
    }

    /// The one that keeps most of the picture, and of those the one that wastes least.
    pub(super) fn best_resolution(&self, width: u32, height: u32) -> (u32, u32) {
        let mut best = (self.base, 0, u64::MAX);
        for &(wide, high) in &self.resolutions {
            let scale = (f64::from(wide) / f64::from(width)).min(f64::from(high) / f64::from(height));
            let scaled = |side: u32| (f64::from(side) * scale) as u64;
            let effective = (scaled(width) * scaled(height)).min(u64::from(width) * u64::from(height));
            // What is kept can be more than there is room for by nothing but rounding, and that is not the case here:
            // both sides are cut off.
            let wasted = (u64::from(wide) * u64::from(high)).saturating_sub(effective);
            if effective > best.1 || (effective == best.1 && wasted < best.2) {
                best = ((wide, high), effective, wasted);
            }
        }
        best.0
    }

    pub(super) fn apply(&self, image: &Image, frame: &Frame) -> Result<Vec<Image>, ImagingError> {
        let resized = |(width, height)| {
            Canvas::of(image).resized((width, height), Window { left: 0, top: 0, width, height }, self.filter)
        };
        let mut tiles = vec![frame.apply(&Canvas::of(&resized(self.base)))?];
        let best = self.best_resolution(image.width(), image.height());
        let inner = fitted((image.width(), image.height()), best);
        let mut sheet = Image::filled(best.0, best.1, [0; 3]);
        sheet.place(&resized(inner), (best.0 - inner.0) / 2, (best.1 - inner.1) / 2);
        for window in self.windows(best) {
            let part = sheet.part(window.left, window.top, window.width, window.height);
            tiles.push(frame.apply(&Canvas::of(&part))?);
        }
        Ok(tiles)
    }

    /// Row by row; those at the right and lower edges are smaller where the side does not divide the resolution.
    fn windows(&self, (width, height): (u32, u32)) -> impl Iterator<Item = Window> {
        let side = self.side;
        (0..height).step_by(side as usize).flat_map(move |top| {
            (0..width).step_by(side as usize).map(move |left| Window {
                left,
                top,
                width: side.min(width - left),
                height: side.min(height - top),
            })
        })
    }
}

/// As large as fits the room, its proportions kept; what is left over of a pixel counts as one.
fn fitted((width, height): (u32, u32), (wide, high): (u32, u32)) -> (u32, u32) {
    let (across, down) = (f64::from(wide) / f64::from(width), f64::from(high) / f64::from(height));
    if across < down {
        (wide, ((f64::from(height) * across).ceil() as u32).min(high))
    } else {
        (((f64::from(width) * down).ceil() as u32).min(wide), high)
    }
}
