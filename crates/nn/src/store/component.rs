//! One component of a diffusers pipeline: its UNet, its VAE.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;

use super::{StoredMatrix, TensorStore, missing, other_shape};
use crate::error::NnError;

/// The tensors of one component of a diffusers pipeline in f32, f16 or bf16, widened to f32, by the names that diffusers
/// has for them.
///
/// A matrix may be stored as the weight of a convolution of one position (`[o, i, 1, 1]`), and the other way round.
#[derive(Clone)]
pub struct ComponentStore {
    builder: VarBuilder<'static>,
    renaming: Option<Arc<Renaming>>,
    names: BTreeSet<String>,
}

type Renaming = dyn Fn(&str) -> String + Send + Sync;

impl ComponentStore {
    /// Those of a checkpoint that holds the component alone.
    ///
    /// # Errors
    /// [`NnError::Unsupported`] if the builder loads onto another device than the CPU.
    pub fn new(builder: VarBuilder<'static>) -> Result<Self, NnError> {
        if !builder.device().is_cpu() {
            let what = format!("a component on the device {:?}", builder.device().location());
            return Err(NnError::unsupported(what, "the CPU is"));
        }
        Ok(Self { builder, renaming: None, names: BTreeSet::new() })
    }

    /// How the checkpoint calls what diffusers calls so, where it has names of its own.
    #[must_use]
    pub fn renamed(mut self, stored_name: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.renaming = Some(Arc::new(stored_name));
        self
    }

    /// The names of all the component's tensors, as the checkpoint calls them, which the builder cannot list: with them, one
    /// that is not computed with is refused.
    #[must_use]
    pub fn with_names(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    fn stored_name(&self, name: &str) -> String {
        self.renaming.as_ref().map_or_else(|| name.to_owned(), |renaming| renaming(name))
    }

    fn load(&self, name: &str, shape: &[usize]) -> Result<Tensor, NnError> {
        let stored = self.stored_name(name);
        if !self.builder.contains_tensor(&stored) {
            return Err(missing(&stored));
        }
        let tensor = self.builder.get_unchecked_dtype(&stored, DType::F32).map_err(NnError::weights)?;
        match without_last_ones(tensor.dims()) == without_last_ones(shape) {
            true => Ok(tensor.reshape(shape)?),
            false => Err(other_shape(&stored, tensor.dims(), shape)),
        }
    }
}

fn without_last_ones(mut axes: &[usize]) -> &[usize] {
    while let [rest @ .., 1] = axes {
        axes = rest;
    }
    axes
}

impl TensorStore for ComponentStore {
    fn contains(&self, name: &str) -> bool {
        self.builder.contains_tensor(&self.stored_name(name))
    }

    fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, NnError> {
        Ok(self.load(name, &[length])?.to_vec1()?)
    }

    fn matrix(&self, name: &str, (rows, columns): (usize, usize)) -> Result<StoredMatrix, NnError> {
        Ok(StoredMatrix::Dense(self.load(name, &[rows, columns])?))
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, NnError> {
        Ok(self.load(name, shape)?.flatten_all()?.to_vec1()?)
    }

    /// Any tensor: a component has nothing beside its layers.
    fn unread(&self, read: &BTreeSet<String>, _: usize) -> Option<String> {
        let read: BTreeSet<String> = read.iter().map(|name| self.stored_name(name)).collect();
        self.names.difference(&read).next().cloned()
    }
}

impl fmt::Debug for ComponentStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentStore").field("renamed", &self.renaming.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::Device;

    use super::*;
    use crate::store::Recorder;

    fn store(names: &[(&str, &[usize])]) -> ComponentStore {
        let tensor =
            |shape: &[usize]| Tensor::arange(0.0_f32, shape.iter().product::<usize>() as f32, &Device::Cpu);
        let tensors: HashMap<String, Tensor> = names
            .iter()
            .map(|(name, shape)| ((*name).to_owned(), tensor(shape).unwrap().reshape(*shape).unwrap()))
            .collect();
        let all: Vec<String> = tensors.keys().cloned().collect();
        ComponentStore::new(VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu))
            .unwrap()
            .with_names(all)
    }

    #[test]
    fn a_matrix_and_a_convolution_of_one_position_are_the_same() {
        let store = store(&[("linear", &[2, 3]), ("conv", &[2, 3, 1, 1]), ("square", &[2, 3, 3, 3])]);
        for name in ["linear", "conv"] {
            assert_eq!(store.matrix(name, (2, 3)).unwrap().dims().unwrap(), (2, 3));
            assert_eq!(store.tensor(name, &[2, 3, 1, 1]).unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        }
        let error = store.matrix("square", (2, 27)).unwrap_err().to_string();
        assert_eq!(
            error,
            "the tensor \"square\" has the shape [2, 3, 3, 3], the configuration asks for [2, 27]"
        );
        assert!(store.tensor("linear", &[3, 2, 1, 1]).is_err() && store.vector("linear", 6).is_err());
    }

    #[test]
    fn what_nobody_read_is_named_as_the_checkpoint_calls_it() {
        let store = store(&[("model.a", &[2]), ("model.b", &[2])]).renamed(|name| format!("model.{name}"));
        let recorder = Recorder::new(&store);
        assert!(store.contains("a") && !store.contains("model.a"));
        assert_eq!(recorder.vector("a", 2).unwrap(), [0.0, 1.0]);
        let error = recorder.refuse_unread(0).unwrap_err().to_string();
        assert!(error.starts_with("the tensor \"model.b\" is not supported: "), "{error}");
        recorder.tensor("b", &[2, 1]).unwrap();
        recorder.refuse_unread(0).unwrap();
        assert!(recorder.vector("c", 2).unwrap_err().to_string().contains("no tensor \"model.c\""));
    }
}
