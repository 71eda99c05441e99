//! A picture in overlapping tiles, or in one: what is made of each is blended with those above and to the left of it, as
//! diffusers does.

use super::config::VaeConfig;
use crate::diffusion::maps::MapSize;
use crate::error::NnError;

/// How an edge is divided. The overlap is a quarter of a tile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tiling {
    /// Of what goes in: an edge of a tile, and how far it is to the next one.
    pub(super) edge: usize,
    step: usize,
    /// Of what comes out: how much of a tile is blended with the one before, and how much of it stays.
    blend: usize,
    keep: usize,
}

/// Tiles on their way, one after another.
#[derive(Debug)]
pub(super) struct Tiles {
    tiling: Tiling,
    /// Channels last.
    input: Vec<f32>,
    size: MapSize,
    next: TilePlace,
    /// What has been made of the tiles of the row above, and of that to the left: their last rows and columns.
    above: Vec<Made>,
    left: Made,
    /// Channels first.
    output: Vec<f32>,
    output_size: MapSize,
}

/// What has been made of a tile or of a part of it, channels last.
#[derive(Clone, Debug, Default)]
struct Made {
    numbers: Vec<f32>,
    height: usize,
    width: usize,
}

#[derive(Clone, Copy, Default, Debug)]
struct TilePlace {
    row: usize,
    column: usize,
}

impl Tiling {
    /// One tile.
    pub(super) fn none() -> Self {
        Self { edge: usize::MAX, step: usize::MAX, blend: 0, keep: usize::MAX }
    }

    /// Tiles of latents.
    pub(super) fn decoding(config: &VaeConfig) -> Result<Self, NnError> {
        let (pixels, latents) = edges(config)?;
        let (blend, step) = (pixels / 4, latents / 4 * 3);
        Ok(Self { edge: latents, step, blend, keep: pixels - blend })
    }

    /// Tiles of pixels.
    pub(super) fn encoding(config: &VaeConfig) -> Result<Self, NnError> {
        let (pixels, latents) = edges(config)?;
        let (blend, step) = (latents / 4, pixels / 4 * 3);
        Ok(Self { edge: pixels, step, blend, keep: latents - blend })
    }

    /// Those where a picture does not fit one tile.
    pub(super) fn for_size(self, (height, width): (usize, usize)) -> Self {
        if height > self.edge || width > self.edge { self } else { Self::none() }
    }

    /// Whether all is one tile.
    pub(super) fn is_none(self) -> bool {
        self.step == usize::MAX
    }

    fn count(self, extent: usize) -> usize {
        extent.div_ceil(self.step)
    }

    /// Where a tile begins and how long its edge is.
    fn tile(self, number: usize, extent: usize) -> (usize, usize) {
        let start = number * self.step;
        (start, self.edge.min(extent - start))
    }

    /// What stays of an edge of so many tiles together.
    fn output_extent(self, extent: usize, made: impl Fn(usize) -> usize) -> usize {
        (0..self.count(extent)).map(|number| made(self.tile(number, extent).1).min(self.keep)).sum()
    }
}

/// A tile's edge in pixels and in latents. What stays of a tile must be what the next one is away from it.
fn edges(config: &VaeConfig) -> Result<(usize, usize), NnError> {
    let (pixels, factor) = (config.sample_size, config.factor());
    match pixels.is_multiple_of(4 * factor) {
        true => Ok((pixels, pixels / factor)),
        false => Err(NnError::InvalidCall(format!(
            "tiles of {pixels} pixels (sample_size) cannot overlap by a quarter: their edge must be a multiple of {}",
            4 * factor
        ))),
    }
}

