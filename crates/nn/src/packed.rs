//! A matrix laid out for products with many rows, and those products.
//!
//! The outputs stand in panels of two vectors. A few rows at once meet a panel, their sums in registers; the depth is taken
//! in stretches, so that a panel's stretch stays in the nearest cache while all rows meet it. Each sum is taken in the order
//! of the depth, whatever else is computed: a row's result does not depend on the rows beside it.

mod products;

use std::fmt;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

pub(crate) use self::products::{Runs, ScatteredRows};

/// The matrix: `outputs` rows of `depth` numbers.
pub(crate) struct Packed {
    outputs: usize,
    depth: usize,
    /// Outputs of a panel.
    width: usize,
    /// Panel by panel: for each number of the depth, one of each output. Missing outputs of the last panel are zeros.
    panels: Vec<f32>,
    /// A row has all its numbers in one place.
    runs: Runs,
}

/// Rows one after another.
struct Rows<'a> {
    numbers: &'a [f32],
    depth: usize,
}

impl ScatteredRows for Rows<'_> {
    type Place = usize;

    fn place(&self, row: usize) -> usize {
        row
    }

    fn run(&self, row: usize, _: usize) -> &[f32] {
        &self.numbers[row * self.depth..][..self.depth]
    }
}

impl Packed {
    /// Numbers that a matrix takes.
    pub(crate) fn numbers(outputs: usize, depth: usize) -> usize {
        outputs.next_multiple_of(Arch::new().dispatch(PanelWidth)) * depth
    }

    /// Of rows of `depth` numbers, one for each output.
    pub(crate) fn of_rows(rows: &[f32], depth: usize) -> Self {
        let outputs = rows.len() / depth.max(1);
        let width = Arch::new().dispatch(PanelWidth);
        let mut panels = vec![0.0; outputs.div_ceil(width) * width * depth];
        let each = panels.chunks_mut((width * depth).max(1)).zip(rows.chunks((width * depth).max(1)));
        for (panel, rows) in each {
            for (output, row) in rows.chunks_exact(depth).enumerate() {
                for (numbers, number) in panel.chunks_exact_mut(width).zip(row) {
                    numbers[output] = *number;
                }
            }
        }
        Self { outputs, depth, width, panels, runs: Runs::of([depth]) }
    }

    /// Of columns: for each number of the depth, a row with one number for each output.
    pub(crate) fn of_columns(columns: &[f32], outputs: usize) -> Self {
        let depth = columns.len() / outputs.max(1);
        let width = Arch::new().dispatch(PanelWidth);
        let mut panels = vec![0.0; outputs.div_ceil(width) * width * depth];
        for (number, panel) in panels.chunks_mut((width * depth).max(1)).enumerate() {
            let first = number * width;
            let wide = width.min(outputs - first);
            for (numbers, row) in panel.chunks_exact_mut(width).zip(columns.chunks_exact(outputs)) {
                numbers[..wide].copy_from_slice(&row[first..first + wide]);
            }
        }
        Self { outputs, depth, width, panels, runs: Runs::of([depth]) }
    }

    /// One row of `outputs` sums for each row of `inputs`, plus the bias; on all threads.
    pub(crate) fn product(&self, inputs: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let rows = inputs.len() / self.depth.max(1);
        let mut outputs = vec![0.0; rows * self.outputs];
        let inputs = Rows { numbers: inputs, depth: self.depth };
        self.add_products(&inputs, &self.runs, 0, &begin_with(bias), &mut outputs);
        outputs
    }

    /// The same on the calling thread.
    pub(crate) fn product_here(&self, inputs: &[f32], bias: Option<&[f32]>, outputs: &mut [f32]) {
        let inputs = Rows { numbers: inputs, depth: self.depth };
        self.add_products_here(&inputs, &self.runs, 0, &begin_with(bias), outputs);
    }

    /// The same, added to what the outputs have so far.
    pub(crate) fn add_product_here(&self, inputs: &[f32], outputs: &mut [f32]) {
        let inputs = Rows { numbers: inputs, depth: self.depth };
        self.add_products_here(&inputs, &self.runs, 0, &|_, _, _| {}, outputs);
    }
}

/// The bias, where there is one.
fn begin_with(bias: Option<&[f32]>) -> impl Fn(usize, Range<usize>, &mut [f32]) + Sync {
    move |_, columns, outputs| match bias {
        Some(bias) => outputs.copy_from_slice(&bias[columns]),
        None => outputs.fill(0.0),
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed({} x {})", self.outputs, self.depth)
    }
}

/// How many outputs a panel has with this processor's vectors.
struct PanelWidth;

impl WithSimd for PanelWidth {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        2 * S::F32_LANES
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

    fn bits(numbers: &[f32]) -> Vec<u32> {
        numbers.iter().map(|number| number.to_bits()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn products_are_right_to_rounding_and_those_of_each_row_alone(
            outputs in 1_usize..70,
            rows in prop_oneof![1_usize..14, 30_usize..80, Just(401)],
            depth in prop_oneof![1_usize..40, 250_usize..262, Just(600)],
            biased: bool,
            seed: u32,
        ) {
            let (weights, inputs) = (numbers(outputs * depth, seed), numbers(rows * depth, !seed));
            let bias = biased.then(|| numbers(outputs, seed ^ 99));
            let packed = Packed::of_rows(&weights, depth);
            let together = packed.product(&inputs, bias.as_deref());
            prop_assert_eq!(together.len(), rows * outputs);
            for row in 0..rows {
                let inputs = &inputs[row * depth..][..depth];
                prop_assert_eq!(
                    bits(&packed.product(inputs, bias.as_deref())), bits(&together[row * outputs..][..outputs])
                );
                for output in 0..outputs {
                    let start = bias.as_ref().map_or(0.0, |bias| f64::from(bias[output]));
                    let pairs = inputs.iter().zip(&weights[output * depth..][..depth]);
                    let exact: f64 = start + pairs.clone().map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
                    let size: f64 = start.abs() + pairs.map(|(a, b)| f64::from((a * b).abs())).sum::<f64>();
                    let got = f64::from(together[row * outputs + output]);
                    prop_assert!((got - exact).abs() <= 2e-6 * size + 1e-30, "{got} for {exact}");
                }
            }
        }

        #[test]
        fn columns_are_rows_turned_round(outputs in 1_usize..70, depth in 1_usize..40, seed: u32) {
            let rows = numbers(outputs * depth, seed);
            let columns: Vec<f32> =
                (0..depth).flat_map(|n| (0..outputs).map(move |output| (output, n))).map(|(o, n)| rows[o * depth + n]).collect();
            let (of_rows, of_columns) = (Packed::of_rows(&rows, depth), Packed::of_columns(&columns, outputs));
            prop_assert_eq!(bits(&of_rows.panels), bits(&of_columns.panels));
            prop_assert_eq!((of_rows.outputs, of_rows.depth), (of_columns.outputs, of_columns.depth));
        }
    }

    #[test]
    fn no_rows_have_no_result() {
        assert!(Packed::of_rows(&[1.0, 2.0], 2).product(&[], Some(&[1.0])).is_empty());
    }
}
