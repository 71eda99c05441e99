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
        (outputs, inputs): (usize, usize),
        bias: bool,
        precision: Precision,
    ) -> Result<Self, NnError> {
        let stored = store.matrix(&format!("{name}.weight"), (outputs, inputs))?;
        let matrix = Arc::new(Matrix::new(stored, precision)?);
        let bias = match bias {
            true => Some(store.vector(&format!("{name}.bias"), outputs)?),
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
        let mut outputs = self.matrix.product(inputs)?;
        if let Some(bias) = &self.bias {
            for row in outputs.chunks_exact_mut(bias.len()) {
                crate::vector::add(row, bias);
            }
        }
        Ok(outputs)
    }
}