impl Tiles {
    /// All tiles of an input, channels last; `made` says how large what is made of one is.
    pub(super) fn new(
        tiling: Tiling,
        input: Vec<f32>,
        size: MapSize,
        made: impl Fn(MapSize) -> MapSize,
    ) -> Self {
        let edge = |length: usize| made(MapSize { maps: 1, height: length, width: length }).height;
        let output_size = MapSize {
            maps: 1,
            height: tiling.output_extent(size.height, edge),
            width: tiling.output_extent(size.width, edge),
        };
        let above = vec![Made::default(); tiling.count(size.width)];
        let (next, left) = (TilePlace::default(), Made::default());
        Self { tiling, input, size, next, above, left, output: Vec::new(), output_size }
    }

    /// The next tile; the input itself where there is only one.
    pub(super) fn next(&mut self) -> (Vec<f32>, MapSize) {
        if self.tiling.is_none() {
            return (std::mem::take(&mut self.input), self.size);
        }
        let (top, height) = self.tiling.tile(self.next.row, self.size.height);
        let (left, width) = self.tiling.tile(self.next.column, self.size.width);
        let channels = self.input.len() / self.size.positions();
        let row = |row: usize| {
            let first = (row * self.size.width + left) * channels;
            &self.input[first..first + width * channels]
        };
        ((top..top + height).flat_map(row).copied().collect(), MapSize { maps: 1, height, width })
    }

    /// What has been made of that tile; true when it was the last one.
    pub(super) fn take(&mut self, numbers: Vec<f32>, size: MapSize) -> bool {
        let mut tile = Made { numbers, height: size.height, width: size.width };
        let TilePlace { row, column } = self.next;
        let blend = self.tiling.blend;
        if row > 0 {
            tile.blend_down(&self.above[column], blend);
        }
        if column > 0 {
            tile.blend_right(&self.left, blend);
        }
        self.put(&tile);
        let columns = self.above.len();
        if !self.tiling.is_none() {
            self.above[column] = tile.part(tile.height - blend.min(tile.height), 0);
            self.left = tile.part(0, tile.width - blend.min(tile.width));
        }
        self.next = match column + 1 < columns {
            true => TilePlace { row, column: column + 1 },
            false => TilePlace { row: row + 1, column: 0 },
        };
        self.next.row == self.tiling.count(self.size.height)
    }

    /// Writes what stays of a tile.
    fn put(&mut self, tile: &Made) {
        let MapSize { height, width, .. } = self.output_size;
        let channels = tile.channels();
        if self.output.is_empty() {
            self.output = vec![0.0; height * width * channels];
        }
        let (top, left) = match self.tiling.is_none() {
            true => (0, 0),
            false => (self.next.row * self.tiling.keep, self.next.column * self.tiling.keep),
        };
        let (rows, columns) = (tile.height.min(self.tiling.keep), tile.width.min(self.tiling.keep));
        for (channel, output) in self.output.chunks_exact_mut(height * width).enumerate() {
            for row in 0..rows {
                let numbers = tile.numbers[row * tile.width * channels + channel..].iter().step_by(channels);
                let output = &mut output[(top + row) * width + left..][..columns];
                output.iter_mut().zip(numbers).for_each(|(output, number)| *output = *number);
            }
        }
    }

    /// All that has been made, channels first, once every tile has been taken; and its size.
    pub(super) fn output(&self) -> (&[f32], MapSize) {
        (&self.output, self.output_size)
    }
}

impl Made {
    fn channels(&self) -> usize {
        self.numbers.len() / (self.height * self.width).max(1)
    }

    /// The first rows become those of the tile above, little by little less.
    fn blend_down(&mut self, above: &Self, blend: usize) {
        let rows = blend.min(above.height).min(self.height);
        let row_numbers = self.width * self.channels();
        let before = above.numbers[(above.height - rows) * row_numbers..].chunks_exact(row_numbers);
        for (row, (numbers, before)) in self.numbers.chunks_exact_mut(row_numbers).zip(before).enumerate() {
            mix(numbers, before, row, rows);
        }
    }

