//! Group normalisation (<https://arxiv.org/abs/1803.08494>).

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::maps::{MapSize, Part};
use crate::elementary::sigmoid;
use crate::error::NnError;
use crate::store::TensorStore;

/// Takes from a group of channels their mean over the map, divides by the standard deviation, multiplies by a weight and adds
/// a bias, one of each for a channel.
#[derive(Debug)]
pub(crate) struct GroupNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    groups: usize,
    eps: f32,
}

/// What is taken from each channel of each map, and what it is then multiplied by.
#[derive(Debug)]
pub(crate) struct GroupStatistics {
    means: Vec<f32>,
    scales: Vec<f32>,
}

/// What becomes of numbers that are normed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AfterNorm {
    Nothing,
    Silu,
}

/// Numbers that a task takes: they stay in a core's cache while they are read twice.
const TASK: usize = 16384;

impl GroupNorm {
    /// `{name}.weight` and `{name}.bias`. Channels must be a multiple of the groups.
    pub(crate) fn load(
        store: &dyn TensorStore,
        name: &str,
        channels: usize,
        groups: usize,
        eps: f32,
    ) -> Result<Self, NnError> {
        let weight = store.vector(&format!("{name}.weight"), channels)?;
        let bias = store.vector(&format!("{name}.bias"), channels)?;
        Ok(Self { weight, bias, groups, eps })
    }

    /// Whole maps, normed.
    pub(crate) fn apply(&self, numbers: &[f32], size: MapSize) -> Vec<f32> {
        let parts = [Part { numbers, channels: self.weight.len() }];
        let statistics = self.statistics(&parts, size);
        self.rows(&statistics, &parts, size, 0..size.rows(), AfterNorm::Nothing)
    }

    /// Mean and standard deviation of each group of each map.
    ///
    /// Those of a few positions are taken around their own mean and put together in double precision, so a mean far from zero
    /// costs no digits, and each number is read from memory once.
    pub(crate) fn statistics(&self, parts: &[Part<'_>], size: MapSize) -> GroupStatistics {
        let channels = self.weight.len();
        let positions = size.height * size.width;
        let block = (TASK / channels).max(1);
        let mut statistics = GroupStatistics { means: Vec::new(), scales: Vec::new() };
        for map in 0..size.maps {
            let blocks: Vec<Vec<Moments>> = (0..positions.div_ceil(block))
                .into_par_iter()
                .map(|number| {
                    let within = number * block..((number + 1) * block).min(positions);
                    let range = map * positions + within.start..map * positions + within.end;
                    Arch::new().dispatch(BlockMoments { parts, range, channels, groups: self.groups })
                })
                .collect();
            for group in 0..self.groups {
                let moments = blocks.iter().map(|block| block[group]).fold(Moments::default(), Moments::with);
                let scale = 1.0 / (moments.squares / moments.count + f64::from(self.eps)).sqrt();
                for channel in group * (channels / self.groups)..(group + 1) * (channels / self.groups) {
                    statistics.means.push(moments.mean as f32);
                    statistics.scales.push((f64::from(self.weight[channel]) * scale) as f32);
                }
            }
        }
        statistics
    }

    /// Some of the maps' rows, which are numbered through, with all channels, normed.
    pub(crate) fn rows(
        &self,
        statistics: &GroupStatistics,
        parts: &[Part<'_>],
        size: MapSize,
        rows: Range<usize>,
        after: AfterNorm,
    ) -> Vec<f32> {
        let channels = self.weight.len();
        let mut normed = vec![0.0; rows.len() * size.width * channels];
        normed.par_chunks_mut(size.width * channels).zip(rows).for_each(|(normed, row)| {
            let of_map = row / size.height * channels..(row / size.height + 1) * channels;
            Arch::new().dispatch(NormRow {
                means: &statistics.means[of_map.clone()],
                scales: &statistics.scales[of_map],
                bias: &self.bias,
                parts,
                first: row * size.width,
                after,
                normed,
            });
        });
        normed
    }
}

/// How many numbers, their mean, and the sum of the squares of their distances from it.
#[derive(Clone, Copy, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Those of both together.
    fn with(self, other: Self) -> Self {
        let count = self.count + other.count;
        let apart = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + apart * (other.count / count),
            squares: self.squares + other.squares + apart * apart * (self.count * other.count / count),
        }
    }
}

