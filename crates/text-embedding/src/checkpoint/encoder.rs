use candle_core::{DType, Device};
use model_source::{DeviceChoice, Dtype, ModelFiles, SourceError, Weights};
use pool_core::{Bytes, Footprint, ModelId};
use serde::Deserialize;
use tokenizers::{ModelWrapper, Tokenizer};

use super::bert_config::Architecture;
use super::modules::{self, Module, PoolingConfig};
use super::sentence_config::{self, SentenceConfig};
use super::{contradiction, limits, unsupported};
use crate::error::Error;
use crate::info::ModelInfo;
use crate::load::Numbers;
use crate::network::{Bert, BertConfig, Dense, DenseConfig, StaticTable};
use crate::tokenize::{Limits, TextTokenizer};

/// An embedding model's folder, read and checked; its weights can be loaded any number of times.
#[derive(Debug)]
pub(crate) struct Encoder {
    files: ModelFiles,
    tokenizer: TextTokenizer,
    kind: Kind,
    pooling: PoolingConfig,
    head: Vec<HeadPlan>,
    settings: SentenceConfig,
    numbers: Numbers,
    footprint: Footprint,
    info: Sizes,
}

#[derive(Debug)]
enum Kind {
    Bert { files: ModelFiles, config: BertConfig },
    Static { files: ModelFiles },
}

#[derive(Debug)]
enum HeadPlan {
    Dense(ModelFiles, DenseConfig),
    Normalize,
}

#[derive(Debug)]
struct Sizes {
    dimensions: usize,
    max_tokens: Option<usize>,
    vocabulary: usize,
}

/// An embedding model in memory.
#[derive(Debug)]
pub(crate) struct LoadedEncoder {
    pub(crate) network: Network,
    pub(crate) modes: Vec<crate::info::Pooling>,
    pub(crate) head: Vec<Head>,
}

/// What turns tokens into vectors.
#[derive(Debug)]
pub(crate) enum Network {
    /// One vector a token, in its context.
    Bert(Bert),
    /// One vector a text.
    Static(StaticTable),
}

/// What happens to a vector behind the pooling.
#[derive(Debug)]
pub(crate) enum Head {
    Dense(Dense),
    Normalize,
}

/// `config.json` of model2vec.
#[derive(Default, Deserialize)]
struct Model2Vec {
    model_type: Option<String>,
    #[serde(default)]
    normalize: Option<bool>,
    /// Absent: 512. Null: no limit.
    #[serde(default, deserialize_with = "present")]
    max_length: Option<Option<usize>>,
}

