use std::sync::Arc;

use generation::{CacheShape, GenerationConfig, Limits};
use model_source::{DeviceChoice, Dtype, LanguageTokenizer, ModelFiles};
use nn::{Activations, Decoder, DecoderConfig, Precision};
use pool_core::{Bytes, Footprint, ModelId};

use super::cache;
use super::chat_template::{self, Conversation};
use super::generation_config;
use super::stored::Stored;
use crate::error::Error;
use crate::info::{Defaults, ModelInfo};
use crate::vision::{Vision, VisionFiles};

/// How a model is to be loaded.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) dtype: Dtype,
    pub(crate) device: DeviceChoice,
    pub(crate) kv_cache: Option<Bytes>,
    pub(crate) picture_cache: Option<Bytes>,
    pub(crate) context: Option<usize>,
    pub(crate) sequences: usize,
    pub(crate) deterministic: bool,
    pub(crate) chat_template: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dtype: Dtype::Auto,
            device: DeviceChoice::Auto,
            kv_cache: None,
            picture_cache: None,
            context: None,
            sequences: GenerationConfig::default().max_sequences,
            deterministic: false,
            chat_template: None,
        }
    }
}

/// A language model's files, read and checked; its weights can be loaded any number of times.
#[derive(Debug)]
pub(crate) struct Checkpoint<V> {
    files: ModelFiles,
    stored: Stored,
    config: DecoderConfig,
    precision: Precision,
    shape: CacheShape,
    generation: GenerationConfig,
    limits: Limits,
    tokenizer: Arc<LanguageTokenizer>,
    /// Tokens that end an answer.
    ends: Vec<u32>,
    conversation: Conversation,
    vision: Option<Arc<V>>,
    /// Rows of pictures that each worker keeps.
    picture_rows: usize,
    defaults: Defaults,
    footprint: Footprint,
}

impl<V: Vision> Checkpoint<V> {
    /// Reads everything but the weights' data. `vision`: where that comes from which reads pictures, if elsewhere.
    pub(crate) fn read(
        files: ModelFiles,
        vision: Option<&ModelFiles>,
        settings: Settings,
    ) -> Result<Self, Error> {
        let precision = precision(&files, &settings)?;
        let stored = Stored::open(&files)?;
        let mut config = stored.config(V::language_config)?;
        config.context = context(&files, &config, settings.context)?;
        let generation = GenerationConfig {
            max_sequences: sequences(&files, settings.sequences)?,
            deterministic: settings.deterministic,
            ..GenerationConfig::default()
        };
        let tokenizer = stored.tokenizer()?;
        let vision = V::read(&VisionFiles {
            language: &files,
            vision,
            tokenizer: &tokenizer,
            hidden_size: config.hidden_size,
        })?;
        let picture = vision.as_ref().map(V::most_tokens);
        let chunk = generation.max_prefill.min(config.context);
        let size = settings.kv_cache.unwrap_or_else(|| cache::default_bytes(&config, chunk, picture));
        let too_small = || {
            let least = cache::least(&config);
            let blocks = cache::BLOCK_TOKENS;
            let reason =
                format!("kv_cache is {size}; the smallest is {least}, for {blocks} tokens; give it more");
            Error::checkpoint(files.place(), reason)
        };
        let shape = cache::shape(&config, chunk, size).ok_or_else(too_small)?;
        let limits = Limits::new(config.vocab_size, config.context, &shape, &generation)
            .map_err(|error| Error::checkpoint(files.place(), format!("kv_cache is {size}: {error}")))?;
        if let Some(tokens) = picture {
            // One that the context has no room for is refused when it comes.
            let wanted = tokens.saturating_add(1).min(config.context);
            if limits.cache < wanted {
                let (room, least) = (limits.cache, cache::bytes_for(&config, chunk, wanted));
                let reason = format!(
                    "kv_cache is {size}, which has room for {room} tokens; a picture of {tokens} tokens and an answer take \
                     {least}; give it more"
                );
                return Err(Error::checkpoint(files.place(), reason));
            }
        }
        let image_token = vision.as_ref().map(V::image_token);
        let conversation =
            chat_template::read(&files, &stored, &tokenizer, settings.chat_template, image_token)?;
        let drawing = generation_config::read(&files)?;
        let mut ends = tokenizer.special_tokens().ends.clone();
        ends.extend(drawing.ends);
        ends.sort_unstable();
        ends.dedup();
        let picture_rows = match &vision {
            Some(vision) => picture_rows(&files, &config, vision, &generation, settings.picture_cache)?,
            None => 0,
        };
        let seeing = vision.as_ref().map(V::footprint).unwrap_or_default();
        let footprint = Footprint {
            weights: Bytes(stored.bytes(&config, precision)?) + seeing.weights,
            working_set: cache::bytes(&config, &shape)
                + activation_bytes(&config, &generation)
                + cache::picture_bytes(&config, picture_rows)
                + seeing.working_set,
        };
        Ok(Self {
            stored,
            config,
            precision,
            shape,
            generation,
            limits,
            tokenizer: Arc::new(tokenizer),
            ends,
            conversation,
            vision: vision.map(Arc::new),
            picture_rows,
            defaults: drawing.defaults,
            footprint,
            files,
        })
    }

