//! Rows of activations times rows of weights: each sum in the same order, however many rows there are.

use pulp::{Arch, Simd, WithSimd};

/// Activations that meet the same weights while these are in registers, and weights that meet the same activations: twelve
/// sums, whose additions hide each other's latency, and seven loads for them.
const ROWS: usize = 4;
const COLUMNS: usize = 3;
/// Weights that a lone row meets at once.
const LONE_COLUMNS: usize = 8;

/// Writes each row of `weights` times each row of `inputs`, rows of `depth` numbers: all products of the first row of weights
/// first.
pub(crate) fn products(weights: &[f32], inputs: &[f32], depth: usize, columns: &mut [f32]) {
    let rows = inputs.len() / depth;
    Arch::new().dispatch(Products { weights, inputs, depth, rows, columns });
}

struct Products<'a> {
    weights: &'a [f32],
    inputs: &'a [f32],
    depth: usize,
    rows: usize,
    columns: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut row = 0;
        while row + ROWS <= self.rows {
            self.band::<S, ROWS, COLUMNS>(simd, row);
            row += ROWS;
        }
        while row < self.rows {
            self.band::<S, 1, LONE_COLUMNS>(simd, row);
            row += 1;
        }
    }
}

impl Products<'_> {
    /// The products of some rows with all weights.
    #[inline(always)]
    fn band<S: Simd, const R: usize, const C: usize>(&mut self, simd: S, row: usize) {
        let outputs = self.columns.len() / self.rows;
        let mut output = 0;
        while output + C <= outputs {
            self.block::<S, R, C>(simd, row, output);
            output += C;
        }
        while output < outputs {
            self.block::<S, R, 1>(simd, row, output);
            output += 1;
        }
    }

    #[inline(always)]
    fn block<S: Simd, const R: usize, const C: usize>(&mut self, simd: S, row: usize, output: usize) {
        let depth = self.depth;
        let inputs: [_; R] =
            std::array::from_fn(|at| S::as_simd_f32s(&self.inputs[(row + at) * depth..][..depth]));
        let weights: [_; C] =
            std::array::from_fn(|at| S::as_simd_f32s(&self.weights[(output + at) * depth..][..depth]));
        let length = weights[0].0.len();
        let wide_inputs: [&[S::f32s]; R] = std::array::from_fn(|at| &inputs[at].0[..length]);
        let wide_weights: [&[S::f32s]; C] = std::array::from_fn(|at| &weights[at].0[..length]);
        let mut sums = [[simd.splat_f32s(0.0); C]; R];
        for at in 0..length {
            let inputs: [S::f32s; R] = std::array::from_fn(|row| wide_inputs[row][at]);
            for (column, weights) in wide_weights.iter().enumerate() {
                let weights = weights[at];
                for (sums, input) in sums.iter_mut().zip(inputs) {
                    sums[column] = simd.mul_add_e_f32s(input, weights, sums[column]);
                }
            }
        }
        for (at, sums) in sums.into_iter().enumerate() {
            for (column, sum) in sums.into_iter().enumerate() {
                let rest = inputs[at].1.iter().zip(weights[column].1).map(|(input, weight)| input * weight);
                let sum = rest.fold(simd.reduce_sum_f32s(sum), |sum, product| sum + product);
                self.columns[(output + column) * self.rows + row + at] = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let number =
            |n: usize| ((n as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 8e6 - 1.0;
        (0..count).map(number).collect()
    }

    proptest! {
        #[test]
        fn products_are_right_to_rounding_and_those_of_each_row_alone(
            outputs in 1_usize..20, rows in 1_usize..12, depth in 1_usize..70, seed: u32,
        ) {
            let (weights, inputs) = (numbers(outputs * depth, seed), numbers(rows * depth, !seed));
            let mut together = vec![f32::NAN; outputs * rows];
            products(&weights, &inputs, depth, &mut together);
            for row in 0..rows {
                let inputs = &inputs[row * depth..][..depth];
                let mut alone = vec![f32::NAN; outputs];
                products(&weights, inputs, depth, &mut alone);
                for output in 0..outputs {
                    let pairs = inputs.iter().zip(&weights[output * depth..][..depth]);
                    let exact: f64 = pairs.clone().map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    let size: f64 = pairs.map(|(a, b)| f64::from((a * b).abs())).sum();
                    let got = together[output * rows + row];
                    prop_assert_eq!(got.to_bits(), alone[output].to_bits());
                    prop_assert!((f64::from(got) - exact).abs() <= 1e-5 * size + 1e-30, "{} for {}", got, exact);
                }
            }
        }
    }
}