fn present<'d, D: serde::Deserializer<'d>>(deserializer: D) -> Result<Option<Option<usize>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Encoder {
    /// Reads everything but the weights' data.
    pub(crate) fn read(files: ModelFiles, numbers: Numbers) -> Result<Self, Error> {
        refuse_gguf(&files)?;
        let settings = sentence_config::read(&files)?;
        let mut modules = modules_of(&files)?.into_iter();
        let label = format!("{}/modules.json", files.place());
        match modules.next() {
            Some(Module::Transformer(folder)) => {
                let pooling = match modules.next() {
                    Some(Module::Pooling(pooling)) => pooling,
                    _ => {
                        return Err(unsupported(
                            label,
                            "a Transformer without Pooling behind it",
                            "one must follow",
                        ));
                    }
                };
                Self::transformer(files, folder, pooling, modules, settings, numbers)
            }
            Some(Module::StaticEmbedding(folder)) => Self::fixed(files, folder, modules, settings, numbers),
            _ => Err(contradiction(label, "must begin with a Transformer or a StaticEmbedding")),
        }
    }

    fn transformer(
        files: ModelFiles,
        folder: ModelFiles,
        pooling: PoolingConfig,
        modules: impl Iterator<Item = Module>,
        settings: SentenceConfig,
        numbers: Numbers,
    ) -> Result<Self, Error> {
        let architecture = Architecture::read(&folder)?;
        let config = architecture.bert.clone();
        if let Some(dimensions) = pooling.dimensions.filter(|given| *given != config.hidden) {
            let reason =
                format!("pools {dimensions} dimensions, the model's hidden_size is {}", config.hidden);
            return Err(contradiction(pooling.label, reason));
        }
        let tokenizer = limits::tokenizer(&folder, &architecture, "feature-extraction")?;
        let pooled = config.hidden * pooling.modes.len();
        let (head, dimensions) = head(modules, pooled, &files)?;
        dtype_of(numbers, &Weights::open(&folder)?)?;
        let footprint = footprint(&folder, &config)?;
        let info = Sizes { dimensions, max_tokens: tokenizer.max_tokens(), vocabulary: config.vocabulary };
        let kind = Kind::Bert { files: folder, config };
        Ok(Self { files, tokenizer, kind, pooling, head, settings, numbers, footprint, info })
    }

    fn fixed(
        files: ModelFiles,
        folder: ModelFiles,
        modules: impl Iterator<Item = Module>,
        settings: SentenceConfig,
        numbers: Numbers,
    ) -> Result<Self, Error> {
        let table = open_table(&folder)?;
        if !matches!(numbers.dtype, Dtype::Auto | Dtype::F32 | Dtype::Int8)
            || (numbers.dtype == Dtype::Int8 && !table.is_int8())
        {
            let what = format!("dtype {} for this static model", numbers.dtype);
            return Err(unsupported(
                files.place(),
                what,
                "its vectors are read as they are stored: use auto",
            ));
        }
        if !matches!(numbers.device, DeviceChoice::Auto | DeviceChoice::Cpu) {
            return Err(unsupported(
                files.place(),
                format!("device {} for a static model", numbers.device),
                "use cpu",
            ));
        }
        let (head, dimensions) = head(modules, table.dimensions(), &files)?;
        let tokenizer = fixed_tokenizer(&folder, &table)?;
        let (max_tokens, vocabulary) = (tokenizer.max_tokens(), table.tokens());
        let weights = Bytes(Weights::open(&folder)?.total_bytes());
        let footprint = Footprint { weights, working_set: Bytes(1 << 20) };
        let info = Sizes { dimensions, max_tokens, vocabulary };
        let kind = Kind::Static { files: folder };
        let pooling = PoolingConfig::default();
        Ok(Self { files, tokenizer, kind, pooling, head, settings, numbers, footprint, info })
    }

    /// Loads the weights.
    pub(crate) fn load(&self) -> Result<LoadedEncoder, Error> {
        let network = match &self.kind {
            Kind::Bert { files, config } => {
                let weights = Weights::open(files)?;
                let device = self.numbers.device.open()?;
                let dtype = dtype_on(self.numbers.dtype, &device, &weights)?;
                let prefix = prefix(&weights)?;
                let reader = crate::network::Reader { weights: &weights, dtype, device: &device };
                Network::Bert(Bert::load(&reader, prefix, config).map_err(|error| error.at(files))?)
            }
            Kind::Static { files } => {
                let table = open_table(files)?;
                if table.tokens() != self.info.vocabulary {
                    return Err(contradiction(files.place(), "has changed since it was read; load it again"));
                }
                Network::Static(table)
            }
        };
        let head = self.head.iter().map(HeadPlan::load).collect::<Result<_, _>>()?;
        Ok(LoadedEncoder { network, modes: self.pooling.modes.clone(), head })
    }

    pub(crate) fn tokenizer(&self) -> &TextTokenizer {
        &self.tokenizer
    }

    pub(crate) fn footprint(&self) -> Footprint {
        self.footprint
    }

    /// Whether a prompt's tokens are left out of pooling.
    pub(crate) fn skips_prompt(&self) -> bool {
        !self.pooling.include_prompt
    }

    /// Whether a vector is scaled to length 1 at the end.
    pub(crate) fn normalizes(&self) -> bool {
        matches!(self.head.last(), Some(HeadPlan::Normalize))
    }

    /// What callers are told.
    pub(crate) fn info(&self, model: &ModelId) -> ModelInfo {
        let full = self.info.dimensions;
        ModelInfo {
            model: model.clone(),
            source: self.files.source().clone(),
            revision: self.files.revision().to_owned(),
            dimensions: self.settings.truncate_dim.map_or(full, |most| most.min(full)),
            full_dimensions: full,
            max_tokens: self.info.max_tokens,
            pooling: self.pooling.modes.clone(),
            normalized: self.normalizes(),
            similarity: self.settings.similarity,
            prompts: self.settings.prompts.clone(),
            default_prompt: self.settings.default_prompt.clone(),
            vocabulary: self.info.vocabulary,
        }
    }
}

/// The modules, or those that a folder without `modules.json` stands for.
fn modules_of(files: &ModelFiles) -> Result<Vec<Module>, Error> {
    if let Some(modules) = modules::read(files)? {
        return Ok(modules);
    }
    let config: Model2Vec = files.config()?;
    let top = files.folder("");
    if config.model_type.as_deref() != Some("model2vec") {
        // As sentence-transformers does with a folder of transformers.
        return Ok(vec![Module::Transformer(top), Module::Pooling(PoolingConfig::default())]);
    }
    let mut modules = vec![Module::StaticEmbedding(top)];
    if config.normalize == Some(true) {
        modules.push(Module::Normalize);
    }
    Ok(modules)
}

fn open_table(files: &ModelFiles) -> Result<StaticTable, Error> {
    let label =
        files.weight_files().next().map_or_else(|| files.place().to_owned(), |file| file.label().to_owned());
    Ok(StaticTable::open(Weights::open(files)?, &label)?)
}