/// The moments of each group over some positions.
struct BlockMoments<'a> {
    parts: &'a [Part<'a>],
    range: Range<usize>,
    channels: usize,
    groups: usize,
}

impl WithSimd for BlockMoments<'_> {
    type Output = Vec<Moments>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<Moments> {
        let count = self.range.len() as f32;
        let mut means = vec![0.0_f32; self.channels];
        // Of the distances from these means, by which the means are then corrected.
        let mut sums = vec![0.0_f32; self.channels];
        let mut squares = vec![0.0_f32; self.channels];
        let mut first = 0;
        for part in self.parts {
            let numbers = &part.numbers[self.range.start * part.channels..self.range.end * part.channels];
            let means = &mut means[first..first + part.channels];
            let sums = &mut sums[first..first + part.channels];
            let squares = &mut squares[first..first + part.channels];
            for position in numbers.chunks_exact(part.channels) {
                means.iter_mut().zip(position).for_each(|(sum, number)| *sum += number);
            }
            means.iter_mut().for_each(|mean| *mean /= count);
            for position in numbers.chunks_exact(part.channels) {
                let each = sums.iter_mut().zip(&mut *squares).zip(position).zip(&*means);
                for (((sum, squares), number), mean) in each {
                    let apart = number - mean;
                    *sum += apart;
                    *squares += apart * apart;
                }
            }
            first += part.channels;
        }
        let count = f64::from(count);
        let moments = |channel: usize| {
            let (mean, sum) = (f64::from(means[channel]), f64::from(sums[channel]));
            let squares = (f64::from(squares[channel]) - sum * sum / count).max(0.0);
            Moments { count, mean: mean + sum / count, squares }
        };
        let size = self.channels / self.groups;
        (0..self.groups)
            .map(|group| {
                (group * size..(group + 1) * size).map(moments).fold(Moments::default(), Moments::with)
            })
            .collect()
    }
}

struct NormRow<'a> {
    means: &'a [f32],
    scales: &'a [f32],
    bias: &'a [f32],
    parts: &'a [Part<'a>],
    /// Position.
    first: usize,
    after: AfterNorm,
    normed: &'a mut [f32],
}

