//! A matrix laid out for products with many rows, and those products.
//!
//! The outputs stand in panels of two vectors. A few rows at once meet a panel, their sums in registers; the depth is taken
//! in stretches, so that a panel's stretch stays in the nearest cache while all rows meet it. Each sum is taken in the order
//! of the depth, whatever else is computed: a row's result does not depend on the rows beside it.

use std::fmt;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Rows that meet a panel at once: with two vectors each, their sums fill the registers.
const ROWS: usize = 6;
/// Numbers of the depth that are taken at once: a panel's stretch is 16 kB where vectors are of eight numbers.
const DEPTH: usize = 256;
/// Rows of a task, at most: their stretch of the depth stays in a core's second cache, and so do their sums of a panel.
const TASK_ROWS: usize = 192;
/// Rows that each thread must have for tasks to be made of rows. Where there are fewer, tasks are made of panels.
const LEAST_ROWS: usize = 16;
/// Panels of a task, where tasks are made of panels.
const TASK_PANELS: usize = 4;

/// The matrix: `outputs` rows of `depth` numbers.
pub(crate) struct Packed {
    outputs: usize,
    depth: usize,
    /// Outputs of a panel.
    width: usize,
    /// Panel by panel: for each number of the depth, one of each output. Missing outputs of the last panel are zeros.
    panels: Vec<f32>,
}

impl Packed {
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
        Self { outputs, depth, width, panels }
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
        Self { outputs, depth, width, panels }
    }

    /// One row of `outputs` sums for each row of `inputs`, plus the bias; on all threads.
    pub(crate) fn product(&self, inputs: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let rows = inputs.len() / self.depth.max(1);
        let mut outputs = vec![0.0; rows * self.outputs];
        let threads = rayon::current_num_threads();
        if rows >= threads * LEAST_ROWS {
            let tasks = rows.div_ceil(TASK_ROWS).next_multiple_of(threads);
            let rows = rows.div_ceil(tasks);
            outputs
                .par_chunks_mut(rows * self.outputs)
                .zip(inputs.par_chunks(rows * self.depth))
                .for_each(|(outputs, inputs)| self.product_here(inputs, bias, outputs));
        } else if rows > 0 {
            self.by_panels(inputs, bias, rows, &mut outputs);
        }
        outputs
    }

    /// The same on the calling thread.
    pub(crate) fn product_here(&self, inputs: &[f32], bias: Option<&[f32]>, outputs: &mut [f32]) {
        self.panels_here(inputs, bias, 0..self.panel_count(), outputs);
    }

    /// For few rows: tasks are panels, and their columns are put together at the end.
    fn by_panels(&self, inputs: &[f32], bias: Option<&[f32]>, rows: usize, outputs: &mut [f32]) {
        let tasks: Vec<Range<usize>> = (0..self.panel_count())
            .step_by(TASK_PANELS)
            .map(|first| first..(first + TASK_PANELS).min(self.panel_count()))
            .collect();
        let columns: Vec<Vec<f32>> = tasks
            .par_iter()
            .map(|panels| {
                let mut columns = vec![0.0; rows * self.columns(panels).len()];
                self.panels_here(inputs, bias, panels.clone(), &mut columns);
                columns
            })
            .collect();
        for (panels, columns) in tasks.iter().zip(&columns) {
            let place = self.columns(panels);
            for (row, part) in outputs.chunks_exact_mut(self.outputs).zip(columns.chunks_exact(place.len())) {
                row[place.clone()].copy_from_slice(part);
            }
        }
    }

    /// The sums of some panels; rows of `outputs` have one number for each of their outputs.
    fn panels_here(&self, inputs: &[f32], bias: Option<&[f32]>, panels: Range<usize>, outputs: &mut [f32]) {
        let columns = self.columns(&panels);
        if columns.is_empty() || outputs.is_empty() {
            return;
        }
        let bias = bias.map(|bias| &bias[columns.clone()]);
        let stride = columns.len();
        Arch::new().dispatch(Products { packed: self, inputs, bias, panels, stride, outputs });
    }

    fn panel_count(&self) -> usize {
        self.outputs.div_ceil(self.width)
    }

    /// The outputs of some panels.
    fn columns(&self, panels: &Range<usize>) -> Range<usize> {
        panels.start * self.width..(panels.end * self.width).min(self.outputs)
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

struct Products<'a> {
    packed: &'a Packed,
    inputs: &'a [f32],
    bias: Option<&'a [f32]>,
    panels: Range<usize>,
    stride: usize,
    outputs: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { packed, inputs, bias, panels, stride, outputs } = self;
        let (depth, width) = (packed.depth, packed.width);
        match bias {
            Some(bias) => outputs.chunks_exact_mut(stride).for_each(|row| row.copy_from_slice(bias)),
            None => outputs.fill(0.0),
        }
        let groups = Groups::of(outputs.len() / stride);
        let mut turned = vec![0.0; groups.rows * DEPTH.min(depth)];
        for from in (0..depth).step_by(DEPTH) {
            let stretch = from..(from + DEPTH).min(depth);
            groups.turn(inputs, depth, &stretch, &mut turned);
            for (column, panel) in panels.clone().enumerate() {
                let panel =
                    &packed.panels[(panel * depth + stretch.start) * width..][..stretch.len() * width];
                let first = column * width;
                let place = first..(first + width).min(stride);
                for (row, rows) in groups.iter() {
                    let turned = &turned[row * stretch.len()..(row + rows) * stretch.len()];
                    let outputs = &mut outputs[row * stride..(row + rows) * stride];
                    let rows = outputs.chunks_exact_mut(stride).map(|row| &mut row[place.clone()]);
                    tile(simd, turned, panel, rows);
                }
            }
        }
    }
}

