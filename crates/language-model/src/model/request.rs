use generation::{GenerationRequest, SamplingParams, StopStrings, Tool, check_counts, expected_cost};
use pool_core::{Cost, Fingerprint, Fingerprinter, ModelError, Priority};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::seed;
use crate::call::{CallOptions, Prompt, ResponseFormat, ToolChoice};
use crate::error::Error;
use crate::info::ModelInfo;
use crate::message::Message;
use crate::modality::{Modality, PictureOf};
use crate::vision::{Picture as _, Vision};

/// Requests of more bytes are not compared with others: reading them once more on a runtime thread would take too long.
const LONGEST_COMPARED: usize = 16 << 10;

/// English text has about so many bytes a token.
const BYTES_A_TOKEN: usize = 4;

/// Biases are looked at for every token, and copied for every choice.
const MOST_BIASES: usize = 1024;

/// A prompt, and how the text that follows is to be drawn.
#[derive(Clone, Debug)]
pub struct Request<M: Modality> {
    pub(super) asked: Asked,
    pub(super) pictures: Vec<PictureOf<M>>,
    /// Tokens of the prompt: its pictures', and a guess at its text's.
    prompt: usize,
    /// Bytes of the prompt, its pictures and of all that is said besides.
    bytes: usize,
    /// What decoding the largest of its pictures takes until it is prepared.
    preparing: usize,
    priority: Priority,
    submitted: Instant,
    fingerprint: Option<Fingerprint>,
}

/// All that an answer depends on.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) input: Input,
    pub(super) sampling: SamplingParams,
    pub(super) choices: u32,
    pub(super) max_tokens: Option<usize>,
    pub(super) stop: StopStrings,
    pub(super) ignore_eos: bool,
    pub(super) format: ResponseFormat,
}

/// What the text follows.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// A conversation.
    Chat(ChatInput),
    /// A text or token ids.
    Completion {
        /// Which.
        prompt: Prompt,
        /// Whether the model's own tokens are put around a text.
        add_special: bool,
    },
}

/// A conversation, and what its template is told besides.
#[derive(Clone, Debug)]
pub(crate) struct ChatInput {
    pub(crate) messages: Vec<Message>,
    pub(crate) tools: Vec<Tool>,
    pub(crate) tool_choice: ToolChoice,
    pub(crate) parallel_tool_calls: bool,
    pub(crate) variables: Map<String, Value>,
    pub(crate) continue_final_message: bool,
}

impl ChatInput {
    pub(crate) fn new(messages: Vec<Message>) -> Self {
        Self {
            messages,
            tools: Vec::new(),
            tool_choice: ToolChoice::Auto,
            parallel_tool_calls: true,
            variables: Map::new(),
            continue_final_message: false,
        }
    }
}

impl Input {
    /// About what it takes in memory.
    fn bytes(&self) -> usize {
        match self {
            Self::Completion { prompt, .. } => prompt.bytes(),
            Self::Chat(chat) => {
                let messages =
                    chat.messages.iter().map(|message| fields_bytes(message.fields())).sum::<usize>();
                let tools = chat.tools.iter().map(|tool| {
                    let description = tool.description.as_ref().map_or(0, String::len);
                    tool.name.len() + description + value_bytes(&tool.parameters)
                });
                messages + tools.sum::<usize>() + fields_bytes(&chat.variables)
            }
        }
    }
}

/// What a value takes with what is in it: many times its text, if it is full of small ones.
fn value_bytes(value: &Value) -> usize {
    let inside = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(value_bytes).sum(),
        Value::Object(fields) => fields_bytes(fields),
    };
    size_of::<Value>() + inside
}

fn fields_bytes(fields: &Map<String, Value>) -> usize {
    fields.iter().map(|(key, value)| size_of::<String>() + key.len() + value_bytes(value)).sum()
}

/// Bytes of what a call says besides its input.
fn options_bytes(options: &CallOptions) -> usize {
    let schema = match &options.format {
        ResponseFormat::JsonSchema(schema) => value_bytes(schema),
        ResponseFormat::Text | ResponseFormat::JsonObject => 0,
    };
    schema
        + size_of_val(options.logit_bias.as_slice())
        + options.stop.iter().map(|text| size_of::<String>() + text.len()).sum::<usize>()
}

