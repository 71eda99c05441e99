//! One text encoder of a pipeline: what it computes, and the tokenizer that belongs to it.

use model_source::ModelFiles;
use nn::{HiddenState, TextArchitecture, TextTower, TextTowerConfig, TowerOutputs};
use serde_json::Value;

use super::at;
use super::original::Component;
use super::tokenizer::ClipTokenizer;
use super::weights::Tensors;
use crate::error::Error;

/// A text encoder's configuration, what is taken from it, and its tokenizer.
#[derive(Debug)]
pub(crate) struct TextSide {
    /// 0, or 1 for the second.
    number: usize,
    pub(crate) config: TextTowerConfig,
    pub(crate) outputs: TowerOutputs,
    pub(crate) tokenizer: ClipTokenizer,
    /// Tokens of a chunk, those around it included.
    pub(crate) chunk: usize,
}

/// Of the folders of the first and the second.
const ENDS: [&str; 2] = ["", "_2"];

/// What a pipeline takes from a text encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The last hidden state, behind the last norm.
    Last,
    /// The last hidden state but one, without it.
    Penultimate,
    /// That, and the projected vector of the whole text.
    PenultimateAndPooled,
}

impl TextSide {
    /// Reads `text_encoder` and `tokenizer`, or with the number 1 `text_encoder_2` and `tokenizer_2`. Blocks.
    pub(crate) fn read(files: &ModelFiles, number: usize, taken: Taken) -> Result<Self, Error> {
        let end = ENDS[number];
        let folder = files.folder(&format!("text_encoder{end}"));
        let label = folder.require("config.json")?.label().to_owned();
        let fields: Value = folder.json("config.json")?;
        let mut config = TextTowerConfig::from_huggingface(&fields).map_err(at(&label))?;
        let wrong = |reason: String| Error::Checkpoint { place: label.clone(), reason };
        if config.architecture != TextArchitecture::Clip {
            return Err(Error::Unsupported {
                place: label,
                what: format!("the text encoder {:?}", config.architecture),
                supported: "pipelines with CLIP's are".to_owned(),
            });
        }
        match taken {
            // Files may hold a projection that the pipeline makes no use of.
            Taken::Last | Taken::Penultimate => config.projection = None,
            Taken::PenultimateAndPooled if config.projection.is_none() => {
                return Err(wrong(format!(
                    "is no CLIPTextModelWithProjection, and text_encoder{end} must give a vector of the whole text"
                )));
            }
            Taken::PenultimateAndPooled => {}
        }
        let outputs = taken.outputs(config.layers);
        let outputs = outputs.ok_or_else(|| wrong("has no layers".to_owned()))?;
        let folder = files.folder(&format!("tokenizer{end}"));
        let tokenizer = ClipTokenizer::read(&folder)?;
        let largest = tokenizer.largest();
        if largest as usize >= config.vocab_size {
            return Err(Error::Checkpoint {
                place: folder.place().to_owned(),
                reason: format!(
                    "has a token {largest}, and text_encoder{end} has embeddings for {}",
                    config.vocab_size
                ),
            });
        }
        let chunk = tokenizer.longest.map_or(config.positions, |longest| longest.min(config.positions));
        if chunk < 3 {
            return Err(wrong(format!("has room for {chunk} tokens, and two stand around each prompt")));
        }
        Ok(Self { number, config, outputs, tokenizer, chunk })
    }

    /// Loads the weights. Blocks.
    pub(crate) fn load(&self, files: &ModelFiles) -> Result<TextTower, Error> {
        let tensors = self.open(files)?;
        let tower = TextTower::load(self.config.clone(), &tensors.text()?, self.outputs.clone());
        tower.map_err(at(tensors.place()))
    }

    /// Opens the weights. Blocks.
    pub(super) fn open(&self, files: &ModelFiles) -> Result<Tensors, Error> {
        Tensors::open(files, &format!("text_encoder{}", ENDS[self.number]), Component::Text(self.number))
    }

    /// Numbers of the weights that are loaded.
    pub(crate) fn parameters(&self) -> u64 {
        let last = self.outputs.hidden.iter().map(|hidden| hidden.layer).max().unwrap_or(0);
        self.config.parameters(if self.outputs.embedding { self.config.layers } else { last })
    }
}

impl Taken {
    fn outputs(self, layers: usize) -> Option<TowerOutputs> {
        let (layer, normed) = match self {
            Self::Last => (layers, true),
            Self::Penultimate | Self::PenultimateAndPooled => (layers.checked_sub(1)?, false),
        };
        let embedding = self == Self::PenultimateAndPooled;
        Some(TowerOutputs { hidden: vec![HiddenState { layer, normed }], embedding })
    }
}
