//! Rows of activations times rows of weights: each sum in the same order, however many rows there are.

use crate::vector::wide;

/// Sums that one product is gathered in: a register of eight.
const LANES: usize = 8;

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
    match pulp::Arch::new() {
        // Without an instruction for it, a fused product is a call.
        pulp::Arch::Scalar => in_blocks::<false>(weights, inputs, depth, rows, columns),
        _ => wide(
            #[inline(always)]
            || in_blocks::<true>(weights, inputs, depth, rows, columns),
        ),
    }
}

#[inline(always)]
fn in_blocks<const FUSED: bool>(
    weights: &[f32],
    inputs: &[f32],
    depth: usize,
    rows: usize,
    columns: &mut [f32],
) {
    let outputs = weights.len() / depth;
    let mut row = 0;
    while row + ROWS <= rows {
        let mut output = 0;
        while output + COLUMNS <= outputs {
            block::<ROWS, COLUMNS, FUSED>(weights, inputs, depth, rows, (row, output), columns);
            output += COLUMNS;
        }
        while output < outputs {
            block::<ROWS, 1, FUSED>(weights, inputs, depth, rows, (row, output), columns);
            output += 1;
        }
        row += ROWS;
    }
    while row < rows {
        let mut output = 0;
        while output + LONE_COLUMNS <= outputs {
            block::<1, LONE_COLUMNS, FUSED>(weights, inputs, depth, rows, (row, output), columns);
            output += LONE_COLUMNS;
        }
        while output < outputs {
            block::<1, 1, FUSED>(weights, inputs, depth, rows, (row, output), columns);
            output += 1;
        }
        row += 1;
    }
}

/// The products of some rows from the first on.
#[inline(always)]
fn block<const R: usize, const C: usize, const FUSED: bool>(
    weights: &[f32],
    inputs: &[f32],
    depth: usize,
    rows: usize,
    first: (usize, usize),
    columns: &mut [f32],
) {
    let inputs: [&[f32]; R] = std::array::from_fn(|row| &inputs[(first.0 + row) * depth..][..depth]);
    let weights: [&[f32]; C] = std::array::from_fn(|column| &weights[(first.1 + column) * depth..][..depth]);
    let mut sums = [[[0.0_f32; LANES]; C]; R];
    let whole = depth / LANES * LANES;
    for at in (0..whole).step_by(LANES) {
        let inputs: [[f32; LANES]; R] = std::array::from_fn(|row| lanes(&inputs[row][at..at + LANES]));
        for column in 0..C {
            let weights = lanes(&weights[column][at..at + LANES]);
            for row in 0..R {
                for lane in 0..LANES {
                    let sum = &mut sums[row][column][lane];
                    *sum = match FUSED {
                        true => inputs[row][lane].mul_add(weights[lane], *sum),
                        false => *sum + inputs[row][lane] * weights[lane],
                    };
                }
            }
        }
    }
    for row in 0..R {
        for column in 0..C {
            let sums = &mut sums[row][column];
            for at in whole..depth {
                sums[at - whole] += inputs[row][at] * weights[column][at];
            }
            let mut width = LANES / 2;
            while width > 0 {
                for lane in 0..width {
                    sums[lane] += sums[lane + width];
                }
                width /= 2;
            }
            columns[(first.1 + column) * rows + first.0 + row] = sums[0];
        }
    }
}

#[inline(always)]
fn lanes(numbers: &[f32]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    lanes.copy_from_slice(numbers);
    lanes
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
            let mut unfused = vec![f32::NAN; outputs * rows];
            in_blocks::<false>(&weights, &inputs, depth, rows, &mut unfused);
            for row in 0..rows {
                let inputs = &inputs[row * depth..][..depth];
                let mut alone = vec![f32::NAN; outputs];
                products(&weights, inputs, depth, &mut alone);
                for output in 0..outputs {
                    let weights = &weights[output * depth..][..depth];
                    let exact: f64 = inputs.iter().zip(weights).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    let size: f64 = inputs.iter().zip(weights).map(|(a, b)| f64::from((a * b).abs())).sum();
                    let got = together[output * rows + row];
                    prop_assert_eq!(got.to_bits(), alone[output].to_bits());
                    for got in [got, unfused[output * rows + row]] {
                        prop_assert!((f64::from(got) - exact).abs() <= 1e-5 * size + 1e-30, "{} for {}", got, exact);
                    }
                }
            }
        }
    }
}
