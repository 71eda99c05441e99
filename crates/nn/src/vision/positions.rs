//! Learned positions of patches, and what becomes of them in pictures of another size: bicubic resampling in f32, as torch's
//! `interpolate(mode="bicubic", align_corners=False)` does it, and with `antialias=True` for towers with registers.

use std::borrow::Cow;

/// Positions of a square of patches, row by row, each of `width` numbers.
#[derive(Debug)]
pub(super) struct Positions {
    pub(super) side: usize,
    pub(super) width: usize,
    pub(super) table: Vec<f32>,
    pub(super) antialias: bool,
}

/// Where a number of one axis comes from: places and weights.
struct Tap {
    place: usize,
    weight: f32,
}

impl Positions {
    /// For a picture of so many rows and columns of patches. `square`: the picture is, in pixels.
    pub(super) fn of(&self, rows: usize, columns: usize, square: bool) -> Cow<'_, [f32]> {
        // The reference asks for the number of patches and the picture's edges, not for rows and columns.
        if rows * columns == self.side * self.side && square {
            return Cow::Borrowed(&self.table);
        }
        let (down, across) = (self.taps(rows), self.taps(columns));
        let mut positions = Vec::with_capacity(rows * columns * self.width);
        for down in &down {
            for across in &across {
                let start = positions.len();
                positions.resize(start + self.width, 0.0);
                let position = &mut positions[start..];
                for row in down {
                    for column in across {
                        let place = (row.place * self.side + column.place) * self.width;
                        let numbers = &self.table[place..place + self.width];
                        crate::vector::add_scaled(position, numbers, row.weight * column.weight);
                    }
                }
            }
        }
        Cow::Owned(positions)
    }

    /// Of each of so many places along an axis.
    fn taps(&self, places: usize) -> Vec<Vec<Tap>> {
        let scale = self.side as f32 / places as f32;
        (0..places)
            .map(
                |place| {
                    if self.antialias { self.wide_taps(place, scale) } else { self.four_taps(place, scale) }
                },
            )
            .collect()
    }

    /// The four around it; beyond the edge counts as at the edge.
    fn four_taps(&self, place: usize, scale: f32) -> Vec<Tap> {
        const SHARPNESS: f32 = -0.75;
        let source = (place as f32 + 0.5) * scale - 0.5;
        let first = source.floor();
        let last = self.side as i64 - 1;
        let tap = |offset: i64| {
            let at = (first as i64 + offset).clamp(0, last);
            Tap { place: at as usize, weight: cubic(source - first - offset as f32, SHARPNESS) }
        };
        (-1..=2).map(tap).collect()
    }

    /// All within reach, which grows where the picture shrinks; the weights add up to 1.
    fn wide_taps(&self, place: usize, scale: f32) -> Vec<Tap> {
        const SHARPNESS: f32 = -0.5;
        let (reach, shrink) = if scale >= 1.0 { (2.0 * scale, 1.0 / scale) } else { (2.0, 1.0) };
        let centre = scale * (place as f32 + 0.5);
        let first = ((centre - reach + 0.5) as i64).max(0);
        let last = ((centre + reach + 0.5) as i64).min(self.side as i64);
        let weights: Vec<f32> =
            (first..last).map(|at| cubic((at as f32 - centre + 0.5) * shrink, SHARPNESS)).collect();
        let sum: f32 = weights.iter().sum();
        let places = first as usize..;
        places.zip(weights).map(|(place, weight)| Tap { place, weight: weight / sum }).collect()
    }
}

/// The weight of what is so far away (Keys, 1981, <https://doi.org/10.1109/TASSP.1981.1163711>).
fn cubic(distance: f32, sharpness: f32) -> f32 {
    let x = distance.abs();
    if x < 1.0 {
        ((sharpness + 2.0) * x - (sharpness + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((sharpness * x - 5.0 * sharpness) * x + 8.0 * sharpness) * x - 4.0 * sharpness
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(antialias: bool) -> Positions {
        let table = (0..9).map(|n| (n * n % 7) as f32).collect();
        Positions { side: 3, width: 1, table, antialias }
    }

    #[test]
    fn a_picture_of_the_trained_size_has_the_trained_positions() {
        for antialias in [false, true] {
            let positions = positions(antialias);
            assert_eq!(positions.of(3, 3, true), positions.table);
            // The same number of patches, of a picture that is not square: sampled at the very same places.
            assert_eq!(positions.of(3, 3, false), positions.table);
            assert_eq!(positions.of(9, 1, true).len(), 9);
        }
    }

    #[test]
    fn weights_add_up_to_one() {
        for antialias in [false, true] {
            for places in [1, 2, 4, 5, 17] {
                for taps in positions(antialias).taps(places) {
                    let sum: f32 = taps.iter().map(|tap| tap.weight).sum();
                    assert!((sum - 1.0).abs() < 1e-5, "{sum} of {places}");
                }
            }
        }
    }
}
