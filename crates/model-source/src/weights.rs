//! A model's tensors, from safetensors files that are mapped, not read: every header is checked before a byte of data is
//! used, so a damaged file is refused with a line that says what is wrong.

mod backend;
mod header;
mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use serde::Deserialize;

use crate::SourceError;
use crate::files::{ModelFile, ModelFiles};
use crate::mapped::Mapped;

/// The number types safetensors files store.
pub use safetensors::Dtype as StoredDtype;

pub use view::{Piece, WeightsView};

/// The tensors of a model's safetensors files. Cheap to clone; the files stay mapped until the last clone is dropped.
///
/// Opening and using it blocks: it belongs on a compute lane. A mapped file must not be truncated by others while it is
/// in use, as no program that maps files can survive that; caches and model folders replace files instead.
#[derive(Clone)]
pub struct Weights(Arc<Opened>);

struct Opened {
    files: Vec<OpenFile>,
    /// Which file holds the tensor.
    tensors: BTreeMap<String, usize>,
}

struct OpenFile {
    label: String,
    bytes: Mapped,
    /// Where the data begins.
    start: usize,
    metadata: Metadata,
}

/// A tensor as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct StoredTensor<'a> {
    /// The number type.
    pub dtype: StoredDtype,
    /// The lengths of its axes.
    pub shape: &'a [usize],
    /// Its numbers, little-endian, in row-major order. Not necessarily aligned.
    pub bytes: &'a [u8],
}

impl Weights {
    /// Opens the safetensors files of a resolved model and checks their headers. Blocks.
    ///
    /// # Errors
    /// [`SourceError::MissingFile`] without weights or with a shard missing, [`SourceError::Unreadable`],
    /// [`SourceError::InvalidFile`] if a file is truncated or damaged.
    pub fn open(files: &ModelFiles) -> Result<Self, SourceError> {
        if let Some(index) = files.shard_index() {
            check_shards(index, files)?;
        }
        let opened: Vec<OpenFile> = files.weight_files().map(open_file).collect::<Result<_, _>>()?;
        if opened.is_empty() {
            return Err(SourceError::MissingFile {
                place: files.place().to_owned(),
                file: "weights".to_owned(),
                hint: String::new(),
            });
        }
        Self::new(opened)
    }

