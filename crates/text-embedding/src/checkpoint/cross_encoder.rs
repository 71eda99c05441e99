use model_source::{ModelFiles, Weights};
use pool_core::{Footprint, ModelId};

use super::bert_config::{Architecture, Family};
use super::encoder::{dtype_of, dtype_on, footprint, prefix, refuse_gguf};
use super::modules::{self, Module};
use super::{contradiction, limits, sentence_config, unsupported};
use crate::error::Error;
use crate::info::RerankerInfo;
use crate::load::Numbers;
use crate::network::{Activation, Bert, BertConfig, Classifier, ClassifierKind, Reader};
use crate::tokenize::TextTokenizer;

/// A cross-encoder's folder, read and checked; its weights can be loaded any number of times.
#[derive(Debug)]
pub(crate) struct CrossEncoder {
    files: ModelFiles,
    tokenizer: TextTokenizer,
    config: BertConfig,
    kind: ClassifierKind,
    labels: usize,
    activation: Activation,
    numbers: Numbers,
    footprint: Footprint,
}

/// A cross-encoder in memory.
#[derive(Debug)]
pub(crate) struct LoadedCrossEncoder {
    pub(crate) bert: Bert,
    pub(crate) classifier: Classifier,
    pub(crate) activation: Activation,
}

impl CrossEncoder {
    /// Reads everything but the weights' data.
    pub(crate) fn read(files: ModelFiles, numbers: Numbers) -> Result<Self, Error> {
        refuse_gguf(&files)?;
        let modules = modules::read(&files)?;
        let folder = match modules.as_deref() {
            None => files.folder(""),
            Some([Module::Transformer(folder)]) => folder.clone(),
            Some(_) => {
                return Err(unsupported(
                    files.place(),
                    "reranking with these modules as a cross-encoder",
                    "a cross-encoder is a single Transformer; embedding models rerank by likeness",
                ));
            }
        };
        let architecture = Architecture::read(&folder)?;
        let config = architecture.bert.clone();
        if !architecture.classifies {
            let supported = "use one whose architectures name ...ForSequenceClassification";
            return Err(unsupported(
                folder.place(),
                "reranking with a model without a classifier",
                supported,
            ));
        }
        if architecture.labels == 0 {
            return Err(contradiction(folder.place(), "has no labels in id2label"));
        }
        let activation = sentence_config::score_activation(&files, &folder, architecture.labels)?;
        let tokenizer = limits::tokenizer(&folder, &architecture, "sequence-classification")?;
        dtype_of(numbers, &Weights::open(&folder)?)?;
        let footprint = footprint(&folder, &config)?;
        let kind = match architecture.family {
            Family::Bert => ClassifierKind::Bert,
            Family::Roberta => ClassifierKind::Roberta,
        };
        Ok(Self {
            files: folder,
            tokenizer,
            config,
            kind,
            labels: architecture.labels,
            activation,
            numbers,
            footprint,
        })
    }

    /// Loads the weights.
    pub(crate) fn load(&self) -> Result<LoadedCrossEncoder, Error> {
        let weights = Weights::open(&self.files)?;
        let device = self.numbers.device.open()?;
        let dtype = dtype_on(self.numbers.dtype, &device, &weights)?;
        let prefix = prefix(&weights)?;
        let reader = Reader { weights: &weights, dtype, device: &device };
        let bert = Bert::load(&reader, prefix, &self.config).map_err(|error| error.at(&self.files))?;
        let classifier = Classifier::load(&reader, self.kind, prefix, self.config.hidden, self.labels)?;
        Ok(LoadedCrossEncoder { bert, classifier, activation: self.activation })
    }

    pub(crate) fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    pub(crate) fn footprint(&self) -> Footprint {
        self.footprint
    }

    /// What callers are told.
    pub(crate) fn info(&self, model: &ModelId) -> RerankerInfo {
        RerankerInfo {
            model: model.clone(),
            source: self.files.source().clone(),
            revision: self.files.revision().to_owned(),
            labels: self.labels,
            max_tokens: self.tokenizer.max_tokens(),
            vocabulary: self.config.vocabulary,
        }
    }
}
