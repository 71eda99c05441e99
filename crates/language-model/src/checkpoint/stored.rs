use candle_core::quantized::GgmlDType;
use candle_core::{DType, Device};
use model_source::{Gguf, LanguageTokenizer, ModelFiles, SourceError, Weights};
use nn::{Activations, Decoder, DecoderConfig, GgufStore, NnError, Precision, SafetensorsStore};
use serde_json::Value;

use crate::error::Error;

/// How a model's weights, configuration and vocabulary are stored.
#[derive(Clone, Debug)]
pub(super) enum Stored {
    /// Safetensors, `config.json` and `tokenizer.json`.
    Folder(ModelFiles),
    /// All in one GGUF file.
    Gguf(Gguf),
}

impl Stored {
    /// Looks at the headers of the weights.
    pub(super) fn open(files: &ModelFiles) -> Result<Self, Error> {
        match files.gguf_file() {
            Some(file) => Ok(Self::Gguf(Gguf::open(file)?)),
            None => {
                Weights::open(files)?;
                Ok(Self::Folder(files.clone()))
            }
        }
    }

    /// Where the configuration is.
    fn place(&self) -> String {
        match self {
            Self::Gguf(file) => file.label().to_owned(),
            Self::Folder(files) => files
                .get("config.json")
                .map_or_else(|| files.place().to_owned(), |file| file.label().to_owned()),
        }
    }

    /// `language`: takes the language model's part out of `config.json`.
    pub(super) fn config(
        &self,
        language: impl FnOnce(Value, &str) -> Result<Value, Error>,
    ) -> Result<DecoderConfig, Error> {
        let config = match self {
            Self::Gguf(file) => DecoderConfig::from_gguf(file.metadata()),
            Self::Folder(files) => {
                DecoderConfig::from_huggingface(&language(files.config()?, &self.place())?)
            }
        };
        config.map_err(|error| match error {
            NnError::Unsupported { what, supported } => {
                Error::Unsupported { place: self.place(), what, supported }
            }
            error => Error::checkpoint(self.place(), error),
        })
    }

    pub(super) fn tokenizer(&self) -> Result<LanguageTokenizer, SourceError> {
        match self {
            Self::Gguf(file) => LanguageTokenizer::from_gguf(file),
            Self::Folder(files) => LanguageTokenizer::from_files(files),
        }
    }

    /// Bytes that the weights take once they are loaded.
    pub(super) fn bytes(&self, config: &DecoderConfig, precision: Precision) -> Result<u64, SourceError> {
        let Self::Gguf(file) = self else {
            return Ok(config.parameters().saturating_mul(4));
        };
        let mut bytes = 0;
        for name in file.names() {
            let tensor = file.tensor(name)?;
            let is_dense = matches!(tensor.dtype, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16);
            bytes += match is_dense || precision.activations == Activations::F32 {
                true => 4 * tensor.shape.iter().product::<usize>() as u64,
                false => tensor.bytes.len() as u64,
            };
        }
        Ok(bytes)
    }

    /// Loads the weights.
    pub(super) fn load(&self, config: DecoderConfig, precision: Precision) -> Result<Decoder, Error> {
        let decoder = match self {
            Self::Gguf(file) => {
                let load = |name: &str| file.load(name, &Device::Cpu);
                let store = GgufStore::new(&config, file.names(), load);
                Decoder::load(config, &store, precision)
            }
            Self::Folder(files) => {
                let weights = Weights::open(files)?;
                SafetensorsStore::new(weights.var_builder(DType::F32, &Device::Cpu))
                    .map(|store| store.with_names(weights.names()))
                    .and_then(|store| Decoder::load(config, &store, precision))
            }
        };
        decoder.map_err(|error| Error::checkpoint(self.place(), error))
    }
}
