//! A linear map of rows.

use std::sync::Arc;

use crate::error::NnError;
use crate::matrix::{Matrix, Precision};
use crate::store::TensorStore;

/// `y = x Wᵀ + b` for each row.
#[derive(Debug)]
pub(crate) struct Linear {
    matrix: Arc<Matrix>,
    bias: Option<Vec<f32>>,
}

impl Linear {
    /// `{name}.weight`, and `{name}.bias` if there is to be one.
    pub(crate) fn load(
        store: &dyn TensorStore,
        name: &str,
        shape: (usize, usize),
        bias: bool,
        precision: Precision,
    ) -> Result<Self, NnError> {
        let matrix = Arc::new(Matrix::load(store, &format!("{name}.weight"), shape, precision)?);
        let bias = match bias {
            true => Some(store.vector(&format!("{name}.bias"), shape.0)?),
            false => None,
        };
        Ok(Self { matrix, bias })
    }

    /// A map that shares its matrix with an embedding.
    pub(crate) fn tied(matrix: Arc<Matrix>) -> Self {
        Self { matrix, bias: None }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.matrix.outputs()
    }

    /// One row of results for each row of `inputs`.
    pub(crate) fn apply(&self, inputs: &[f32]) -> Result<Vec<f32>, NnError> {
        Ok(self.biased(self.matrix.product(inputs)?))
    }

    /// The same, with next to nothing lost by rounding: for few rows.
    pub(crate) fn apply_compensated(&self, inputs: &[f32]) -> Result<Vec<f32>, NnError> {
        Ok(self.biased(self.matrix.compensated_product(inputs)?))
    }

    fn biased(&self, mut outputs: Vec<f32>) -> Vec<f32> {
        if let Some(bias) = &self.bias {
            for row in outputs.chunks_exact_mut(bias.len()) {
                crate::vector::add(row, bias);
            }
        }
        outputs
    }
}