    /// The first columns likewise, of the tile to the left.
    fn blend_right(&mut self, left: &Self, blend: usize) {
        let columns = blend.min(left.width).min(self.width);
        let channels = self.channels();
        let rows = self.numbers.chunks_exact_mut(self.width * channels);
        for (numbers, left_row) in rows.zip(left.numbers.chunks_exact(left.width * channels)) {
            let before = left_row[(left.width - columns) * channels..].chunks_exact(channels);
            for (column, (numbers, before)) in numbers.chunks_exact_mut(channels).zip(before).enumerate() {
                mix(numbers, before, column, columns);
            }
        }
    }

    /// The rows and columns from these on.
    fn part(&self, top: usize, left: usize) -> Self {
        let channels = self.channels();
        let rows = self.numbers.chunks_exact(self.width * channels).skip(top);
        let numbers = rows.flat_map(|row| &row[left * channels..]).copied().collect();
        Self { numbers, height: self.height - top, width: self.width - left }
    }
}

fn mix(numbers: &mut [f32], before: &[f32], place: usize, places: usize) {
    let share = place as f64 / places as f64;
    let (share, rest) = (share as f32, (1.0 - share) as f32);
    for (number, before) in numbers.iter_mut().zip(before) {
        *number = before * rest + *number * share;
    }
}

/// `[channels, height, width]` as `[height, width, channels]`.
pub(super) fn channels_last(numbers: &[f32], channels: usize) -> Vec<f32> {
    let positions = numbers.len() / channels;
    let position = |at: usize| numbers[at..].iter().step_by(positions);
    (0..positions).flat_map(position).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TILING: Tiling = Tiling { edge: 8, step: 6, blend: 2, keep: 6 };

    fn number(row: usize, column: usize, channel: usize) -> f32 {
        (row * 1000 + column * 10 + channel) as f32
    }

    fn through(tiling: Tiling, height: usize, width: usize) -> (Tiles, usize) {
        let places = (0..height).flat_map(|row| (0..width).map(move |column| (row, column)));
        let input = places.flat_map(|(row, column)| (0..3).map(move |channel| number(row, column, channel)));
        let size = MapSize { maps: 1, height, width };
        let mut tiles = Tiles::new(tiling, input.collect(), size, |size| size);
        let mut count = 0;
        loop {
            let (numbers, size) = tiles.next();
            count += 1;
            if tiles.take(numbers, size) {
                return (tiles, count);
            }
        }
    }

    #[test]
    fn tiles_of_which_nothing_is_made_are_the_picture_again() {
        for (height, width, count) in [(8, 8, 4), (9, 20, 8), (12, 13, 6), (23, 3, 4), (1, 1, 1), (6, 6, 1)] {
            for (tiling, count) in [(TILING, count), (Tiling::none(), 1)] {
                let (tiles, found) = through(tiling, height, width);
                assert_eq!(found, count, "{height} x {width}");
                let (output, size) = tiles.output();
                assert_eq!((size.height, size.width), (height, width));
                for (at, output) in output.iter().enumerate() {
                    let wanted = number(at / width % height, at % width, at / (height * width));
                    assert!((output - wanted).abs() < 1e-2, "{output} for {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_tile_is_blended_with_the_one_before() {
        let mut tile = Made { numbers: vec![0.0; 12], height: 4, width: 3 };
        tile.blend_down(&Made { numbers: vec![8.0; 15], height: 5, width: 3 }, 4);
        assert_eq!(tile.numbers.iter().step_by(3).copied().collect::<Vec<f32>>(), [8.0, 6.0, 4.0, 2.0]);
        tile.blend_right(&Made { numbers: vec![4.0; 8], height: 4, width: 2 }, 9);
        assert_eq!(tile.numbers[..3], [4.0, 6.0, 8.0]);
        assert_eq!(tile.part(3, 1).numbers, [3.0, 2.0]);
    }

    #[test]
    fn channels_change_places() {
        assert_eq!(channels_last(&[1.0, 2.0, 3.0, 10.0, 20.0, 30.0], 2), [1.0, 10.0, 2.0, 20.0, 3.0, 30.0]);
    }
}