    /// What callers are told of it.
    pub(crate) fn info(&self, model: &ModelId) -> ModelInfo {
        let template = self.conversation.template.as_ref().ok().and_then(Option::as_ref);
        ModelInfo {
            model: model.clone(),
            source: self.files.source().clone(),
            revision: self.files.revision().to_owned(),
            architecture: match &self.vision {
                Some(vision) => vision.architecture().to_owned(),
                None => self.config.architecture.to_string(),
            },
            vocabulary: self.limits.vocab_size,
            context: self.limits.context,
            cache_tokens: self.limits.cache.min(self.limits.context),
            cache: cache::bytes(&self.config, &self.shape),
            sequences: self.limits.sequences,
            chats: template.is_some(),
            picture_tokens: self.vision.as_ref().map(|vision| vision.most_tokens()),
            tool_format: template.and_then(generation::ChatTemplate::tool_format),
            defaults: self.defaults.clone(),
        }
    }

    /// Loads the weights. Blocks.
    pub(crate) fn load(&self) -> Result<Decoder, Error> {
        self.stored.load(self.config.clone(), self.precision)
    }

    /// Stands for the content of the weights.
    pub(crate) fn revision(&self) -> &str {
        self.files.revision()
    }

    pub(crate) fn shape(&self) -> &CacheShape {
        &self.shape
    }

    pub(crate) fn generation(&self) -> &GenerationConfig {
        &self.generation
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn tokenizer(&self) -> &Arc<LanguageTokenizer> {
        &self.tokenizer
    }

    pub(crate) fn ends(&self) -> &[u32] {
        &self.ends
    }

    pub(crate) fn conversation(&self) -> &Conversation {
        &self.conversation
    }

    /// How it reads pictures, if it does.
    pub(crate) fn vision(&self) -> Option<&Arc<V>> {
        self.vision.as_ref()
    }

    /// Rows of pictures that each worker keeps.
    pub(crate) fn picture_rows(&self) -> usize {
        self.picture_rows
    }

    pub(crate) fn footprint(&self) -> Footprint {
        self.footprint
    }
}

/// What the largest step takes: the share of prompts, and as many positions as a block has for each sequence that decodes.
/// Mostly that is one, but a grammar may have forced some behind it, and up to a block of them counts as decoding. Where
/// prompts are always cut alike the last chunk may exceed the share, by less than sequences that do not decode leave free.
fn activation_bytes(config: &DecoderConfig, generation: &GenerationConfig) -> Bytes {
    let decoding = generation.max_sequences.saturating_mul(cache::BLOCK_TOKENS);
    let rows = generation.max_prefill.saturating_add(decoding);
    Bytes(config.activation_bytes(rows, generation.max_sequences))
}

/// Refuses a device or number type that there is no way to compute on or in.
fn precision(files: &ModelFiles, settings: &Settings) -> Result<Precision, Error> {
    if !matches!(settings.device, DeviceChoice::Auto | DeviceChoice::Cpu) {
        let what = format!("device {}", settings.device);
        return Err(Error::unsupported(files.place(), what, "language models run on cpu so far"));
    }
    let activations = match settings.dtype {
        Dtype::Auto => Activations::Quantised,
        Dtype::F32 => Activations::F32,
        other => return Err(Error::unsupported(files.place(), format!("dtype {other}"), "use auto or f32")),
    };
    Ok(Precision { activations, deterministic: settings.deterministic })
}

fn picture_rows<V: Vision>(
    files: &ModelFiles,
    config: &DecoderConfig,
    vision: &V,
    generation: &GenerationConfig,
    size: Option<Bytes>,
) -> Result<usize, Error> {
    let most = vision.most_tokens();
    let chunk = generation.deterministic.then(|| generation.chunk(cache::BLOCK_TOKENS));
    let rows = cache::least_picture_rows(config.context, most, chunk);
    cache::picture_rows(config, most, rows, size).map_err(|least| {
        let size = size.unwrap_or_default();
        let wanted = match chunk {
            None => format!("a picture of {most} tokens takes {least}"),
            Some(chunk) => format!(
                "deterministic computes {chunk} tokens at once, and the pictures of {most} that these may be part of \
                 take {least}"
            ),
        };
        let reason = format!("picture_cache is {size}; {wanted}; give it more");
        Error::checkpoint(files.place(), reason)
    })
}

fn context(files: &ModelFiles, config: &DecoderConfig, asked: Option<usize>) -> Result<usize, Error> {
    match asked {
        None => Ok(config.context),
        Some(context) if (1..=config.context).contains(&context) => Ok(context),
        Some(context) => {
            let reason =
                format!("context is {context}; the model was made for 1 to {} tokens", config.context);
            Err(Error::checkpoint(files.place(), reason))
        }
    }
}

fn sequences(files: &ModelFiles, asked: usize) -> Result<usize, Error> {
    match asked {
        0 => Err(Error::checkpoint(
            files.place(),
            "sequences is 0, so nothing would ever be computed; set 1 or more",
        )),
        asked => Ok(asked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_room_for_a_block_of_each_sequence_beside_a_prompts_share() {
        let config = DecoderConfig::from_huggingface(&serde_json::json!({"model_type": "llama"})).unwrap();
        let generation = GenerationConfig { max_sequences: 5, max_prefill: 100, deterministic: false };
        let wanted = config.activation_bytes(100 + 5 * 16, 5);
        assert_eq!(activation_bytes(&config, &generation), Bytes(wanted));
        // However many sequences are asked for, there is a number.
        let endless = GenerationConfig { max_sequences: usize::MAX, ..generation };
        assert_eq!(activation_bytes(&config, &endless), Bytes(u64::MAX));
    }
}
