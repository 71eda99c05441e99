//! Rotary position embeddings: frequencies from a configuration, and the rotation of queries and keys.

use std::f32::consts::PI;

use rayon::prelude::*;

use super::config::{DecoderConfig, RopeConfig, RopePairs, RopeScaling};
use crate::error::NnError;
use crate::store::TensorStore;

/// A rotary embedding, ready to rotate.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rope {
    /// Radians a position, one for each pair.
    frequencies: Vec<f32>,
    pairs: RopePairs,
    attention_factor: f32,
    head_dim: usize,
}

/// The rotations of a step's rows.
#[derive(Debug)]
pub(super) struct Rotations {
    /// For each row, cosine and sine of each pair.
    turns: Vec<(f32, f32)>,
    rows: usize,
    pairs: RopePairs,
    head_dim: usize,
}

/// What a stretched embedding is, besides its pairs.
#[derive(Debug, PartialEq)]
struct Stretched {
    frequencies: Vec<f32>,
    attention_factor: f32,
}

impl Rope {
    /// All rotary embeddings of a model.
    pub(super) fn load_all(config: &DecoderConfig, store: &dyn TensorStore) -> Result<Vec<Self>, NnError> {
        let load = |rope: &RopeConfig| {
            let stretched = match &rope.scaling {
                RopeScaling::Stored { original_context, attention_factor } => {
                    let beyond = config.context > *original_context;
                    let divisors = stored_divisors(store, rope.dims / 2, beyond)?;
                    Stretched { frequencies: divided(rope, &divisors), attention_factor: *attention_factor }
                }
                // What GGUF metadata may ask for beside the tensor.
                scaling @ (RopeScaling::Linear { .. } | RopeScaling::Yarn { .. })
                    if store.contains(STORED_FREQUENCIES) =>
                {
                    let what = format!("{STORED_FREQUENCIES} beside {scaling:?}");
                    return Err(NnError::unsupported(what, "one kind of rotary scaling at a time is"));
                }
                _ => stretched(rope, config.context),
            };
            if let Some(frequency) = stretched.frequencies.iter().find(|frequency| !frequency.is_finite()) {
                return Err(NnError::InvalidConfig(format!(
                    "the rotary base {} and its scaling give the frequency {frequency}, it must be a finite number",
                    rope.base
                )));
            }
            Ok(Self {
                frequencies: stretched.frequencies,
                attention_factor: stretched.attention_factor,
                pairs: rope.pairs,
                head_dim: config.head_dim,
            })
        };
        config.ropes.iter().map(load).collect()
    }

    /// The rotations of rows at these positions.
    pub(super) fn rotations(&self, positions: &[usize]) -> Rotations {
        let turn = |position: &usize| {
            let position = *position as f32;
            self.frequencies.iter().map(move |frequency| {
                let (sin, cos) = (position * frequency).sin_cos();
                (cos * self.attention_factor, sin * self.attention_factor)
            })
        };
        Rotations {
            turns: positions.iter().flat_map(turn).collect(),
            rows: positions.len(),
            pairs: self.pairs,
            head_dim: self.head_dim,
        }
    }
}

impl Rotations {
    /// Rotates the heads of all rows.
    pub(super) fn apply(&self, heads: &mut [f32]) {
        if self.rows == 0 {
            return;
        }
        let (width, turns) = (heads.len() / self.rows, self.turns.len() / self.rows);
        heads.par_chunks_mut(width).zip(self.turns.par_chunks(turns)).for_each(|(row, turns)| {
            row.chunks_exact_mut(self.head_dim).for_each(|head| self.rotate(head, turns));
        });
    }

    fn rotate(&self, head: &mut [f32], turns: &[(f32, f32)]) {
        let turned = |a: f32, b: f32, (cos, sin): (f32, f32)| (a * cos - b * sin, b * cos + a * sin);
        match self.pairs {
            RopePairs::Halves => {
                let (first, second) = head[..2 * turns.len()].split_at_mut(turns.len());
                for ((a, b), turn) in first.iter_mut().zip(second).zip(turns) {
                    (*a, *b) = turned(*a, *b, *turn);
                }
            }
            RopePairs::Neighbours => {
                for (pair, turn) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
                    (pair[0], pair[1]) = turned(pair[0], pair[1], *turn);
                }
            }
        }
    }
}

