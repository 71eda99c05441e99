//! A linear map of many rows.

use candle_core::Device;

use crate::error::NnError;
use crate::packed::Packed;
use crate::store::{StoredMatrix, TensorStore};

/// `y = x Wᵀ + b` for each row, from a matrix that is laid out for it.
#[derive(Debug)]
pub(crate) struct PackedLinear {
    matrix: Packed,
    bias: Option<Vec<f32>>,
}

impl PackedLinear {
    /// `{name}.weight`, of `shape` outputs and inputs, and `{name}.bias` if there is to be one.
    pub(crate) fn load(
        store: &dyn TensorStore,
        name: &str,
        shape: (usize, usize),
        bias: bool,
    ) -> Result<Self, NnError> {
        let weight = table(store, &format!("{name}.weight"), shape)?;
        let bias = match bias {
            true => Some(store.vector(&format!("{name}.bias"), shape.0)?),
            false => None,
        };
        Ok(Self::of(&weight, shape.1, bias))
    }

    /// Of rows of so many inputs.
    pub(crate) fn of(weight: &[f32], inputs: usize, bias: Option<Vec<f32>>) -> Self {
        Self { matrix: Packed::of_rows(weight, inputs), bias }
    }

    /// The same with each output multiplied by its scale.
    pub(crate) fn load_scaled(
        store: &dyn TensorStore,
        name: &str,
        (outputs, inputs): (usize, usize),
        scales: &[f32],
    ) -> Result<Self, NnError> {
        let mut weight = table(store, &format!("{name}.weight"), (outputs, inputs))?;
        let mut bias = store.vector(&format!("{name}.bias"), outputs)?;
        for ((row, bias), scale) in weight.chunks_exact_mut(inputs).zip(&mut bias).zip(scales) {
            crate::vector::scale(row, *scale);
            *bias *= scale;
        }
        Ok(Self::of(&weight, inputs, Some(bias)))
    }

    pub(crate) fn apply(&self, inputs: &[f32]) -> Vec<f32> {
        self.matrix.product(inputs, self.bias.as_deref())
    }
}

/// All numbers of a matrix, row by row, widened if it is quantised.
pub(crate) fn table(store: &dyn TensorStore, name: &str, shape: (usize, usize)) -> Result<Vec<f32>, NnError> {
    let stored = store.matrix(name, shape)?;
    if stored.dims()? != shape {
        return Err(NnError::Weights(format!("the store gave {name:?} in another shape than {shape:?}")));
    }
    let dense = match stored {
        StoredMatrix::Dense(tensor) => tensor,
        StoredMatrix::Quantised(tensor) => tensor.dequantize(&Device::Cpu)?,
    };
    Ok(dense.flatten_all()?.to_vec1()?)
}
