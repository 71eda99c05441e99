//! Two linear maps of many rows with an activation between them.

use crate::encoder::{PackedLinear, TowerActivation};
use crate::error::NnError;
use crate::store::TensorStore;

/// Two linear maps with an activation between them: what brings a tower's rows into another model's space.
#[derive(Debug)]
pub struct Mlp {
    first: PackedLinear,
    second: PackedLinear,
    activation: TowerActivation,
}

/// The mathematics of an [`Mlp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MlpConfig {
    /// Numbers of a row that goes in.
    pub inputs: usize,
    /// Numbers between the two maps.
    pub inner: usize,
    /// Numbers of a row that comes out.
    pub outputs: usize,
    /// Whether the maps have biases.
    pub bias: bool,
    /// What is between them.
    pub activation: TowerActivation,
}

impl MlpConfig {
    /// Numbers of its weights.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        let [inputs, inner, outputs] = [self.inputs, self.inner, self.outputs].map(|size| size as u64);
        let biases = if self.bias { inner.saturating_add(outputs) } else { 0 };
        inputs.saturating_mul(inner).saturating_add(inner.saturating_mul(outputs)).saturating_add(biases)
    }
}

impl Mlp {
    /// From the tensors of two maps of these names: `{name}.weight` and, where there are any, `{name}.bias`.
    ///
    /// # Errors
    /// [`NnError::Weights`] for a tensor that is missing, has another shape or cannot be read.
    pub fn load(config: MlpConfig, store: &dyn TensorStore, names: [&str; 2]) -> Result<Self, NnError> {
        let MlpConfig { inputs, inner, outputs, bias, activation } = config;
        Ok(Self {
            first: PackedLinear::load(store, names[0], (inner, inputs), bias)?,
            second: PackedLinear::load(store, names[1], (outputs, inner), bias)?,
            activation,
        })
    }

    /// One row of results for each row of `inputs`. A row's result does not depend on the rows beside it. Blocks.
    #[must_use]
    pub fn apply(&self, inputs: &[f32]) -> Vec<f32> {
        let mut inner = self.first.apply(inputs);
        self.activation.apply(&mut inner);
        self.second.apply(&inner)
    }
}
