//! The files of one resolved model: which there are, and their content by name.
//!
//! Nothing here is asynchronous: what reads a file blocks, and belongs on a compute lane.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokenizers::Tokenizer;

use crate::{Source, SourceError};

/// Where a file's content is.
#[derive(Clone)]
#[non_exhaustive]
pub enum FileData {
    /// On disk.
    Path(PathBuf),
    /// Compiled in.
    Bytes(&'static [u8]),
}

impl fmt::Debug for FileData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

/// One file of a model.
#[derive(Clone, Debug)]
pub struct ModelFile {
    label: String,
    data: FileData,
    size: u64,
}

impl ModelFile {
    pub(crate) fn new(label: String, data: FileData, size: u64) -> Self {
        Self { label, data, size }
    }

    /// How messages call it: its path, or the source and its name.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Where its content is.
    #[must_use]
    pub fn data(&self) -> &FileData {
        &self.data
    }

    /// Its size in bytes when the source was resolved.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its whole content. Blocks; for small files.
    ///
    /// # Errors
    /// [`SourceError::Unreadable`].
    pub fn read(&self) -> Result<Cow<'static, [u8]>, SourceError> {
        match &self.data {
            FileData::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
            FileData::Path(path) => {
                std::fs::read(path).map(Cow::Owned).map_err(|error| SourceError::unreadable(path, error))
            }
        }
    }
}

/// The files of a resolved model. Cheap to clone.
#[derive(Clone)]
pub struct ModelFiles {
    source: Source,
    place: Arc<str>,
    revision: Arc<str>,
    files: Arc<BTreeMap<String, ModelFile>>,
    weights: Arc<[String]>,
}

impl ModelFiles {
    pub(crate) fn new(
        source: Source,
        place: String,
        revision: String,
        files: BTreeMap<String, ModelFile>,
        weights: Vec<String>,
    ) -> Self {
        Self {
            source,
            place: place.into(),
            revision: revision.into(),
            files: Arc::new(files),
            weights: weights.into(),
        }
    }

    /// The source these files were resolved from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What identifies the content: the commit on the hub, a fingerprint of names, sizes and times of change for local
    /// files, the version of a built-in model.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The names of all files, sorted; those in subfolders with forward slashes.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The file of that name, if the model has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ModelFile> {
        self.files.get(name)
    }

    /// The file of that name.
    ///
    /// # Errors
    /// [`SourceError::MissingFile`].
    pub fn require(&self, name: &str) -> Result<&ModelFile, SourceError> {
        self.get(name).ok_or_else(|| SourceError::MissingFile {
            place: self.place.to_string(),
            file: name.to_owned(),
            hint: match name {
                "tokenizer.json" => ", the tokenizer; save one with transformers' save_pretrained".to_owned(),
                "config.json" => ", so the model's architecture is unknown".to_owned(),
                _ => String::new(),
            },
        })
    }

    /// A JSON file, parsed. Blocks.
    ///
    /// # Errors
    /// [`SourceError::MissingFile`], [`SourceError::Unreadable`], or [`SourceError::InvalidJson`], which names the field.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T, SourceError> {
        let file = self.require(name)?;
        crate::json::parse(file.label(), &file.read()?)
    }

    /// A JSON file, parsed, or nothing where the model has no such file. Blocks.
    ///
    /// # Errors
    /// As [`json`](Self::json), but for the missing file.
    pub fn json_if_any<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SourceError> {
        if self.get(name).is_none() { Ok(None) } else { self.json(name).map(Some) }
    }

    /// `config.json`, parsed. Blocks.
    ///
    /// # Errors
    /// As [`json`](Self::json).
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, SourceError> {
        self.json("config.json")
    }

    /// A text file, or nothing where the model has no such file (`chat_template.jinja`). Blocks.
    ///
    /// # Errors
    /// [`SourceError::Unreadable`], or [`SourceError::InvalidFile`] where it is not UTF-8.
    pub fn text_if_any(&self, name: &str) -> Result<Option<String>, SourceError> {
        let Some(file) = self.get(name) else {
            return Ok(None);
        };
        String::from_utf8(file.read()?.into_owned()).map(Some).map_err(|error| SourceError::InvalidFile {
            file: file.label().to_owned(),
            reason: format!("is not UTF-8: {error}"),
        })
    }

    /// The tokenizer of `tokenizer.json`. Blocks, for a good part of a second where the vocabulary is large.
    ///
    /// # Errors
    /// [`SourceError::MissingFile`], [`SourceError::Unreadable`], or [`SourceError::InvalidFile`].
    pub fn tokenizer(&self) -> Result<Tokenizer, SourceError> {
        let file = self.require("tokenizer.json")?;
        Tokenizer::from_bytes(file.read()?).map_err(|error| SourceError::InvalidFile {
            file: file.label().to_owned(),
            reason: format!("is no tokenizer: {error}"),
        })
    }

    /// The files that hold weights: safetensors, or one GGUF. Empty if none were wanted.
    pub fn weight_files(&self) -> impl Iterator<Item = &ModelFile> {
        self.weights.iter().filter(|name| !name.ends_with(".json")).filter_map(|name| self.files.get(name))
    }

    /// The index of sharded weights, if they are sharded.
    pub(crate) fn shard_index(&self) -> Option<&ModelFile> {
        self.weights.iter().find(|name| name.ends_with(".index.json")).and_then(|name| self.files.get(name))
    }

    /// Bytes of all weights: what mapping them takes.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.weight_files().map(ModelFile::size).sum()
    }

    /// The path of the GGUF file, if that is what holds the weights.
    #[must_use]
    pub fn gguf(&self) -> Option<&Path> {
        match &self.gguf_file()?.data {
            FileData::Path(path) => Some(path),
            FileData::Bytes(_) => None,
        }
    }

    /// The GGUF file, if that is what holds the weights.
    #[must_use]
    pub fn gguf_file(&self) -> Option<&ModelFile> {
        self.weight_files().find(|file| file.label.ends_with(".gguf"))
    }

    /// The GGUF file beside a language model's that holds what reads pictures, which llama.cpp calls mmproj.
    #[must_use]
    pub fn projector_file(&self) -> Option<&ModelFile> {
        self.weight_files().skip(1).find(|file| crate::wanted::is_projector(&file.label))
    }

    /// One subfolder as if it were a model of its own: a component of a pipeline, a module of sentence-transformers. The
    /// empty name (and `.`) is the model's top alone, without its subfolders.
    #[must_use]
    pub fn folder(&self, name: &str) -> Self {
        let top = matches!(name, "" | ".");
        let inside = |file: &str| {
            let inner = if top { file } else { file.strip_prefix(name)?.strip_prefix('/')? };
            (!top || !inner.contains('/')).then(|| inner.to_owned())
        };
        let files = self.files.iter().filter_map(|(key, file)| Some((inside(key)?, file.clone()))).collect();
        Self {
            source: self.source.clone(),
            place: if top { Arc::clone(&self.place) } else { format!("{}/{name}", self.place).into() },
            revision: self.revision.clone(),
            files: Arc::new(files),
            weights: self.weights.iter().filter_map(|file| inside(file)).collect(),
        }
    }

    /// How messages call the whole model: the folder, or the source.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }
}

impl fmt::Debug for ModelFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelFiles")
            .field("source", &self.source)
            .field("revision", &self.revision)
            .field("files", &self.files.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
