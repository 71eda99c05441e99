//! GGUF files: metadata and tensors in one mapped file, whose whole header is checked before anything in it is used.
//!
//! A file that is truncated, damaged, of another version or byte order, in parts, or with tensors of a type that cannot be
//! computed with is refused when it is opened, in one line. What a key or a tensor means is not known here.
//!
//! The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod header;
mod reader;
mod tensor_type;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::gguf_file::Value;
use candle_core::quantized::{GgmlDType, QTensor, ggml_file};

use crate::SourceError;
use crate::files::ModelFile;
use crate::mapped::Mapped;
use header::{Header, TensorPlace};

/// Block types hold 16-bit and floats 32-bit numbers; a mapping and the format's own alignment are stricter.
const ALIGNMENT: usize = 4;

/// A GGUF file. Cheap to clone; it stays mapped until the last clone is dropped.
///
/// Opening it and loading tensors blocks: that belongs on a compute lane. A mapped file must not be truncated by others
/// while it is in use.
#[derive(Clone)]
pub struct Gguf(Arc<Opened>);

struct Opened {
    label: String,
    content: Mapped,
    header: Header,
}

/// A tensor as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct GgufTensor<'a> {
    /// The type of its blocks.
    pub dtype: GgmlDType,
    /// The lengths of its axes, outermost first: the reverse of the order in the file.
    pub shape: &'a [usize],
    /// Its blocks, row after row.
    pub bytes: &'a [u8],
}

impl Gguf {
    /// Maps a GGUF file of a model and checks its header. Blocks.
    ///
    /// # Errors
    /// [`SourceError::Unreadable`], or [`SourceError::InvalidFile`] if it is truncated, damaged or of a kind that cannot
    /// be used.
    pub fn open(file: &ModelFile) -> Result<Self, SourceError> {
        Self::new(file.label().to_owned(), Mapped::open(file)?)
    }

    /// Maps the GGUF file at a path and checks its header. Blocks.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_path(path: &Path) -> Result<Self, SourceError> {
        Self::new(path.display().to_string(), Mapped::open_path(path)?)
    }

    fn new(label: String, content: Mapped) -> Result<Self, SourceError> {
        match header::check(content.as_slice()) {
            Ok(header) => Ok(Self(Arc::new(Opened { label, content, header }))),
            Err(reason) => Err(SourceError::InvalidFile { file: label, reason }),
        }
    }

    /// How messages call it.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// All metadata: hyperparameters, vocabulary, chat template.
    #[must_use]
    pub fn metadata(&self) -> &HashMap<String, Value> {
        &self.0.header.metadata
    }

    /// A text of the metadata, if it is there: `general.architecture`, `tokenizer.chat_template`.
    ///
    /// # Errors
    /// [`SourceError::InvalidFile`] if it is no text.
    pub fn text(&self, key: &str) -> Result<Option<&str>, SourceError> {
        match self.metadata().get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.mistyped(key, other, "a string")),
        }
    }

    /// A yes or no of the metadata, if it is there.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, SourceError> {
        match self.metadata().get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.mistyped(key, other, "a bool")),
        }
    }

    /// A whole number of the metadata, if it is there, whatever integer type it is stored as.
    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, SourceError> {
        let Some(value) = self.metadata().get(key) else {
            return Ok(None);
        };
        let number = match *value {
            Value::U8(number) => Some(number.into()),
            Value::U16(number) => Some(number.into()),
            Value::U32(number) => Some(number.into()),
            Value::U64(number) => Some(number),
            Value::I8(number) => number.try_into().ok(),
            Value::I16(number) => number.try_into().ok(),
            Value::I32(number) => number.try_into().ok(),
            Value::I64(number) => number.try_into().ok(),
            _ => None,
        };
        number.map(Some).ok_or_else(|| self.mistyped(key, value, "a whole number"))
    }

    /// An array of the metadata, if it is there.
    pub(crate) fn array(&self, key: &str) -> Result<Option<&[Value]>, SourceError> {
        match self.metadata().get(key) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(other) => Err(self.mistyped(key, other, "an array")),
        }
    }

    /// The names of all tensors, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.header.tensors.keys().map(String::as_str)
    }

    /// Whether there is a tensor of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.header.tensors.contains_key(name)
    }

    /// Bytes of all tensors.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.0.header.tensors.values().map(|place| place.range.len() as u64).sum()
    }

    /// A tensor as it is stored, without copying.
    ///
    /// # Errors
    /// [`SourceError::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<GgufTensor<'_>, SourceError> {
        let Some(TensorPlace { dtype, shape, range }) = self.0.header.tensors.get(name) else {
            return Err(SourceError::MissingTensor { file: self.0.label.clone(), tensor: name.to_owned() });
        };
        // The header's check has shown that the range lies within the file.
        Ok(GgufTensor { dtype: *dtype, shape, bytes: &self.0.content.as_slice()[range.clone()] })
    }

    /// A tensor on a device, in the type it is stored as. Blocks.
    ///
    /// # Errors
    /// [`SourceError::MissingTensor`], or [`SourceError::InvalidFile`] if the device cannot take it.
    pub fn load(&self, name: &str, device: &Device) -> Result<QTensor, SourceError> {
        let stored = self.tensor(name)?;
        let mut bytes = Cow::Borrowed(stored.bytes);
        if bytes.as_ptr().align_offset(ALIGNMENT) != 0 {
            // Bytes that are compiled in lie anywhere; the allocator's blocks are aligned.
            bytes = Cow::Owned(bytes.into_owned());
        }
        let loaded = ggml_file::qtensor_from_ggml(stored.dtype, &bytes, stored.shape.to_vec(), device);
        self.0.content.forget(stored.bytes);
        loaded.map_err(|error| {
            let error = error.to_string();
            let reason = error.lines().next().unwrap_or("the tensor library gave no reason");
            self.invalid(format!("has a tensor {name:?} that cannot be loaded: {reason}"))
        })
    }

    pub(crate) fn invalid(&self, reason: String) -> SourceError {
        SourceError::InvalidFile { file: self.0.label.clone(), reason }
    }

    fn mistyped(&self, key: &str, value: &Value, wanted: &str) -> SourceError {
        self.invalid(format!("is damaged: its {key} is {}, not {wanted}", header::kind(value)))
    }
}

impl fmt::Debug for Gguf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gguf")
            .field("label", &self.0.label)
            .field("metadata", &self.metadata().len())
            .field("tensors", &self.0.header.tensors.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is compiled in may begin anywhere, and floats may not.
    #[test]
    fn bytes_at_odd_places_are_loaded() {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        for number in [1u64, 0, 1] {
            file.extend(number.to_le_bytes());
        }
        file.push(b'w');
        file.extend(1u32.to_le_bytes());
        file.extend(2u64.to_le_bytes());
        file.extend([0; 4 + 8]);
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend([1.5f32, -2.0].map(f32::to_le_bytes).as_flattened());
        for place in 0..ALIGNMENT {
            let content: &'static [u8] = [vec![0; place], file.clone()].concat().leak();
            let opened = Gguf::new("compiled in".to_owned(), Mapped::Static(&content[place..])).unwrap();
            let loaded = opened.load("w", &Device::Cpu).unwrap().dequantize(&Device::Cpu).unwrap();
            assert_eq!(loaded.to_vec1::<f32>().unwrap(), [1.5, -2.0]);
        }
    }
}
