//! Hugging Face checkpoints, through the tensor library's variable builder.

use std::collections::BTreeSet;
use std::fmt;

use candle_core::DType;
use candle_nn::{Init, VarBuilder};

use super::{StoredMatrix, TensorStore, is_of_layers, missing};
use crate::error::NnError;

/// The tensors of a Hugging Face checkpoint in f32, f16 or bf16, widened to f32.
///
/// The language model may be part of a larger one (`language_model.model.…`, `model.language_model.…`), or stand without
/// its output head (`layers.…`).
#[derive(Clone)]
pub struct SafetensorsStore {
    builder: VarBuilder<'static>,
    place: Place,
    names: BTreeSet<String>,
}

/// How a checkpoint begins the names of the decoder's tensors, and of the others (the output head).
#[derive(Clone, Copy, Debug)]
struct Place {
    decoder: &'static str,
    others: &'static str,
}

/// The first of these that a checkpoint has its embedding under is the place.
const PLACES: [Place; 4] = [
    Place { decoder: "model.", others: "" },
    Place { decoder: "language_model.model.", others: "language_model." },
    Place { decoder: "model.language_model.", others: "" },
    Place { decoder: "", others: "" },
];

impl SafetensorsStore {
    /// Finds out where in the checkpoint the language model is.
    ///
    /// # Errors
    /// [`NnError::Weights`] if it has no token embedding, [`NnError::Unsupported`] if the builder loads onto another device
    /// than the CPU.
    pub fn new(builder: VarBuilder<'static>) -> Result<Self, NnError> {
        if !builder.device().is_cpu() {
            let what = format!("a decoder on the device {:?}", builder.device().location());
            return Err(NnError::unsupported(what, "the CPU is"));
        }
        let has = |place: &&Place| builder.contains_tensor(&format!("{}embed_tokens.weight", place.decoder));
        match PLACES.iter().find(has) {
            Some(place) => Ok(Self { place: *place, builder, names: BTreeSet::new() }),
            None => Err(missing("model.embed_tokens.weight")),
        }
    }

    /// The names of all the checkpoint's tensors, which the builder cannot list: with them, one of a layer that is not
    /// computed with is refused.
    #[must_use]
    pub fn with_names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    fn stored_name(&self, name: &str) -> String {
        match name.strip_prefix("model.") {
            Some(rest) => format!("{}{rest}", self.place.decoder),
            None => format!("{}{name}", self.place.others),
        }
    }

    fn load(&self, name: &str, shape: &[usize]) -> Result<candle_core::Tensor, NnError> {
        let stored = self.stored_name(name);
        if !self.builder.contains_tensor(&stored) {
            return Err(missing(&stored));
        }
        let tensor = self.builder.get_with_hints_dtype(shape, &stored, Init::Const(0.0), DType::F32);
        tensor.map_err(NnError::weights)
    }
}

impl TensorStore for SafetensorsStore {
    fn contains(&self, name: &str) -> bool {
        self.builder.contains_tensor(&self.stored_name(name))
    }

    fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, NnError> {
        Ok(self.load(name, &[length])?.to_vec1()?)
    }

    fn matrix(&self, name: &str, (rows, columns): (usize, usize)) -> Result<StoredMatrix, NnError> {
        Ok(StoredMatrix::Dense(self.load(name, &[rows, columns])?))
    }

    fn unread(&self, read: &BTreeSet<String>, layers: usize) -> Option<String> {
        let read: BTreeSet<String> = read.iter().map(|name| self.stored_name(name)).collect();
        let place = format!("{}layers.", self.place.decoder);
        let is_of_layers =
            |name: &&String| name.strip_prefix(&place).is_some_and(|behind| is_of_layers(behind, layers));
        self.names.difference(&read).find(is_of_layers).cloned()
    }
}

impl fmt::Debug for SafetensorsStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SafetensorsStore").field("place", &self.place).finish_non_exhaustive()
    }
}
