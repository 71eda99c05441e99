//! Tiny models that read pictures, of random weights, made as large as a test wants.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::Value;
use tempfile::TempDir;

use crate::binary::workspace;

/// A checkpoint in a folder of its own.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    folder: TempDir,
}

fn llava_fixtures() -> PathBuf {
    workspace().join("crates/llava-vision/tests/fixtures/llava")
}

/// A picture of the fixtures.
pub(crate) fn picture(name: &str) -> PathBuf {
    llava_fixtures().join("pictures").join(name).with_extension("png")
}

/// The same in a URL.
pub(crate) fn picture_url(name: &str) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(std::fs::read(picture(name)).unwrap()))
}

impl Checkpoint {
    /// LLaVA 1.5.
    pub(crate) fn llava() -> Self {
        Self::of(&[&llava_fixtures().join("llava-llama"), &llava_fixtures().join("tokenizer")])
    }

    /// CLIP, with its texts.
    pub(crate) fn clip() -> Self {
        Self::of(&[&workspace().join("crates/image-embedding/tests/fixtures/checkpoints/clip")])
    }

    /// The files of some folders.
    fn of(folders: &[&Path]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for from in folders {
            for entry in from.read_dir().unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_file() {
                    std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
                }
            }
        }
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    #[cfg(target_os = "linux")]
    /// Gives the text part a vocabulary of so many tokens, most of which no text has: weights that take memory, and nearly
    /// no time.
    pub(crate) fn with_vocabulary(self, tokens: usize, tables: &[&str]) -> Self {
        let path = self.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config["text_config"]["vocab_size"] = tokens.into();
        std::fs::write(path, config.to_string()).unwrap();
        let path = self.path().join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        let stored = SafeTensors::deserialize(&bytes).unwrap();
        // The same rows over and over.
        let longer: BTreeMap<&str, Vec<u8>> = tables
            .iter()
            .map(|name| {
                let table = stored.tensor(name).unwrap();
                let row = table.data().len() / table.shape()[0];
                (*name, table.data().iter().copied().cycle().take(tokens * row).collect())
            })
            .collect();
        let tensors = stored.iter().map(|(name, tensor)| {
            let tensor = match longer.get(name) {
                Some(data) => TensorView::new(tensor.dtype(), vec![tokens, tensor.shape()[1]], data).unwrap(),
                None => tensor,
            };
            (name.to_owned(), tensor)
        });
        let written = safetensors::serialize(tensors.collect::<BTreeMap<_, _>>(), None).unwrap();
        std::fs::write(path, written).unwrap();
        self
    }
}
