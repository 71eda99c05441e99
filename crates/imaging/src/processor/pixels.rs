//! From levels to the numbers that a vision tower reads.

use std::sync::Arc;

use super::Layout;
use crate::Image;

/// The number of each level, for each channel.
pub(super) type Table = [[f32; 256]; 3];

/// `(level * factor - mean) / deviation`, each of which may be left out. The product is one of doubles and rounded to
/// `f32`, the rest is computed in `f32`, as the reference does.
pub(super) fn table(factor: Option<f64>, normalise: Option<([f64; 3], [f64; 3])>) -> Table {
    std::array::from_fn(|channel| {
        std::array::from_fn(|level| {
            let value = factor.map_or(level as f32, |factor| (level as f64 * factor) as f32);
            normalise
                .map_or(value, |(mean, deviation)| (value - mean[channel] as f32) / deviation[channel] as f32)
        })
    })
}

/// The tiles of one picture: what the reference calls `pixel_values`.
#[derive(Debug, Clone)]
pub struct PixelValues {
    layout: Layout,
    tiles: Vec<Image>,
    table: Arc<Table>,
}

impl PixelValues {
    pub(super) fn new(layout: Layout, tiles: Vec<Image>, table: Arc<Table>) -> Self {
        Self { layout, tiles, table }
    }

    /// How many tiles there are, and of which size.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The numbers of one tile, counted from 0: all reds, all greens, all blues, each row by row.
    ///
    /// # Panics
    ///
    /// Where there is no such tile.
    pub fn tile(&self, index: usize) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.tiles[index].pixels().len());
        self.append(index, &mut values);
        values
    }

    /// The numbers of all tiles, one after the other.
    pub fn values(&self) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.tiles.iter().map(|tile| tile.pixels().len()).sum());
        for index in 0..self.tiles.len() {
            self.append(index, &mut values);
        }
        values
    }

    /// Memory that the tiles take as they are kept, a byte for each number.
    pub fn bytes(&self) -> usize {
        self.tiles.iter().map(|tile| tile.pixels().len()).sum()
    }

    fn append(&self, index: usize, values: &mut Vec<f32>) {
        let pixels = self.tiles[index].pixels().as_chunks::<3>().0;
        for (channel, numbers) in self.table.iter().enumerate() {
            values.extend(pixels.iter().map(|pixel| numbers[usize::from(pixel[channel])]));
        }
    }
}
