//! The feed-forward half of a layer.

use super::activation::{TowerActivation, swiglu};
use super::linear::PackedLinear;

/// Two linear maps with an activation between them, or three of which one gates another.
#[derive(Debug)]
pub(crate) enum FeedForward {
    Plain {
        up: PackedLinear,
        down: PackedLinear,
        activation: TowerActivation,
    },
    /// SwiGLU (<https://arxiv.org/abs/2002.05202>).
    Gated {
        gate: PackedLinear,
        up: PackedLinear,
        down: PackedLinear,
    },
}

impl FeedForward {
    pub(crate) fn apply(&self, inputs: &[f32]) -> Vec<f32> {
        match self {
            Self::Plain { up, down, activation } => {
                let mut inner = up.apply(inputs);
                activation.apply(&mut inner);
                down.apply(&inner)
            }
            Self::Gated { gate, up, down } => {
                let mut inner = gate.apply(inputs);
                swiglu(&mut inner, &up.apply(inputs));
                down.apply(&inner)
            }
        }
    }
}
