//! exp, erf and what is made of them, number by number in f32, without branches: loops over them become vector instructions
//! where they stand in a `with_simd` of their own. (A closure as large as these are is not inlined, and then is compiled for
//! the least vectors there are.)
//!
//! The polynomials are least-maximum fits to the functions in double precision.

/// What is added to a number below 2²² to round it to a whole one, which then stands in the lowest bits.
const ROUND: f32 = 12_582_912.0;
/// Below it, exp is 0 here: what is left out is less than 1.2e-38.
const LEAST: f32 = -87.3;
/// Above it, exp is that of it.
const MOST: f32 = 88.3;

/// `eˣ`, to 2e-7 of it from -87.3 to 88.3.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let bounded = x.clamp(LEAST, MOST);
    let shifted = bounded * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts: a multiple of the first is exact.
    let rest = (bounded - whole * (355.0 / 512.0)) + whole * 2.121_944_4e-4;
    let polynomial = 0.001_381_459_6;
    let polynomial = polynomial * rest + 0.008_368_717_5;
    let polynomial = polynomial * rest + 0.041_668_39;
    let polynomial = polynomial * rest + 0.166_665_21;
    let polynomial = polynomial * rest + 0.499_999_94;
    let near_one = 1.0 + (rest + rest * rest * polynomial);
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    let scaled = near_one * f32::from_bits(exponent);
    if x < LEAST { 0.0 } else { scaled }
}

/// The error function, to 3e-7 of it.
#[inline(always)]
pub(crate) fn erf(x: f32) -> f32 {
    let square = x * x;
    let inner = 7.853_858e-5;
    let inner = inner * square - 8.010_192_5e-4;
    let inner = inner * square + 0.005_188_327_7;
    let inner = inner * square - 0.026_853_811;
    let inner = inner * square + 0.112_835_854;
    let inner = inner * square - 0.376_126_26;
    let inner = inner * square + std::f32::consts::FRAC_2_SQRT_PI;
    // Beyond 4 it is 1. What is not a number stays so.
    let size = x.abs();
    let size = if size > 4.0 { 4.0 } else { size };
    let log_rest = 1.453_511_6e-6;
    let log_rest = log_rest * size - 4.294_920_3e-5;
    let log_rest = log_rest * size + 5.744_481_5e-4;
    let log_rest = log_rest * size - 0.004_670_39;
    let log_rest = log_rest * size + 0.026_205_074;
    let log_rest = log_rest * size - 0.109_754_56;
    let log_rest = log_rest * size - 0.632_124_3;
    let log_rest = log_rest * size - 1.130_081_3;
    let log_rest = log_rest * size + 2.870_245e-4;
    let outer = (1.0 - exp(log_rest)).copysign(x);
    if square < 1.0 { x * inner } else { outer }
}

/// `1 / (1 + e⁻ˣ)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The Gaussian error linear unit's approximation by a tanh: `0.5 x (1 + tanh(y))` is `x · sigmoid(2 y)`.
#[inline(always)]
pub(crate) fn gelu_tanh(x: f32) -> f32 {
    // 2 sqrt(2 / pi)
    const SCALE: f32 = std::f32::consts::SQRT_2 * std::f32::consts::FRAC_2_SQRT_PI;
    x * sigmoid(SCALE * (x + 0.044_715 * x * x * x))
}

/// Turns scores into weights relative to the largest, and returns their sum. The largest is that of these scores or the one so
/// far, of others before them.
#[inline(always)]
pub(crate) fn softmax_numerators(scores: &mut [f32], so_far: &mut f32) -> f32 {
    const LANES: usize = 16;
    let mut largest = [f32::NEG_INFINITY; LANES];
    let (wide, rest) = scores.as_chunks::<LANES>();
    for scores in wide {
        for (largest, score) in largest.iter_mut().zip(scores) {
            *largest = if *score > *largest { *score } else { *largest };
        }
    }
    let largest = largest.iter().chain(rest).copied().fold(*so_far, f32::max);
    *so_far = largest;
    let mut sums = [0.0; LANES];
    let (wide, rest) = scores.as_chunks_mut::<LANES>();
    for scores in wide {
        for (sum, score) in sums.iter_mut().zip(scores) {
            *score = exp(*score - largest);
            *sum += *score;
        }
    }
    for (sum, score) in sums.iter_mut().zip(rest) {
        *score = exp(*score - largest);
        *sum += *score;
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::wide;

    /// Every so manieth number from one to another, in the order of their bits.
    fn sweep(from: f32, to: f32) -> impl Iterator<Item = f32> {
        (from.to_bits()..to.to_bits()).step_by(997).map(f32::from_bits)
    }

    /// erf in double precision, by its series.
    fn exact_erf(x: f64) -> f64 {
        let mut term = x;
        let mut sum = x;
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn exp_is_right_to_a_few_last_bits() {
        let mut worst: f64 = 0.0;
        for x in sweep(1e-9, 88.3).chain(sweep(1e-9, 87.3).map(|x| -x)) {
            let wanted = f64::from(x).exp();
            worst = worst.max((f64::from(wide(|| exp(x))) - wanted).abs() / wanted);
        }
        assert!(worst < 2e-7, "{worst:.1e}");
        assert_eq!((exp(0.0), exp(-1000.0), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
        assert!(exp(200.0) > 1e38 && exp(200.0).is_finite());
    }

    #[test]
    fn erf_is_right_to_a_few_last_bits() {
        let mut worst: f64 = 0.0;
        for x in sweep(1e-9, 4.5) {
            let wanted = exact_erf(f64::from(x));
            worst = worst.max((f64::from(wide(|| erf(x))) - wanted).abs() / wanted);
            assert_eq!(erf(-x), -erf(x));
        }
        assert!(worst < 3e-7, "{worst:.1e}");
        assert_eq!((erf(0.0), erf(10.0), erf(-1e30)), (0.0, 1.0, -1.0));
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        assert!(erf(f32::NAN).is_nan() && exp(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
    }

    #[test]
    fn a_softmax_is_relative_to_the_largest() {
        for length in [1, 15, 16, 17, 50] {
            let scores: Vec<f32> = (0..length).map(|n| 100.0 + (n * 7 % 11) as f32).collect();
            let mut weights = scores.clone();
            let mut so_far = f32::NEG_INFINITY;
            let sum = wide(|| softmax_numerators(&mut weights, &mut so_far));
            let largest = scores.iter().copied().fold(0.0, f32::max);
            assert_eq!(so_far, largest);
            for (weight, score) in weights.iter().zip(&scores) {
                assert!((weight - (score - largest).exp()).abs() < 1e-6, "{weight} for {score}");
            }
            assert!((sum - weights.iter().sum::<f32>()).abs() < 1e-5);
            // Beside larger ones that went before.
            let mut so_far = largest + 3.0;
            let mut others = scores.clone();
            let less = wide(|| softmax_numerators(&mut others, &mut so_far));
            assert!(so_far == largest + 3.0 && (less - sum * (-3.0_f32).exp()).abs() < 1e-5);
        }
    }
}
