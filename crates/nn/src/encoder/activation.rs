//! What is between the two halves of a feed-forward layer.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::elementary::{erf, gelu_tanh, sigmoid};
use crate::error::NnError;

/// Activations of the towers' feed-forward layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TowerActivation {
    /// The Gaussian error linear unit, by the error function (<https://arxiv.org/abs/1606.08415>).
    Gelu,
    /// Its approximation by a tanh.
    GeluTanh,
    /// `x · sigmoid(1.702 x)`.
    QuickGelu,
}

/// Numbers that one task takes.
const TASK: usize = 8192;

impl TowerActivation {
    /// By the name that transformers has for it; `field` is where it stands, for the message.
    ///
    /// # Errors
    /// [`NnError::Unsupported`] for another one.
    pub fn named(field: &str, name: &str) -> Result<Self, NnError> {
        match name {
            "gelu" => Ok(Self::Gelu),
            "gelu_pytorch_tanh" | "gelu_new" => Ok(Self::GeluTanh),
            "quick_gelu" => Ok(Self::QuickGelu),
            other => Err(NnError::unsupported(
                format!("{field} {other:?}"),
                "gelu, gelu_pytorch_tanh, gelu_new and quick_gelu are",
            )),
        }
    }

    pub(crate) fn apply(self, numbers: &mut [f32]) {
        numbers
            .par_chunks_mut(TASK)
            .for_each(|numbers| Arch::new().dispatch(Apply { activation: self, numbers }));
    }
}

/// `gate = gate · sigmoid(gate) · up`.
pub(crate) fn swiglu(gate: &mut [f32], up: &[f32]) {
    let tasks = gate.par_chunks_mut(TASK).zip(up.par_chunks(TASK));
    tasks.for_each(|(gate, up)| Arch::new().dispatch(Gate { gate, up }));
}

/// `values = values · gelu(gate)` (<https://arxiv.org/abs/2002.05202>).
pub(crate) fn geglu(values: &mut [f32], gate: &[f32]) {
    let tasks = values.par_chunks_mut(TASK).zip(gate.par_chunks(TASK));
    tasks.for_each(|(values, gate)| Arch::new().dispatch(GeluGate { values, gate }));
}

struct Apply<'a> {
    activation: TowerActivation,
    numbers: &'a mut [f32],
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.activation {
            TowerActivation::Gelu => {
                for number in self.numbers {
                    *number = gelu(*number);
                }
            }
            TowerActivation::GeluTanh => {
                for number in self.numbers {
                    *number = gelu_tanh(*number);
                }
            }
            TowerActivation::QuickGelu => {
                for number in self.numbers {
                    *number *= sigmoid(1.702 * *number);
                }
            }
        }
    }
}

struct Gate<'a> {
    gate: &'a mut [f32],
    up: &'a [f32],
}

impl WithSimd for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (gate, up) in self.gate.iter_mut().zip(self.up) {
            *gate *= sigmoid(*gate) * up;
        }
    }
}

struct GeluGate<'a> {
    values: &'a mut [f32],
    gate: &'a [f32],
}

impl WithSimd for GeluGate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (value, gate) in self.values.iter_mut().zip(self.gate) {
            *value *= gelu(*gate);
        }
    }
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_are_what_torch_gives() {
        // torch 2.15 in f64: gelu, gelu(approximate="tanh"), x * sigmoid(1.702 x).
        let xs = [-6.0_f32, -3.0, -0.7, 0.0, 1e-4, 0.5, 2.0, 40.0];
        let cases: [(TowerActivation, [f64; 8]); 3] = [
            (TowerActivation::Gelu, GELU),
            (TowerActivation::GeluTanh, GELU_TANH),
            (TowerActivation::QuickGelu, QUICK_GELU),
        ];
        for (activation, wanted) in cases {
            let mut numbers = xs;
            activation.apply(&mut numbers);
            for ((x, got), wanted) in xs.iter().zip(numbers).zip(wanted) {
                let error = (f64::from(got) - wanted).abs();
                assert!(error <= 2e-7 * f64::from(x.abs()), "{activation:?} of {x}: {got}, not {wanted}");
            }
        }
    }

    const GELU: [f64; 8] =
        [-5.91952587e-09, -0.00404969409, -0.169374556, 0.0, 5.00039882e-05, 0.345731231, 1.95449974, 40.0];
    const GELU_TANH: [f64; 8] =
        [-8.43964898e-11, -0.00363739208, -0.169429865, 0.0, 5.00039882e-05, 0.34571401, 1.95459769, 40.0];
    const QUICK_GELU: [f64; 8] =
        [-0.00022035355, -0.0180713097, -0.163106048, 0.0, 5.00042537e-05, 0.350388437, 1.93565862, 40.0];

    #[test]
    fn a_gate_is_silu_of_itself_times_the_other() {
        let mut gate = [-3.0, 0.0, 0.5, 2.0];
        swiglu(&mut gate, &[2.0, 5.0, -1.0, 1.0]);
        for (got, wanted) in gate.iter().zip([-0.284_555_24, 0.0, -0.311_229_68, 1.761_594_2]) {
            assert!((got - wanted).abs() < 1e-6, "{got}, not {wanted}");
        }
    }

    #[test]
    fn a_gelu_gate_multiplies_what_it_is_given() {
        let mut values = [2.0, 5.0, -1.0, 1.0];
        geglu(&mut values, &[-3.0, 0.0, 0.5, 2.0]);
        for (got, wanted) in values.iter().zip([-0.008_099_388, 0.0, -0.345_731_23, 1.954_499_7]) {
            assert!((got - wanted).abs() < 1e-6, "{got}, not {wanted}");
        }
    }
}
