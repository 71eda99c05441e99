//! The gated feed-forward half of a layer.

use rayon::prelude::*;

use super::config::{Activation, DecoderConfig};
use super::layer::Loading;
use crate::elementary::{gelu_tanh, sigmoid};
use crate::error::NnError;
use crate::linear::Linear;
use crate::vector::wide;

/// `down(activation(gate(x)) · up(x))`.
#[derive(Debug)]
pub(super) struct FeedForward {
    gate_up: GateUp,
    down: Linear,
    activation: Activation,
    intermediate: usize,
}

#[derive(Debug)]
enum GateUp {
    Two {
        gate: Linear,
        up: Linear,
    },
    /// Gate first, then up.
    Fused(Linear),
}

/// Numbers that one task takes.
const TASK: usize = 4096;

impl FeedForward {
    pub(super) fn load(config: &DecoderConfig, loading: &Loading<'_>) -> Result<Self, NnError> {
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        let linear =
            |name: &str, shape| loading.linear(&format!("mlp.{name}"), shape, config.feed_forward_bias);
        let gate_up = match config.fused_projections {
            true => GateUp::Fused(linear("gate_up_proj", (2 * intermediate, hidden))?),
            false => GateUp::Two {
                gate: linear("gate_proj", (intermediate, hidden))?,
                up: linear("up_proj", (intermediate, hidden))?,
            },
        };
        let down = linear("down_proj", (hidden, intermediate))?;
        Ok(Self { gate_up, down, activation: config.activation, intermediate })
    }

    pub(super) fn apply(&self, inputs: &[f32]) -> Result<Vec<f32>, NnError> {
        let gated = match &self.gate_up {
            GateUp::Two { gate, up } => {
                let mut gated = gate.apply(inputs)?;
                let up = up.apply(inputs)?;
                let tasks = gated.par_chunks_mut(TASK).zip(up.par_chunks(TASK));
                tasks.for_each(|(gate, up)| self.activation.gate(gate, up));
                gated
            }
            GateUp::Fused(both) => self.gate_rows(&both.apply(inputs)?),
        };
        self.down.apply(&gated)
    }

    fn gate_rows(&self, both: &[f32]) -> Vec<f32> {
        let width = self.intermediate;
        let mut gated = vec![0.0; both.len() / 2];
        gated.par_chunks_mut(width).zip(both.par_chunks(2 * width)).for_each(|(gated, both)| {
            let (gate, up) = both.split_at(width);
            gated.copy_from_slice(gate);
            self.activation.gate(gated, up);
        });
        gated
    }
}

impl Activation {
    /// `gate = activation(gate) · up`.
    fn gate(self, gate: &mut [f32], up: &[f32]) {
        wide(
            #[inline(always)]
            || match self {
                Self::Silu => {
                    gate.iter_mut().zip(up).for_each(|(gate, up)| *gate = Self::Silu.of(*gate) * up)
                }
                Self::GeluTanh => {
                    gate.iter_mut().zip(up).for_each(|(gate, up)| *gate = Self::GeluTanh.of(*gate) * up)
                }
            },
        );
    }

    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        match self {
            Self::Silu => x * sigmoid(x),
            Self::GeluTanh => gelu_tanh(x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_are_what_torch_gives() {
        // torch.nn.functional.silu and gelu(approximate="tanh").
        let silu = [(-3.0, -0.142_277_62), (0.0, 0.0), (0.5, 0.311_229_68), (2.0, 1.761_594_2)];
        let gelu = [(-3.0, -0.003_637_4), (0.0, 0.0), (0.5, 0.345_714), (2.0, 1.954_597_8)];
        for (activation, cases) in [(Activation::Silu, silu), (Activation::GeluTanh, gelu)] {
            for (x, wanted) in cases {
                assert!(
                    (activation.of(x) - wanted).abs() < 1e-6,
                    "{activation:?} of {x}: {}",
                    activation.of(x)
                );
            }
        }
        // Far out there is nothing but the number or nothing.
        assert!(Activation::Silu.of(-200.0).abs() < 1e-30);
        assert_eq!(Activation::GeluTanh.of(50.0), 50.0);
    }
}
