//! Hugging Face checkpoints of towers that see pictures, and of those that read texts beside them.

use std::collections::BTreeSet;
use std::fmt;

use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;

use super::{StoredMatrix, TensorStore, is_of_layers, missing, other_shape};
use crate::error::NnError;

/// The tensors of a Hugging Face checkpoint of CLIP, SigLIP or DINOv2, or of a larger model with such a tower, in f32, f16 or
/// bf16, widened to f32.
///
/// A tower's tensors are asked for as `vision_model.…` or `text_model.…`, wherever in the checkpoint they are; all others
/// (`visual_projection.weight`, `logit_scale`) by their own names. A tensor of more axes than it is asked with is taken as
/// such a one: a convolution's weight as a matrix with a row for each output, leading axes of length one as nothing.
#[derive(Clone)]
pub struct TowerStore {
    builder: VarBuilder<'static>,
    /// What the tower's tensors begin with when they are asked for.
    tower: &'static str,
    /// What they begin with in the checkpoint.
    place: &'static str,
    names: BTreeSet<String>,
}

/// What names may begin with; the first of these that a checkpoint has the tower under is the place.
const VISION_PLACES: [&str; 9] = [
    "vision_model.",
    "vision_tower.vision_model.",
    "vision_tower.",
    "model.vision_tower.vision_model.",
    "model.vision_tower.",
    "model.vision_model.",
    "dinov2.",
    "dinov2_with_registers.",
    "",
];
/// Tensors by which a vision tower is found: that of CLIP and SigLIP, and that of DINOv2.
const VISION_MARKS: [&str; 2] =
    ["embeddings.patch_embedding.weight", "embeddings.patch_embeddings.projection.weight"];
const TEXT_PLACES: [&str; 2] = ["text_model.", ""];
const TEXT_MARKS: [&str; 1] = ["embeddings.token_embedding.weight"];

/// Tensors of a tower's embeddings that change nothing: numbers of positions, and what stands for a hidden patch in training.
const LEFTOVERS: [&str; 2] = ["embeddings.position_ids", "embeddings.mask_token"];

impl TowerStore {
    /// Finds out where in the checkpoint the tower is that sees pictures.
    ///
    /// # Errors
    /// [`NnError::Weights`] if there is none, [`NnError::Unsupported`] if the builder loads onto another device than the
    /// CPU.
    pub fn vision(builder: VarBuilder<'static>) -> Result<Self, NnError> {
        Self::find(builder, "vision_model.", &VISION_PLACES, &VISION_MARKS)
    }

    /// Finds out where in the checkpoint the tower is that reads texts.
    ///
    /// # Errors
    /// Like [`vision`](Self::vision).
    pub fn text(builder: VarBuilder<'static>) -> Result<Self, NnError> {
        Self::find(builder, "text_model.", &TEXT_PLACES, &TEXT_MARKS)
    }

    /// The names of all the checkpoint's tensors, which the builder cannot list: with them, one of the tower that is not
    /// computed with is refused.
    #[must_use]
    pub fn with_names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    fn find(
        builder: VarBuilder<'static>,
        tower: &'static str,
        places: &[&'static str],
        marks: &[&str],
    ) -> Result<Self, NnError> {
        if !builder.device().is_cpu() {
            let what = format!("a tower on the device {:?}", builder.device().location());
            return Err(NnError::unsupported(what, "the CPU is"));
        }
        let has = |place: &&&str| marks.iter().any(|mark| builder.contains_tensor(&format!("{place}{mark}")));
        match places.iter().find(has) {
            Some(place) => Ok(Self { tower, place, builder, names: BTreeSet::new() }),
            None => Err(missing(&format!("{tower}{}", marks[0]))),
        }
    }

    fn stored_name(&self, name: &str) -> String {
        match name.strip_prefix(self.tower) {
            Some(rest) => format!("{}{rest}", self.place),
            None => name.to_owned(),
        }
    }

    fn load(&self, name: &str, shape: &[usize]) -> Result<Tensor, NnError> {
        let stored = self.stored_name(name);
        if !self.builder.contains_tensor(&stored) {
            return Err(missing(&stored));
        }
        let tensor = self.builder.get_unchecked_dtype(&stored, DType::F32).map_err(NnError::weights)?;
        match is_taken_as(tensor.dims(), shape) {
            true => Ok(tensor.reshape(shape)?),
            false => Err(other_shape(&stored, tensor.dims(), shape)),
        }
    }
}

/// Whether a tensor of those axes may be taken as one of these: leading ones aside, the first agrees, and the others together.
fn is_taken_as(found: &[usize], wanted: &[usize]) -> bool {
    let product = |axes: &[usize]| axes.iter().product::<usize>();
    let ones = found.len().saturating_sub(wanted.len());
    let found = &found[found.iter().take(ones).take_while(|axis| **axis == 1).count()..];
    match (found, wanted) {
        ([first, rest @ ..], [wanted_first, wanted_rest @ ..]) => {
            first == wanted_first
                && (!wanted_rest.is_empty() || rest.is_empty())
                && product(rest) == product(wanted_rest)
        }
        ([], [1]) => true,
        _ => false,
    }
}

impl TensorStore for TowerStore {
    fn contains(&self, name: &str) -> bool {
        self.builder.contains_tensor(&self.stored_name(name))
    }

    fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, NnError> {
        Ok(self.load(name, &[length])?.to_vec1()?)
    }

    fn matrix(&self, name: &str, (rows, columns): (usize, usize)) -> Result<StoredMatrix, NnError> {
        Ok(StoredMatrix::Dense(self.load(name, &[rows, columns])?))
    }

    /// A tensor of the tower's layers or of its embeddings.
    fn unread(&self, read: &BTreeSet<String>, layers: usize) -> Option<String> {
        let read: BTreeSet<String> = read.iter().map(|name| self.stored_name(name)).collect();
        let is_of_tower = |name: &&String| {
            let Some(rest) = name.strip_prefix(self.place) else {
                return false;
            };
            let of_layers = ["encoder.layers.", "encoder.layer."]
                .into_iter()
                .any(|part| rest.strip_prefix(part).is_some_and(|behind| is_of_layers(behind, layers)));
            of_layers || (rest.starts_with("embeddings.") && !LEFTOVERS.contains(&rest))
        };
        self.names.difference(&read).find(is_of_tower).cloned()
    }
}

impl fmt::Debug for TowerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TowerStore")
            .field("tower", &self.tower)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_axes_are_taken_as_fewer_and_nothing_else_is() {
        let taken: [(&[usize], &[usize]); 7] = [
            (&[8, 3, 2, 2], &[8, 12]),
            (&[1, 5, 8], &[5, 8]),
            (&[1, 1, 8], &[8]),
            (&[], &[1]),
            (&[1], &[1]),
            (&[1, 8], &[1, 8]),
            (&[8], &[8, 1, 1, 1]),
        ];
        for (found, wanted) in taken {
            assert!(is_taken_as(found, wanted), "{found:?} as {wanted:?}");
        }
        let refused: [(&[usize], &[usize]); 6] = [
            (&[8, 3, 2, 2], &[12, 8]),
            (&[5, 8], &[40]),
            (&[2, 1, 8], &[8]),
            (&[8, 5], &[5, 8]),
            (&[], &[8]),
            (&[40], &[5, 8]),
        ];
        for (found, wanted) in refused {
            assert!(!is_taken_as(found, wanted), "{found:?} as {wanted:?}");
        }
    }
}
