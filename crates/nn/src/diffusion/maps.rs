//! Feature maps: how many, how large, and where their numbers are.

use std::ops::Range;

/// How many maps of one size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MapSize {
    pub(crate) maps: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
}

impl MapSize {
    pub(crate) fn positions(self) -> usize {
        self.rows() * self.width
    }

    /// Numbers of so many channels.
    pub(crate) fn numbers(self, channels: usize) -> u64 {
        (self.positions() as u64).saturating_mul(channels as u64)
    }

    /// Rows of all maps, which are numbered through.
    pub(crate) fn rows(self) -> usize {
        self.maps * self.height
    }

    /// The rows that those in the range see of their maps, so many above and below.
    pub(crate) fn around(self, rows: &Range<usize>, reach: usize) -> Range<usize> {
        let top = rows.start - (rows.start % self.height).min(reach);
        let below = self.height - 1 - (rows.end - 1) % self.height;
        top..rows.end + below.min(reach)
    }
}

/// Some of the channels of maps, those of a position one after another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    pub(crate) numbers: &'a [f32],
    pub(crate) channels: usize,
}

impl<'a> Part<'a> {
    /// Of all positions.
    pub(crate) fn of(numbers: &'a [f32], size: MapSize) -> Self {
        Self { numbers, channels: numbers.len() / size.positions() }
    }

    /// Whatever comes in parts.
    pub(crate) fn all(parts: &'a [Vec<f32>], size: MapSize) -> Vec<Self> {
        parts.iter().map(|numbers| Self::of(numbers, size)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_see_their_own_map_only() {
        let size = MapSize { maps: 3, height: 4, width: 5 };
        assert_eq!((size.rows(), size.positions()), (12, 60));
        for (rows, reach, wanted) in [
            (0..12, 1, 0..12),
            (0..2, 1, 0..3),
            (5..6, 1, 4..7),
            (4..7, 2, 4..8),
            (3..9, 1, 2..10),
            (8..9, 3, 8..12),
        ] {
            assert_eq!(size.around(&rows, reach), wanted, "{rows:?}");
        }
    }
}
