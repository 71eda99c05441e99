//! Where the tensors of the tower, the projector and the newline come from, under transformers' names.

use std::collections::BTreeSet;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device};
use model_source::{Gguf, ModelFiles, Weights};
use nn::{NnError, StoredMatrix, TensorStore, TowerStore};

use crate::mmproj;

/// What the projector's tensors begin with.
pub(crate) const PROJECTOR: &str = "multi_modal_projector.";
/// The embedding behind each row of tiles.
pub(crate) const NEWLINE: &str = "image_newline";
/// What nn's towers ask for their tensors by.
const TOWER: &str = "vision_model.";

/// How the weights of what reads pictures are stored.
#[derive(Clone, Debug)]
pub(crate) enum StoredVision {
    /// Safetensors in Hugging Face layout, most of which are the language model's.
    Folder(ModelFiles),
    /// A GGUF file of their own.
    Mmproj(Gguf),
}

impl StoredVision {
    /// The weights, to be loaded from. Blocks.
    ///
    /// # Errors
    /// [`NnError::Weights`] for files that cannot be read or have no tower.
    pub(crate) fn open(&self) -> Result<Box<dyn TensorStore>, NnError> {
        match self {
            Self::Folder(files) => {
                let weights = Weights::open(files).map_err(to_weights)?;
                Ok(Box::new(FolderStore::new(&weights)?))
            }
            Self::Mmproj(file) => Ok(Box::new(MmprojStore::new(file.clone()))),
        }
    }
}

/// A checkpoint in Hugging Face layout.
struct FolderStore {
    tower: TowerStore,
    names: BTreeSet<String>,
}

impl FolderStore {
    fn new(weights: &Weights) -> Result<Self, NnError> {
        let names: BTreeSet<String> = weights.names().map(str::to_owned).collect();
        let tower = TowerStore::vision(weights.var_builder(DType::F32, &Device::Cpu))?.with_names(&names);
        let store = Self { tower, names };
        store.refuse_surplus()?;
        Ok(store)
    }

    /// Newer checkpoints have all under `model.`, as nn's stores know of the tower and the language model.
    fn place<'a>(&self, name: &'a str) -> std::borrow::Cow<'a, str> {
        let newer = format!("model.{name}");
        if !name.starts_with(TOWER) && self.names.contains(&newer) { newer.into() } else { name.into() }
    }

    /// A projector that has more than two maps is another one than is computed.
    fn refuse_surplus(&self) -> Result<(), NnError> {
        let known = ["linear_1.weight", "linear_1.bias", "linear_2.weight", "linear_2.bias"];
        let part = |name: &str| {
            name.strip_prefix("model.").unwrap_or(name).strip_prefix(PROJECTOR).map(str::to_owned)
        };
        let surplus = self.names.iter().find(|name| part(name).is_some_and(|part| !known.contains(&&*part)));
        match surplus {
            Some(name) => Err(NnError::Unsupported {
                what: format!("the tensor {name:?}"),
                supported: "a projector of two linear maps is".to_owned(),
            }),
            None => Ok(()),
        }
    }
}

impl TensorStore for FolderStore {
    fn contains(&self, name: &str) -> bool {
        self.tower.contains(&self.place(name))
    }

    fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, NnError> {
        self.tower.vector(&self.place(name), length)
    }

    fn matrix(&self, name: &str, shape: (usize, usize)) -> Result<StoredMatrix, NnError> {
        self.tower.matrix(&self.place(name), shape)
    }

    fn unread(&self, read: &BTreeSet<String>, layers: usize) -> Option<String> {
        self.tower.unread(read, layers)
    }
}

/// An mmproj file.
struct MmprojStore {
    file: Gguf,
    /// See [`mmproj::stored_name`].
    exchanged: bool,
}

impl MmprojStore {
    fn new(file: Gguf) -> Self {
        // The map that takes rows of the tower's width is the first, whatever it is called.
        let columns = |name: &str| file.tensor(name).ok().and_then(|tensor| tensor.shape.last().copied());
        let width = columns("v.blk.0.attn_q.weight");
        let exchanged = width.is_some() && columns("v.blk.0.ffn_down.weight") == width;
        Self { file, exchanged }
    }

    fn stored_name(&self, name: &str) -> String {
        mmproj::stored_name(name.strip_prefix(TOWER).unwrap_or(name), self.exchanged)
    }

    /// A tensor whose axes are taken together as those wanted: a convolution's as a matrix.
    fn load(&self, name: &str, wanted: &[usize]) -> Result<QTensor, NnError> {
        let stored = self.stored_name(name);
        if !self.file.contains(&stored) {
            return Err(NnError::Weights(format!("the weights have no tensor {stored:?}")));
        }
        let tensor = self.file.load(&stored, &Device::Cpu).map_err(to_weights)?;
        let found = tensor.shape().dims();
        let agrees = found.first() == wanted.first()
            && found.iter().product::<usize>() == wanted.iter().product::<usize>();
        match agrees {
            true => Ok(tensor),
            false => Err(NnError::Weights(format!(
                "the tensor {stored:?} has the shape {found:?}, the metadata asks for {wanted:?}"
            ))),
        }
    }
}

impl TensorStore for MmprojStore {
    fn contains(&self, name: &str) -> bool {
        self.file.contains(&self.stored_name(name))
    }

    fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, NnError> {
        Ok(self.load(name, &[length])?.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()?)
    }

    fn matrix(&self, name: &str, (rows, columns): (usize, usize)) -> Result<StoredMatrix, NnError> {
        let tensor = self.load(name, &[rows, columns])?;
        let is_dense = matches!(tensor.dtype(), GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16);
        match is_dense || tensor.rank() != 2 {
            true => Ok(StoredMatrix::Dense(tensor.dequantize(&Device::Cpu)?.reshape((rows, columns))?)),
            false => Ok(StoredMatrix::Quantised(Arc::new(tensor))),
        }
    }

    /// A tensor of the tower's layers or of its embeddings.
    fn unread(&self, read: &BTreeSet<String>, layers: usize) -> Option<String> {
        let read: BTreeSet<String> = read.iter().map(|name| self.stored_name(name)).collect();
        let is_of_tower = |name: &&str| match name.strip_prefix("v.blk.") {
            Some(behind) => {
                let layer = behind.split_once('.').and_then(|(layer, _)| layer.parse::<usize>().ok());
                layer.is_none_or(|layer| layer < layers)
            }
            None => name.starts_with("v."),
        };
        let mut names = self.file.names().filter(is_of_tower);
        names.find(|name| !read.contains(*name)).map(str::to_owned)
    }
}

/// The first line of what a file's reader says.
fn to_weights(error: impl std::fmt::Display) -> NnError {
    NnError::Weights(error.to_string().lines().next().unwrap_or_default().to_owned())
}