/// Rows, shared out evenly to groups that meet a panel at once.
struct Groups {
    rows: usize,
    groups: usize,
}

impl Groups {
    fn of(rows: usize) -> Self {
        Self { rows, groups: rows.div_ceil(ROWS) }
    }

    /// The first row of each group, and how many it has.
    #[inline(always)]
    fn iter(&self) -> impl Iterator<Item = (usize, usize)> {
        let (least, more) = (self.rows / self.groups, self.rows % self.groups);
        (0..self.groups)
            .map(move |group| (group * least + group.min(more), least + usize::from(group < more)))
    }

    /// Puts a stretch of the depth of all rows in the order in which tiles read it: of each group number by number, one of
    /// each row.
    #[inline(always)]
    fn turn(&self, inputs: &[f32], depth: usize, stretch: &Range<usize>, turned: &mut [f32]) {
        for (first, rows) in self.iter() {
            let turned = &mut turned[first * stretch.len()..(first + rows) * stretch.len()];
            for row in 0..rows {
                let numbers = &inputs[(first + row) * depth..][stretch.clone()];
                for (turned, number) in turned.chunks_exact_mut(rows).zip(numbers) {
                    turned[row] = *number;
                }
            }
        }
    }
}

/// Adds the products of a few rows with a panel to what they have so far.
#[inline(always)]
fn tile<'a, S: Simd>(
    simd: S,
    turned: &[f32],
    panel: &[f32],
    rows: impl ExactSizeIterator<Item = &'a mut [f32]>,
) {
    match rows.len() {
        6 => tile_of::<S, 6>(simd, turned, panel, rows),
        5 => tile_of::<S, 5>(simd, turned, panel, rows),
        4 => tile_of::<S, 4>(simd, turned, panel, rows),
        3 => tile_of::<S, 3>(simd, turned, panel, rows),
        2 => tile_of::<S, 2>(simd, turned, panel, rows),
        _ => tile_of::<S, 1>(simd, turned, panel, rows),
    }
}

#[inline(always)]
fn tile_of<'a, S: Simd, const R: usize>(
    simd: S,
    turned: &[f32],
    panel: &[f32],
    rows: impl Iterator<Item = &'a mut [f32]>,
) {
    let mut sums = [[simd.splat_f32s(0.0); 2]; R];
    let numbers = turned.as_chunks::<R>().0;
    let weights = S::as_simd_f32s(panel).0.as_chunks::<2>().0;
    for (numbers, [left, right]) in numbers.iter().zip(weights) {
        for (sums, number) in sums.iter_mut().zip(numbers) {
            let number = simd.splat_f32s(*number);
            sums[0] = simd.mul_add_e_f32s(number, *left, sums[0]);
            sums[1] = simd.mul_add_e_f32s(number, *right, sums[1]);
        }
    }
    for (row, sums) in rows.zip(sums) {
        // What takes parts of vectors is a call, and only the last panel may need it.
        if row.len() == 2 * S::F32_LANES {
            for (so_far, sum) in S::as_mut_simd_f32s(row).0.iter_mut().zip(sums) {
                *so_far = simd.add_f32s(*so_far, sum);
            }
        } else {
            let (left, right) = row.split_at_mut(row.len().min(S::F32_LANES));
            for (part, sum) in [left, right].into_iter().zip(sums) {
                let so_far = simd.partial_load_f32s(part);
                simd.partial_store_f32s(part, simd.add_f32s(so_far, sum));
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