/// The tensor of divisors that llama.cpp's converter writes for Llama 3.1.
const STORED_FREQUENCIES: &str = "rope_freqs.weight";

fn stored_divisors(store: &dyn TensorStore, pairs: usize, beyond: bool) -> Result<Vec<f32>, NnError> {
    let by_length = if beyond { "rope_factors_long.weight" } else { "rope_factors_short.weight" };
    let Some(name) = [by_length, STORED_FREQUENCIES].into_iter().find(|name| store.contains(name)) else {
        return Ok(vec![1.0; pairs]);
    };
    let divisors = store.vector(name, pairs)?;
    match divisors.iter().find(|divisor| !(divisor.is_finite() && **divisor > 0.0)) {
        None => Ok(divisors),
        Some(divisor) => {
            let reason = format!("the tensor {name:?} holds {divisor}, all of it must be numbers above 0");
            Err(NnError::Weights(reason))
        }
    }
}

/// Frequencies as the base alone gives them.
fn plain(rope: &RopeConfig) -> Vec<f32> {
    (0..rope.dims / 2).map(|pair| 1.0 / rope.base.powf(2.0 * pair as f32 / rope.dims as f32)).collect()
}

fn divided(rope: &RopeConfig, divisors: &[f32]) -> Vec<f32> {
    plain(rope).iter().zip(divisors).map(|(frequency, divisor)| frequency / divisor).collect()
}

fn stretched(rope: &RopeConfig, context: usize) -> Stretched {
    let frequencies = match &rope.scaling {
        RopeScaling::None | RopeScaling::Stored { .. } => plain(rope),
        RopeScaling::Linear { factor } => divided(rope, &vec![*factor; rope.dims / 2]),
        RopeScaling::LongRope { short, long, original_context, .. } => {
            divided(rope, if context > *original_context { long } else { short })
        }
        RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } => {
            let smooth = Llama3 {
                factor: *factor,
                low: *low_frequency_factor,
                high: *high_frequency_factor,
                original_context: *original_context as f32,
            };
            plain(rope).into_iter().map(|frequency| smooth.stretch(frequency)).collect()
        }
        RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, truncate, .. } => {
            let bound = |turns: f32| yarn_bound(rope, *original_context, turns);
            let (low, high) = (bound(*beta_fast), bound(*beta_slow));
            let (low, high) = if *truncate { (low.floor(), high.ceil()) } else { (low, high) };
            yarn(rope, *factor, (low.max(0.0), high.min(rope.dims as f64 - 1.0)))
        }
    };
    let attention_factor = match &rope.scaling {
        RopeScaling::Yarn { attention_factor, .. } | RopeScaling::LongRope { attention_factor, .. } => {
            *attention_factor
        }
        _ => 1.0,
    };
    Stretched { frequencies, attention_factor }
}

struct Llama3 {
    factor: f32,
    low: f32,
    high: f32,
    original_context: f32,
}

impl Llama3 {
    fn stretch(&self, frequency: f32) -> f32 {
        let wavelength = 2.0 * PI / frequency;
        if wavelength < self.original_context / self.high {
            frequency
        } else if wavelength > self.original_context / self.low {
            frequency / self.factor
        } else {
            let smooth = (self.original_context / wavelength - self.low) / (self.high - self.low);
            (1.0 - smooth) * frequency / self.factor + smooth * frequency
        }
    }
}

/// The pair that makes so many turns within the original context.
fn yarn_bound(rope: &RopeConfig, original_context: usize, turns: f32) -> f64 {
    let wavelength = original_context as f64 / (f64::from(turns) * 2.0 * std::f64::consts::PI);
    rope.dims as f64 * wavelength.ln() / (2.0 * f64::from(rope.base).ln())
}

