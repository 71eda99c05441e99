//! How a picture's tiles become rows of the language model: sizes alone, without a pixel.
//!
//! LLaVA-NeXT shows the tower a picture as a whole, and cut into tiles of its best resolution. The tiles' patches are laid out
//! as one grid, what only pads the picture is taken off, and behind each row of the grid comes a newline.
//!
//! The reference: `LlavaNextModel.pack_image_features` and `unpad_image` of transformers.

use std::ops::Range;

/// Height and width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size {
    pub(crate) height: usize,
    pub(crate) width: usize,
}

/// What stands at a position of the language model in a picture's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Row {
    /// A row of the tower's, counted over all tiles, the whole picture's first.
    Feature(usize),
    /// The end of a row of the grid.
    Newline,
}

/// The patches of a picture's tiles, and which of them show the picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Grid {
    /// Patches along a side of a tile.
    side: usize,
    /// Tiles beside each other.
    across: usize,
    /// Rows of patches that are not padding.
    down_shown: Range<usize>,
    /// Columns of patches that are not padding.
    across_shown: Range<usize>,
}

impl Grid {
    /// The grid of a picture whose tiles, so many patches a side, make up a resolution of so many tiles down and across.
    pub(crate) fn new(picture: Size, tiles: Size, side: usize) -> Self {
        let all = Size { height: tiles.height * side, width: tiles.width * side };
        let aspect = |size: Size| size.width as f64 / size.height as f64;
        let mut shown = (0..all.height, 0..all.width);
        // Divisions before products, as the reference does them: what is rounded off here decides.
        if aspect(picture) > aspect(all) {
            let scale = all.width as f64 / picture.width as f64;
            shown.0 = centred(all.height, floor(picture.height as f64 * scale));
        } else {
            let scale = all.height as f64 / picture.height as f64;
            shown.1 = centred(all.width, floor(picture.width as f64 * scale));
        }
        Self { side, across: tiles.width, down_shown: shown.0, across_shown: shown.1 }
    }

    /// How many rows the picture takes.
    pub(crate) fn rows(&self) -> usize {
        self.side * self.side + self.down_shown.len() * (self.across_shown.len() + 1)
    }

    /// The rows in order.
    pub(crate) fn order(&self) -> impl Iterator<Item = Row> + '_ {
        let whole = (0..self.side * self.side).map(Row::Feature);
        let tiled = self.down_shown.clone().flat_map(move |down| {
            let patches =
                self.across_shown.clone().map(move |across| Row::Feature(self.feature(down, across)));
            patches.chain([Row::Newline])
        });
        whole.chain(tiled)
    }

    /// Where the tower has the patch at a place of the grid.
    fn feature(&self, down: usize, across: usize) -> usize {
        let tile = 1 + down / self.side * self.across + across / self.side;
        (tile * self.side + down % self.side) * self.side + across % self.side
    }
}

/// So many of all, in the middle; one more where that does not come out even.
fn centred(all: usize, shown: usize) -> Range<usize> {
    let padding = all.saturating_sub(shown) / 2;
    padding..all - padding
}

/// The whole part of a positive number that has been rounded to seven decimals: a hair below a whole number counts as that.
fn floor(number: f64) -> usize {
    let decimals = format!("{number:.7}");
    decimals.split('.').next().and_then(|whole| whole.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const COUNTS: &str = include_str!("../tests/fixtures/llava/counts.json");

    #[test]
    fn rows_and_their_order_are_the_references_for_pictures_of_many_sizes() {
        let grids: Value = serde_json::from_str(COUNTS).unwrap();
        let mut sizes = 0;
        for grid in grids.as_array().unwrap() {
            let number = |name: &str| grid[name].as_u64().unwrap() as usize;
            let (tile, side) = (number("side"), number("side") / number("patch"));
            for row in grid["sizes"].as_array().unwrap() {
                let row: Vec<usize> = serde_json::from_value(row.clone()).unwrap();
                let [height, width, best_height, best_width, rows, check] = row[..] else {
                    panic!("{row:?}")
                };
                let tiles = Size { height: best_height / tile, width: best_width / tile };
                let grid = Grid::new(Size { height, width }, tiles, side);
                assert_eq!(grid.rows(), rows, "{height}x{width}");
                let mut sum = 0;
                for (index, row) in grid.order().enumerate() {
                    let value = match row {
                        Row::Feature(feature) => feature + 2,
                        Row::Newline => 1,
                    };
                    sum += (index + 1) * value;
                }
                assert_eq!(sum % 1_000_003, check, "{height}x{width}");
                assert_eq!(grid.order().count(), rows);
                sizes += 1;
            }
        }
        assert!(sizes > 350, "{sizes} sizes");
    }

    #[test]
    fn a_hair_below_a_whole_number_counts_as_that() {
        assert_eq!(floor(11.999_999_97), 12);
        assert_eq!(floor(11.999_999_2), 11);
        assert_eq!(floor(0.024), 0);
    }
}
