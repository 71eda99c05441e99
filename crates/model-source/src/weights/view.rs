//! Weights under other names: of checkpoints that call their tensors otherwise, or keep several as one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use candle_core::{DType, Device, Error, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use super::Weights;
use super::backend::message;

/// Some tensors of [`Weights`], each under another name. Cheap to clone.
#[derive(Clone)]
pub struct WeightsView {
    weights: Weights,
    pieces: Arc<BTreeMap<String, Piece>>,
}

/// What a tensor of a view is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Piece {
    /// The tensor of that name.
    Whole(String),
    /// A matrix whose rows are the columns of that one.
    Transposed(String),
    /// Of that tensor, cut along its first axis into so many equal parts, the one of that number.
    Part {
        /// The tensor's name.
        name: String,
        /// Which part, counted from 0.
        number: usize,
        /// How many there are.
        of: usize,
    },
}

impl Weights {
    /// These weights under the names of `pieces`, and none besides.
    #[must_use]
    pub fn view(&self, pieces: BTreeMap<String, Piece>) -> WeightsView {
        WeightsView { weights: self.clone(), pieces: Arc::new(pieces) }
    }
}

impl WeightsView {
    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.keys().map(String::as_str)
    }

    /// A variable builder of the tensor library, converting to `dtype`.
    #[must_use]
    pub fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }

    fn load(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        let whole = |stored: &str| self.weights.load(stored, dtype, device).map_err(message);
        match self.pieces.get(name) {
            None => Err(message(self.weights.missing(name))),
            Some(Piece::Whole(stored)) => whole(stored),
            Some(Piece::Transposed(stored)) => whole(stored)?.t()?.contiguous(),
            Some(Piece::Part { name: stored, number, of }) => {
                let tensor = whole(stored)?;
                let rows = tensor.dims().first().copied().unwrap_or(0);
                if number >= of || !rows.is_multiple_of(*of) {
                    let reason = format!("has {rows} rows, of which there is no part {number} of {of}");
                    return Err(Error::Msg(format!("the tensor {stored:?} {reason}")));
                }
                // A copy of its own, so that the whole is freed.
                tensor.narrow(0, number * (rows / of), rows / of)?.force_contiguous()
            }
        }
    }
}

impl SimpleBackend for WeightsView {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let tensor = self.load(name, dtype, device)?;
        match tensor.shape() == &shape {
            true => Ok(tensor),
            false => Err(Error::Msg(format!(
                "the tensor {name:?} has the shape {:?}, the configuration wants {:?}",
                tensor.dims(),
                shape.dims()
            ))),
        }
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        self.load(name, dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.pieces.contains_key(name)
    }
}

impl fmt::Debug for WeightsView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeightsView")
            .field("weights", &self.weights)
            .field("tensors", &self.pieces.len())
            .finish()
    }
}