/// Pairs before `low` as they are, those behind `high` divided by the factor, a ramp between.
fn yarn(rope: &RopeConfig, factor: f32, (low, high): (f64, f64)) -> Vec<f32> {
    // As the reference has it, against a division by zero.
    let high = if low == high { high + 0.001 } else { high };
    let stretch = |(pair, frequency): (usize, f32)| {
        let divided = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0) as f32;
        frequency / factor * divided + frequency * (1.0 - divided)
    };
    plain(rope).into_iter().enumerate().map(stretch).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(scaling: RopeScaling) -> RopeConfig {
        RopeConfig { base: 10_000.0, dims: 8, pairs: RopePairs::Halves, scaling }
    }

    fn assert_near(got: &[f32], wanted: &[f32]) {
        let near = |(got, wanted): (&f32, &f32)| (got - wanted).abs() <= 1e-6 * wanted.abs();
        assert!(got.len() == wanted.len() && got.iter().zip(wanted).all(near), "{got:?} for {wanted:?}");
    }

    #[test]
    fn frequencies_fall_from_one_by_equal_factors() {
        assert_near(&stretched(&rope(RopeScaling::None), 64).frequencies, &[1.0, 0.1, 0.01, 0.001]);
        let linear = stretched(&rope(RopeScaling::Linear { factor: 4.0 }), 64);
        assert_near(&linear.frequencies, &[0.25, 0.025, 0.0025, 0.000_25]);
        assert_eq!(linear.attention_factor, 1.0);
    }

    #[test]
    fn the_context_decides_which_factors_of_longrope_hold() {
        let scaling = RopeScaling::LongRope {
            short: vec![1.0, 2.0, 1.0, 1.0],
            long: vec![4.0; 4],
            original_context: 64,
            attention_factor: 1.25,
        };
        let short = stretched(&rope(scaling.clone()), 64);
        assert_near(&short.frequencies, &[1.0, 0.05, 0.01, 0.001]);
        let long = stretched(&rope(scaling), 65);
        assert_near(&long.frequencies, &[0.25, 0.025, 0.0025, 0.000_25]);
        assert_eq!([short.attention_factor, long.attention_factor], [1.25; 2]);
    }

    #[test]
    fn yarn_leaves_fast_rotations_and_divides_slow_ones() {
        let scaling = |beta_fast, beta_slow| RopeScaling::Yarn {
            factor: 2.0,
            original_context: 100,
            beta_fast,
            beta_slow,
            truncate: true,
            attention_factor: 1.0,
        };
        let frequencies = stretched(&rope(scaling(15.0, 0.02)), 200).frequencies;
        // The bounds are the pairs 0 and 3: the ramp is 0, 1/3, 2/3, 1.
        assert_near(&frequencies, &[1.0, 0.1 * 5.0 / 6.0, 0.01 * 2.0 / 3.0, 0.0005]);
    }

    fn turned(pairs: RopePairs, head: [f32; 6]) -> [f32; 6] {
        let rope = Rope { frequencies: vec![0.0, 1.0], pairs, attention_factor: 2.0, head_dim: 6 };
        let mut heads = head.to_vec();
        rope.rotations(&[1]).apply(&mut heads);
        heads.try_into().unwrap()
    }

    #[test]
    fn pairs_turn_and_numbers_behind_them_stay() {
        let (sin, cos) = 1.0_f32.sin_cos();
        let halves = turned(RopePairs::Halves, [1.0, 3.0, 2.0, 4.0, 5.0, 6.0]);
        assert_near(
            &halves,
            &[2.0, 2.0 * (3.0 * cos - 4.0 * sin), 4.0, 2.0 * (4.0 * cos + 3.0 * sin), 5.0, 6.0],
        );
        let neighbours = turned(RopePairs::Neighbours, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_near(&neighbours, &[2.0, 4.0, halves[1], halves[3], 5.0, 6.0]);
    }

    #[test]
    fn each_row_turns_by_its_own_position() {
        let rope =
            Rope { frequencies: vec![1.0], pairs: RopePairs::Halves, attention_factor: 1.0, head_dim: 2 };
        // Two rows of two heads.
        let mut heads = vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0];
        rope.rotations(&[0, 2]).apply(&mut heads);
        let (sin, cos) = 2.0_f32.sin_cos();
        assert_eq!(heads, [1.0, 0.0, 0.0, 1.0, cos, sin, -sin, cos]);
    }
}