impl WithSimd for NormRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let channels = self.bias.len();
        let mut start = 0;
        for part in self.parts {
            let place = start..start + part.channels;
            let of_part =
                (&self.means[place.clone()], &self.scales[place.clone()], &self.bias[place.clone()]);
            let numbers = part.numbers[self.first * part.channels..].chunks_exact(part.channels);
            for (normed, numbers) in self.normed.chunks_exact_mut(channels).zip(numbers) {
                let normed = &mut normed[place.clone()];
                let each = normed.iter_mut().zip(numbers).zip(of_part.0).zip(of_part.1).zip(of_part.2);
                match self.after {
                    AfterNorm::Nothing => {
                        each.for_each(|((((normed, number), mean), scale), bias)| {
                            *normed = (number - mean) * scale + bias;
                        });
                    }
                    AfterNorm::Silu => {
                        each.for_each(|((((normed, number), mean), scale), bias)| {
                            let number = (number - mean) * scale + bias;
                            *normed = number * sigmoid(number);
                        });
                    }
                }
            }
            start += part.channels;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::conv::tests::{bits, numbers};
    use super::*;

    pub(in crate::diffusion) fn norm(channels: usize, groups: usize, eps: f32) -> GroupNorm {
        GroupNorm { weight: numbers(channels, 11), bias: numbers(channels, 12), groups, eps }
    }

    /// The definition, in double precision.
    fn exact(norm: &GroupNorm, maps: &[f32], size: MapSize, silu: bool) -> Vec<f64> {
        let (channels, group) = (norm.weight.len(), norm.weight.len() / norm.groups);
        let of_map = size.height * size.width * channels;
        let mut outputs = vec![0.0; maps.len()];
        for first in (0..maps.len()).step_by(of_map) {
            for number in 0..norm.groups {
                let places: Vec<usize> =
                    (first..first + of_map).filter(|at| at % channels / group == number).collect();
                let mean = places.iter().map(|at| f64::from(maps[*at])).sum::<f64>() / places.len() as f64;
                let squares = places.iter().map(|at| (f64::from(maps[*at]) - mean).powi(2)).sum::<f64>();
                let deviation = (squares / places.len() as f64 + f64::from(norm.eps)).sqrt();
                for at in places {
                    let (weight, bias) = (norm.weight[at % channels], norm.bias[at % channels]);
                    let normed =
                        (f64::from(maps[at]) - mean) / deviation * f64::from(weight) + f64::from(bias);
                    outputs[at] = if silu { normed / (1.0 + (-normed).exp()) } else { normed };
                }
            }
        }
        outputs
    }

    fn worst(got: &[f32], wanted: &[f64]) -> f64 {
        assert_eq!(got.len(), wanted.len());
        let each = got.iter().zip(wanted).map(|(got, wanted)| (f64::from(*got) - wanted).abs());
        each.fold(0.0, f64::max)
    }

    #[test]
    fn each_group_of_each_map_is_normed_by_itself() {
        for (channels, groups, height, width) in
            [(6, 3, 5, 7), (20, 4, 1, 1), (64, 32, 31, 19), (40, 1, 3, 2)]
        {
            let size = MapSize { maps: 2, height, width };
            let norm = norm(channels, groups, 1e-3);
            let mut maps = numbers(size.positions() * channels, 5);
            let half = maps.len() / 2;
            maps[half..].iter_mut().for_each(|number| *number = *number * 3.0 + 2.0);
            let normed = norm.apply(&maps, size);
            assert!(worst(&normed, &exact(&norm, &maps, size, false)) < 3e-6);
            let alone = norm.apply(&maps[half..], MapSize { maps: 1, ..size });
            assert_eq!(bits(&alone), bits(&normed[half..]));
            let parts = [Part::of(&maps, size)];
            let statistics = norm.statistics(&parts, size);
            let rows = height / 2..height + height.div_ceil(2);
            let silu = norm.rows(&statistics, &parts, size, rows.clone(), AfterNorm::Silu);
            let wanted = exact(&norm, &maps, size, true);
            let place = rows.start * width * channels..rows.end * width * channels;
            assert!(worst(&silu, &wanted[place]) < 3e-6);
        }
    }

    #[test]
    fn a_mean_far_from_zero_costs_no_digits() {
        let size = MapSize { maps: 1, height: 200, width: 150 };
        let norm = norm(8, 2, 1e-6);
        let maps: Vec<f32> = numbers(size.positions() * 8, 5).iter().map(|number| 1000.0 + number).collect();
        let difference = worst(&norm.apply(&maps, size), &exact(&norm, &maps, size, false));
        // The mean itself is rounded to 3e-5, which is then doubled by the scale.
        assert!(difference < 7e-5, "{difference:.1e}");
    }

    #[test]
    fn groups_may_span_two_parts() {
        let size = MapSize { maps: 2, height: 6, width: 5 };
        let norm = norm(12, 3, 1e-5);
        let maps = numbers(size.positions() * 12, 5);
        let part = |channels: Range<usize>| -> Vec<f32> {
            maps.chunks_exact(12).flat_map(|position| &position[channels.clone()]).copied().collect()
        };
        let parts = [part(0..7), part(7..12)];
        let parts = Part::all(&parts, size);
        let statistics = norm.statistics(&parts, size);
        let normed = norm.rows(&statistics, &parts, size, 0..12, AfterNorm::Nothing);
        assert_eq!(bits(&normed), bits(&norm.apply(&maps, size)));
    }

    #[test]
    fn equal_numbers_become_the_bias() {
        let size = MapSize { maps: 1, height: 3, width: 3 };
        let norm = norm(4, 2, 1e-6);
        let normed = norm.apply(&[0.1; 36], size);
        normed.chunks_exact(4).for_each(|position| assert_eq!(position, norm.bias));
    }
}
