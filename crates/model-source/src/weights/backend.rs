//! The tensor library's view of the weights.

use candle_core::{DType, Device, Error, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;

use super::Weights;

impl SimpleBackend for Weights {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        self.check_shape(name, shape.dims()).map_err(message)?;
        self.load(name, dtype, device).map_err(message)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        self.load(name, dtype, device).map_err(message)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.contains(name)
    }
}

/// Without a backtrace, so that the message stays one line.
pub(super) fn message(error: crate::SourceError) -> Error {
    Error::Msg(error.to_string())
}
