//! The models compiled into Candlepool: their bytes, names and licences, and nothing else.
//!
//! What reads them lives in `model-source`, which offers them under `builtin` and `builtin:NAME`.
//!
//! ```
//! for model in builtin_models::MODELS {
//!     assert!(builtin_models::find(model.name).is_some());
//! }
//! assert!(builtin_models::find("no such model").is_none());
//! ```

/// One compiled-in model, in the layout a Hugging Face folder has.
#[derive(Clone, Copy)]
pub struct BuiltinModel {
    /// The name after `builtin:`.
    pub name: &'static str,
    /// What it is for, as the configuration spells it: `text-embedding`, `text-to-text`, ...
    pub modality: &'static str,
    /// Its files: path inside the model's folder (`config.json`, `1_Pooling/config.json`) and content.
    pub files: &'static [(&'static str, &'static [u8])],
    /// Changes whenever a file does; it is the model's revision.
    pub version: &'static str,
    /// The licence of the model and of what it was made from, in one line.
    pub licence: &'static str,
}

impl std::fmt::Debug for BuiltinModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuiltinModel")
            .field("name", &self.name)
            .field("modality", &self.modality)
            .field("files", &self.files.iter().map(|(name, bytes)| (name, bytes.len())).collect::<Vec<_>>())
            .field("version", &self.version)
            .field("licence", &self.licence)
            .finish()
    }
}

/// Every compiled-in model. The first of a modality is the one that a bare `builtin` means.
// A static, so that the bytes are in the program once.
pub static MODELS: &[BuiltinModel] = &[BuiltinModel {
    name: "static-minilm",
    modality: "text-embedding",
    files: &[
        ("config.json", include_bytes!("../data/static-minilm/config.json")),
        ("model.safetensors", include_bytes!("../data/static-minilm/model.safetensors")),
        ("modules.json", include_bytes!("../data/static-minilm/modules.json")),
        ("tokenizer.json", include_bytes!("../data/static-minilm/tokenizer.json")),
    ],
    version: "4424d9f15df9",
    licence: "Apache-2.0, derived from sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0)",
}];

/// The model of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static BuiltinModel> {
    MODELS.iter().find(|model| model.name == name)
}

/// The model a bare `builtin` means for a modality.
#[must_use]
pub fn default_for(modality: &str) -> Option<&'static BuiltinModel> {
    MODELS.iter().find(|model| model.modality == modality)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::MODELS;

    #[test]
    fn the_version_follows_the_bytes() {
        for model in MODELS {
            let mut digest = Sha256::new();
            for (name, bytes) in model.files {
                digest.update(name.as_bytes());
                digest.update(bytes);
            }
            let digest: String = digest.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(model.version, digest, "the files of {} have changed", model.name);
        }
    }

    #[test]
    fn no_model_outgrows_the_program() {
        for model in MODELS {
            let size: usize = model.files.iter().map(|(_, bytes)| bytes.len()).sum();
            assert!(size <= 9_000_000, "{} has {size} bytes", model.name);
        }
    }
}