fn fixed_tokenizer(files: &ModelFiles, table: &StaticTable) -> Result<TextTokenizer, Error> {
    let label = files.require("tokenizer.json")?.label().to_owned();
    let tokenizer = files.tokenizer()?;
    let mut limits = Limits { vocabulary: table.tokens(), ..Limits::default() };
    let mut unknown = None;
    if table.is_model2vec() {
        let config: Model2Vec = files.json_if_any("config.json")?.unwrap_or_default();
        unknown = unknown_token(&tokenizer);
        limits.tokens = config.max_length.unwrap_or(Some(512));
        // model2vec cuts the text itself before it tokenises, by the length of half its tokens.
        limits.characters = limits.tokens.map(|most| most.saturating_mul(median_length(&tokenizer)));
        limits.drop_unknown = true;
    }
    TextTokenizer::new(tokenizer, limits, unknown).map_err(|reason| contradiction(label, reason))
}

/// The id of the model's unknown token.
fn unknown_token(tokenizer: &Tokenizer) -> Option<u32> {
    let token = match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => &model.unk_token,
        ModelWrapper::WordLevel(model) => &model.unk_token,
        ModelWrapper::BPE(model) => model.unk_token.as_ref()?,
        // Told by its serialised form only.
        ModelWrapper::Unigram(model) => {
            let id = serde_json::to_value(model).ok()?["unk_id"].as_u64()?;
            return u32::try_from(id).ok();
        }
    };
    tokenizer.token_to_id(token)
}

/// The median of the tokens' lengths in characters, rounded down.
fn median_length(tokenizer: &Tokenizer) -> usize {
    let mut lengths: Vec<usize> =
        tokenizer.get_vocab(true).keys().map(|token| token.chars().count()).collect();
    lengths.sort_unstable();
    let middle = lengths.len() / 2;
    match lengths.len() {
        0 => 1,
        count if count % 2 == 1 => lengths[middle],
        _ => (lengths[middle - 1] + lengths[middle]) / 2,
    }
}

/// The steps behind the pooling, and how many dimensions come out.
fn head(
    modules: impl Iterator<Item = Module>,
    pooled: usize,
    files: &ModelFiles,
) -> Result<(Vec<HeadPlan>, usize), Error> {
    let mut dimensions = pooled;
    let mut head = Vec::new();
    for module in modules {
        match module {
            Module::Normalize => head.push(HeadPlan::Normalize),
            Module::Dense(folder, config) => {
                if config.inputs != dimensions {
                    let reason =
                        format!("in_features is {}, the module before gives {dimensions}", config.inputs);
                    return Err(contradiction(folder.place(), reason));
                }
                dimensions = config.outputs;
                head.push(HeadPlan::Dense(folder, config));
            }
            Module::Transformer(_) | Module::StaticEmbedding(_) | Module::Pooling(_) => {
                let label = format!("{}/modules.json", files.place());
                return Err(unsupported(
                    label,
                    "this order of modules",
                    "behind the pooling come Dense and Normalize",
                ));
            }
        }
    }
    Ok((head, dimensions))
}

impl HeadPlan {
    fn load(&self) -> Result<Head, Error> {
        Ok(match self {
            Self::Normalize => Head::Normalize,
            Self::Dense(files, config) => {
                let weights = Weights::open(files)?;
                // One small product a text: not worth a device's round trip.
                let reader =
                    crate::network::Reader { weights: &weights, dtype: DType::F32, device: &Device::Cpu };
                Head::Dense(Dense::load(&reader, config)?)
            }
        })
    }
}

/// Where the encoder's tensors are: at the top, or below the name of the encoder in a checkpoint with a head.
pub(super) fn prefix(weights: &Weights) -> Result<&'static str, SourceError> {
    weights.prefix(&["", "bert.", "roberta.", "model."], "embeddings.word_embeddings.weight")
}

/// Refuses a number type that there is no way to compute in.
pub(super) fn dtype_of(numbers: Numbers, weights: &Weights) -> Result<DType, Error> {
    let device = numbers.device.open()?;
    dtype_on(numbers.dtype, &device, weights)
}

pub(super) fn dtype_on(dtype: Dtype, device: &Device, weights: &Weights) -> Result<DType, Error> {
    Ok(dtype.on(device, weights.dtype())?)
}

pub(super) fn refuse_gguf(files: &ModelFiles) -> Result<(), Error> {
    match files.gguf() {
        None => Ok(()),
        Some(path) => Err(unsupported(
            path.display().to_string(),
            "GGUF for text embedding",
            "use a safetensors checkpoint",
        )),
    }
}

/// What the weights take as f32, and what a step of one longest input takes besides.
pub(super) fn footprint(files: &ModelFiles, config: &BertConfig) -> Result<Footprint, SourceError> {
    let weights = Weights::open(files)?;
    let mut numbers = 0_u64;
    for name in weights.names() {
        numbers += weights.tensor(name)?.shape.iter().product::<usize>() as u64;
    }
    let tokens = config.longest().min(512) as u64;
    let states = tokens * (6 * config.hidden + 2 * config.intermediate) as u64;
    let attention = 2 * config.heads as u64 * tokens * tokens;
    Ok(Footprint { weights: Bytes(4 * numbers), working_set: Bytes(4 * (states + attention)) })
}