impl<M: Modality> Request<M> {
    /// What a call asks of a model.
    ///
    /// # Errors
    ///
    /// [`Error::Pool`] with the parameter that is out of range.
    pub(crate) fn new(
        input: Input,
        pictures: Vec<PictureOf<M>>,
        options: &CallOptions,
        info: &ModelInfo,
        vision: Option<&M::Vision>,
    ) -> Result<Self, Error> {
        let defaults = &info.defaults;
        let sampling = SamplingParams {
            temperature: options.temperature.unwrap_or(defaults.temperature),
            top_k: options.top_k.unwrap_or(defaults.top_k),
            top_p: options.top_p.unwrap_or(defaults.top_p),
            min_p: options.min_p.unwrap_or(defaults.min_p),
            repetition_penalty: options.repetition_penalty.unwrap_or(defaults.repetition_penalty),
            frequency_penalty: options.frequency_penalty,
            presence_penalty: options.presence_penalty,
            logit_bias: options.logit_bias.clone(),
            seed: options.seed.unwrap_or_else(seed::draw),
            logprobs: options.logprobs,
        };
        sampling.check(info.vocabulary).map_err(|error| Error::refused(&error))?;
        if options.logit_bias.len() > MOST_BIASES {
            let biases = options.logit_bias.len();
            return Err(Error::invalid(format!(
                "logit_bias has {biases} tokens; accepted: at most {MOST_BIASES}"
            )));
        }
        let choices = options.choices.unwrap_or(1);
        check_counts(choices, options.max_tokens, info.sequences).map_err(|error| Error::refused(&error))?;
        let asked = Asked {
            input,
            choices,
            max_tokens: options.max_tokens.or(defaults.max_tokens),
            stop: StopStrings::new(options.stop.iter().map(String::as_str))
                .map_err(|error| Error::refused(&error))?,
            ignore_eos: options.ignore_eos,
            format: options.format.clone(),
            sampling,
        };
        let text = asked.input.bytes();
        let prompt = picture_tokens::<M>(&pictures, vision, info)? + text / BYTES_A_TOKEN;
        let encoded: usize = pictures.iter().map(|picture| picture.encoded().len()).sum();
        let bytes = text + encoded + options_bytes(options);
        // They are decoded one after the other.
        let preparing = vision.map_or(0, |vision| {
            pictures.iter().map(|picture| vision.preparing_bytes(picture)).max().unwrap_or_default()
        });
        // Without a seed, two calls want two answers, unless there is nothing to draw.
        let pure = options.seed.is_some() || asked.sampling.temperature == 0.0;
        let fingerprint =
            (pure && pictures.is_empty() && bytes <= LONGEST_COMPARED).then(|| asked.fingerprint());
        Ok(Self {
            asked,
            pictures,
            prompt,
            bytes,
            preparing: usize::try_from(preparing).unwrap_or(usize::MAX),
            priority: options.job.priority,
            submitted: Instant::now(),
            fingerprint,
        })
    }

    /// Bytes of the prompt, its pictures and of all that is said besides.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Asked {
    /// Stands for every field: two requests are equal if they are spelled the same.
    fn fingerprint(&self) -> Fingerprint {
        let seed = if self.sampling.temperature == 0.0 { 0 } else { self.sampling.seed };
        let sampling = SamplingParams { seed, ..self.sampling.clone() };
        Fingerprint::of(&format!("{:?}", Self { sampling, ..self.clone() }))
    }
}

/// How many tokens a request's pictures have.
///
/// # Errors
///
/// [`Error::Pool`] for one that the model cannot read, and for more than it has room for.
fn picture_tokens<M: Modality>(
    pictures: &[PictureOf<M>],
    vision: Option<&M::Vision>,
    info: &ModelInfo,
) -> Result<usize, Error> {
    if pictures.is_empty() {
        return Ok(0);
    }
    let Some(vision) = vision else {
        return Err(Error::invalid(format!("model {} reads no pictures; leave them out", info.model)));
    };
    let mut tokens = 0_usize;
    for (index, picture) in pictures.iter().enumerate() {
        let more = vision.tokens(picture).map_err(|error| Error::refused(&numbered(index, error)))?;
        tokens = tokens.saturating_add(more);
    }
    if tokens >= info.context {
        let (pictures, context) = (pictures.len(), info.context);
        return Err(Error::invalid(format!(
            "the prompt's pictures ({pictures}) have {tokens} tokens; the model takes {context} of prompt and answer \
             together; send fewer, or smaller ones",
        )));
    }
    Ok(tokens)
}

/// Says which of a request's pictures is at fault, counted from 1.
pub(super) fn numbered(index: usize, error: ModelError) -> ModelError {
    let number = index + 1;
    match error {
        ModelError::Invalid(message) => ModelError::Invalid(format!("picture {number}: {message}")),
        error => error,
    }
}

impl<M: Modality> GenerationRequest for Request<M> {
    fn estimate(&self) -> Cost {
        let bytes = self.bytes.saturating_add(self.preparing);
        expected_cost(self.prompt + 1, self.asked.choices, self.asked.max_tokens, bytes)
    }

    fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }

    fn identify(&self) -> Option<Fingerprint> {
        if self.pictures.is_empty() {
            return None;
        }
        // Whatever is drawn, a picture that crashes the tower does so again.
        let sampling = SamplingParams { seed: 0, ..self.asked.sampling.clone() };
        let mut content = Fingerprinter::new();
        content.add(&Asked { sampling, ..self.asked.clone() }.fingerprint());
        for picture in &self.pictures {
            content.add(&picture.encoded());
        }
        Some(content.finish())
    }

    fn priority(&self) -> Priority {
        self.priority
    }

    fn submitted(&self) -> Option<Instant> {
        Some(self.submitted)
    }
}
