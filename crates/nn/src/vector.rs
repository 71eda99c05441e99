//! Arithmetic on slices, in a fixed order: a result depends on the numbers only, never on how many rows are computed.
//!
//! Callers bracket a stretch of work with [`wide`], so that it is compiled for the widest vectors the processor has.

/// Independent sums of a dot product: two registers of eight, which hides the latency of an addition.
const LANES: usize = 16;

/// Runs `work` compiled for the vectors of this processor. `work` itself must be `#[inline(always)]`, and what it calls, or it is
/// compiled once for the least vectors there are.
#[inline(always)]
pub(crate) fn wide<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// The sum of the products, always in the same order.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a_wide, a_rest) = a.as_chunks::<LANES>();
    let (b_wide, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_wide.iter().zip(b_wide) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        sums[lane] += a * b;
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
        width /= 2;
    }
    sums[0]
}

/// `sum += factor * values`.
#[inline(always)]
pub(crate) fn add_scaled(sum: &mut [f32], values: &[f32], factor: f32) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += factor * value;
    }
}

/// `values *= factor`.
#[inline(always)]
pub(crate) fn scale(values: &mut [f32], factor: f32) {
    for value in values {
        *value *= factor;
    }
}

/// `sum += values`.
pub(crate) fn add(sum: &mut [f32], values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_dot_product_is_right_to_rounding_and_the_same_each_time(
            pairs in prop::collection::vec((-2.0_f32..2.0, -2.0_f32..2.0), 0..100)
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let exact: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let size: f64 = a.iter().zip(&b).map(|(a, b)| f64::from((a * b).abs())).sum();
            let got = wide(|| dot(&a, &b));
            prop_assert!((f64::from(got) - exact).abs() <= 1e-6 * size + 1e-30, "{got} for {exact}");
            prop_assert_eq!(got.to_bits(), wide(|| dot(&a, &b)).to_bits());
        }
    }

    #[test]
    fn sums_and_multiples_go_element_by_element() {
        let mut sum = vec![1.0, 2.0, 3.0];
        add_scaled(&mut sum, &[10.0, 20.0, 30.0], 0.5);
        scale(&mut sum, 2.0);
        add(&mut sum, &[1.0, 1.0, 1.0]);
        assert_eq!(sum, [13.0, 25.0, 37.0]);
    }
}