    /// Opens one safetensors file. Blocks.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_path(path: &Path) -> Result<Self, SourceError> {
        let label = path.display().to_string();
        Self::new(vec![open_bytes(label, Mapped::open_path(path)?)?])
    }

    /// Takes the content of a compiled-in safetensors file; `label` is its name in messages.
    ///
    /// # Errors
    /// [`SourceError::InvalidFile`].
    pub fn from_static(label: impl Into<String>, bytes: &'static [u8]) -> Result<Self, SourceError> {
        Self::new(vec![open_bytes(label.into(), Mapped::Static(bytes))?])
    }

    fn new(files: Vec<OpenFile>) -> Result<Self, SourceError> {
        let mut tensors = BTreeMap::new();
        for (number, file) in files.iter().enumerate() {
            for name in file.metadata.offset_keys() {
                if let Some(other) = tensors.insert(name.clone(), number) {
                    return Err(SourceError::InvalidFile {
                        file: file.label.clone(),
                        reason: format!("has a tensor {name:?} that {} has too", files[other].label),
                    });
                }
            }
        }
        Ok(Self(Arc::new(Opened { files, tensors })))
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.tensors.contains_key(name)
    }

    /// Bytes of all tensors.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.0.files.iter().map(|file| file.metadata.data_len() as u64).sum()
    }

    /// The free-form entry `key` of the headers' `__metadata__`.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.0.files.iter().find_map(|file| file.metadata.metadata().as_ref()?.get(key)).map(String::as_str)
    }

    /// A tensor as it is stored, without copying.
    ///
    /// # Errors
    /// [`SourceError::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<StoredTensor<'_>, SourceError> {
        let (file, info) = self.find(name)?;
        let (begin, end) = info.data_offsets;
        // The header's check has shown that these lie within the file.
        let bytes = &file.bytes.as_slice()[file.start..][begin..end];
        Ok(StoredTensor { dtype: info.dtype, shape: &info.shape, bytes })
    }

    /// A tensor of the expected shape and number type, as it is stored.
    ///
    /// # Errors
    /// [`SourceError::MissingTensor`], [`SourceError::ShapeMismatch`], [`SourceError::DtypeMismatch`].
    pub fn tensor_of(
        &self,
        name: &str,
        shape: &[usize],
        dtype: StoredDtype,
    ) -> Result<StoredTensor<'_>, SourceError> {
        self.check_shape(name, shape)?;
        let tensor = self.tensor(name)?;
        if tensor.dtype == dtype { Ok(tensor) } else { Err(self.dtype_mismatch(name, tensor.dtype)) }
    }

    /// A tensor on a device, converted to `dtype`.
    ///
    /// # Errors
    /// [`SourceError::MissingTensor`], or [`SourceError::DtypeMismatch`] where the tensor library has no such type or
    /// cannot convert it.
    pub fn load(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor, SourceError> {
        let stored = self.tensor(name)?;
        let mismatch = || self.dtype_mismatch(name, stored.dtype);
        DType::try_from(stored.dtype).map_err(|_| mismatch())?;
        let view =
            TensorView::new(stored.dtype, stored.shape.to_vec(), stored.bytes).map_err(|_| mismatch())?;
        let tensor = candle_core::safetensors::Load::load(&view, device).map_err(|_| mismatch())?;
        let (file, _) = self.find(name)?;
        file.bytes.forget(stored.bytes);
        tensor.to_dtype(dtype).map_err(|_| mismatch())
    }

    /// Checks that a tensor has the shape the configuration wants.
    ///
    /// # Errors
    /// [`SourceError::MissingTensor`], [`SourceError::ShapeMismatch`].
    pub fn check_shape(&self, name: &str, wanted: &[usize]) -> Result<(), SourceError> {
        let (file, info) = self.find(name)?;
        if info.shape == wanted {
            return Ok(());
        }
        Err(SourceError::ShapeMismatch {
            file: file.label.clone(),
            tensor: name.to_owned(),
            found: info.shape.clone(),
            wanted: wanted.to_vec(),
        })
    }

    /// The first of `prefixes` under which `probe` exists: checkpoints of a bare encoder say `embeddings.*`, those with a
    /// head say `bert.embeddings.*`.
    ///
    /// # Errors
    /// [`SourceError::MissingTensor`] if it exists under none.
    pub fn prefix<'p>(&self, prefixes: &[&'p str], probe: &str) -> Result<&'p str, SourceError> {
        let found = prefixes.iter().find(|prefix| self.contains(&format!("{prefix}{probe}")));
        found.copied().ok_or_else(|| self.missing(probe))
    }

    /// The floating-point type that most of the data has; f32 if there is none.
    #[must_use]
    pub fn dtype(&self) -> DType {
        let mut bytes: BTreeMap<&'static str, (usize, DType)> = BTreeMap::new();
        for info in self.0.files.iter().flat_map(|file| file.metadata.tensors().into_values()) {
            if let Ok(dtype) = DType::try_from(info.dtype)
                && dtype.is_float()
            {
                bytes.entry(dtype.as_str()).or_insert((0, dtype)).0 +=
                    info.data_offsets.1 - info.data_offsets.0;
            }
        }
        bytes.into_values().max_by_key(|(bytes, _)| *bytes).map_or(DType::F32, |(_, dtype)| dtype)
    }

    /// A variable builder of the tensor library over these weights, converting to `dtype`. Its errors are the messages of
    /// [`SourceError`].
    #[must_use]
    pub fn var_builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }

    fn find(&self, name: &str) -> Result<(&OpenFile, &TensorInfo), SourceError> {
        let file = self.0.tensors.get(name).map(|number| &self.0.files[*number]);
        file.and_then(|file| Some((file, file.metadata.info(name)?))).ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> SourceError {
        let file = self.0.files.first().map_or_else(String::new, |file| file.label.clone());
        SourceError::MissingTensor { file, tensor: name.to_owned() }
    }

    fn dtype_mismatch(&self, name: &str, found: StoredDtype) -> SourceError {
        let file = self.find(name).map_or_else(|_| String::new(), |(file, _)| file.label.clone());
        SourceError::DtypeMismatch { file, tensor: name.to_owned(), found: format!("{found:?}") }
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<&str> = self.0.files.iter().map(|file| file.label.as_str()).collect();
        f.debug_struct("Weights").field("files", &files).field("tensors", &self.0.tensors.len()).finish()
    }
}

/// Checks that every shard the index names is there.
fn check_shards(index: &ModelFile, files: &ModelFiles) -> Result<(), SourceError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let map: Index = crate::json::parse(index.label(), &index.read()?)?;
    let ends_with = |file: &ModelFile, shard: &str| {
        file.label().strip_suffix(shard).is_some_and(|rest| rest.ends_with(['/', '\\']))
    };
    match map.weight_map.values().find(|shard| !files.weight_files().any(|file| ends_with(file, shard))) {
        None => Ok(()),
        Some(shard) => Err(SourceError::MissingFile {
            place: files.place().to_owned(),
            file: shard.clone(),
            hint: format!(", which {} names", index.label()),
        }),
    }
}

fn open_file(file: &ModelFile) -> Result<OpenFile, SourceError> {
    open_bytes(file.label().to_owned(), Mapped::open(file)?)
}

fn open_bytes(label: String, bytes: Mapped) -> Result<OpenFile, SourceError> {
    let (start, metadata) = header::check(bytes.as_slice())
        .map_err(|reason| SourceError::InvalidFile { file: label.clone(), reason })?;
    Ok(OpenFile { label, bytes, start, metadata })
}
