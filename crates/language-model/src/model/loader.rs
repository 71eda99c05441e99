use std::sync::Arc;

use generation::{
    Chat, ChatTemplate, ContentHash, GenerationJob, GenerationModel, Grammar, Grammars, Item, JobPicture,
    ToolFormat, ToolUse, Tools, Vocabulary,
};
use model_source::{SharedWeights, Special};
use pool_core::{Cost, Footprint, LoadError, Loader, ModelError, ModelId, Preparation, Prepared};

use super::pictures::Pictures;
use super::prompt::{PictureRows, PromptEncoder};
use super::request::{Asked, ChatInput, Input, numbered};
use super::{CachedDecoder, Occupancies, PooledModel, Request, TokenVocabulary};
use crate::call::{Prompt, ResponseFormat, ToolChoice};
use crate::checkpoint::Checkpoint;
use crate::modality::{Modality, PictureOf};
use crate::vision::{Picture as _, RenderedSpecial, Vision};

/// Reads, prepares for and loads a language model.
pub(crate) struct LanguageLoader<M: Modality> {
    name: ModelId,
    checkpoint: Checkpoint<M::Vision>,
    vocabulary: Arc<dyn Vocabulary>,
    weights: SharedWeights<nn::Decoder>,
    tower: SharedWeights<TowerOf<M>>,
    grammars: Grammars,
    occupancies: Occupancies,
}

type TowerOf<M> = <<M as Modality>::Vision as Vision>::Tower;
type PixelsOf<M> = <<M as Modality>::Vision as Vision>::Pixels;

/// What a conversation comes to.
struct Conversed {
    prompt: Vec<Item>,
    tools: Option<ToolUse>,
    grammar: Option<Grammar>,
}

impl<M: Modality> LanguageLoader<M> {
    pub(crate) fn new(name: ModelId, checkpoint: Checkpoint<M::Vision>) -> Self {
        let tokenizer = Arc::clone(checkpoint.tokenizer());
        let vocabulary: Arc<dyn Vocabulary> =
            Arc::new(TokenVocabulary::new(tokenizer, checkpoint.ends().to_vec()));
        Self {
            name,
            checkpoint,
            grammars: Grammars::new(Arc::clone(&vocabulary)),
            vocabulary,
            weights: SharedWeights::new(),
            tower: SharedWeights::new(),
            occupancies: Occupancies::default(),
        }
    }

    pub(crate) fn occupancies(&self) -> &Occupancies {
        &self.occupancies
    }

    fn vision(&self) -> Option<&M::Vision> {
        self.checkpoint.vision().map(Arc::as_ref)
    }

    /// What stands in the prompt for its pictures.
    fn rows(&self, pictures: &[PictureOf<M>]) -> Result<Vec<PictureRows>, ModelError> {
        let Some(vision) = self.vision() else { return Ok(Vec::new()) };
        let rows = |(index, picture): (usize, &PictureOf<M>)| {
            let rows = vision.tokens(picture).map_err(|error| numbered(index, error))?;
            let rows =
                u32::try_from(rows).map_err(|_| ModelError::failed(format!("a picture of {rows} tokens")))?;
            Ok(PictureRows { content: ContentHash::of(picture.encoded()), rows })
        };
        pictures.iter().enumerate().map(rows).collect()
    }

    /// Decodes pictures, equal ones once, and says what they take in memory.
    fn decode(
        &self,
        pictures: &[PictureOf<M>],
        rows: &[PictureRows],
        decoded: &mut Vec<JobPicture<PixelsOf<M>>>,
    ) -> Result<usize, ModelError> {
        let Some(vision) = self.vision() else { return Ok(0) };
        let mut bytes = 0;
        for (index, (picture, &PictureRows { content, rows })) in pictures.iter().zip(rows).enumerate() {
            if decoded.iter().all(|other| other.content != content) {
                let pixels = vision.prepare(picture).map_err(|error| numbered(index, error))?;
                bytes += vision.pixel_bytes(&pixels);
                decoded.push(JobPicture { content, rows, pixels });
            }
        }
        Ok(bytes)
    }

    /// The tower, loaded once for all workers, and room for a worker's rows.
    fn pictures(&self, width: usize) -> Result<Option<Pictures<TowerOf<M>>>, LoadError> {
        let Some(vision) = self.vision() else { return Ok(None) };
        let tower = self.tower.get_or_load(|| vision.load()).map_err(LoadError::new)?;
        Ok(Some(Pictures::new(tower, width, self.checkpoint.picture_rows())))
    }

    fn prompts(&self) -> PromptEncoder<'_> {
        let image_token = self.vision().map(Vision::image_token);
        PromptEncoder { tokenizer: self.checkpoint.tokenizer(), image_token }
    }

    fn format_grammar(&self, format: &ResponseFormat) -> Result<Option<Grammar>, ModelError> {
        match format {
            ResponseFormat::Text => Ok(None),
            ResponseFormat::JsonObject => self.grammars.json_object().map(Some),
            ResponseFormat::JsonSchema(schema) => self.grammars.json_schema(schema).map(Some),
        }
    }

    fn template(&self) -> Result<&ChatTemplate, ModelError> {
        match &self.checkpoint.conversation().template {
            Ok(Some(template)) => Ok(template),
            Ok(None) => Err(ModelError::invalid(format!(
                "model {} has no chat template, so it cannot hold a conversation; send a plain prompt instead",
                self.name
            ))),
            Err(error) => Err(error.clone().into()),
        }
    }

    fn converse(
        &self,
        chat: &ChatInput,
        asked: &Asked,
        pictures: &[PictureRows],
    ) -> Result<Conversed, ModelError> {
        let template = self.template()?;
        self.prompts().check_chat(chat)?;
        let tools = self.tools(chat, template)?;
        if asked.format != ResponseFormat::Text && tools.is_some() {
            let message =
                "tools and a response_format exclude each other; leave one out, or set tool_choice to none";
            return Err(ModelError::invalid(message));
        }
        let rendered = self.render(chat, template, tools.as_ref().map(|(_, tools)| tools))?;
        let special = self.vision().map_or(RenderedSpecial::Never, Vision::rendered_special);
        let prompt = self.prompts().rendered(&rendered, special, pictures)?;
        let Some((format, tools)) = tools else {
            return Ok(Conversed { prompt, tools: None, grammar: self.format_grammar(&asked.format)? });
        };
        let several = chat.parallel_tool_calls;
        let (call, grammar) = match &chat.tool_choice {
            ToolChoice::Required => (None, Some(tools.clone())),
            ToolChoice::Named(name) => (None, Some(tools.only(name)?)),
            // Without an end, a call's grammar would have none either.
            _ if asked.ignore_eos => (None, None),
            _ => (Some(Arc::new(self.grammars.begun_call(format, &tools, several)?)), None),
        };
        let grammar = grammar.map(|tools| self.grammars.tool_calls(format, &tools, several));
        Ok(Conversed {
            prompt,
            tools: Some(ToolUse { format, tools, several, call }),
            grammar: grammar.transpose()?,
        })
    }

    /// What the template writes of a conversation.
    fn render(
        &self,
        chat: &ChatInput,
        template: &ChatTemplate,
        tools: Option<&Tools>,
    ) -> Result<String, ModelError> {
        let mut variables = self.checkpoint.conversation().variables.clone();
        variables.extend(chat.variables.clone());
        let format = template.tool_format();
        let mut messages: Vec<_> = chat.messages.iter().map(|message| message.for_template(format)).collect();
        if let Some(vision) = self.vision() {
            self.checkpoint.conversation().forms.apply(&mut messages, vision.image_token());
        }
        let chat = Chat {
            messages,
            tools: tools.map(Tools::to_json),
            add_generation_prompt: !chat.continue_final_message,
            continue_final_message: chat.continue_final_message,
            variables,
            now: None,
        };
        Ok(template.render(&chat)?)
    }

    /// The tools that the model is shown, and how it calls them.
    fn tools(
        &self,
        chat: &ChatInput,
        template: &ChatTemplate,
    ) -> Result<Option<(ToolFormat, Tools)>, ModelError> {
        if chat.tools.is_empty() {
            return match &chat.tool_choice {
                ToolChoice::Auto | ToolChoice::None => Ok(None),
                _ => Err(ModelError::invalid("tool_choice wants a call, and there are no tools; give some")),
            };
        }
        // Tools that are not shown are checked all the same.
        let tools = Tools::new(chat.tools.clone())?;
        if chat.tool_choice == ToolChoice::None {
            return Ok(None);
        }
        match template.tool_format() {
            Some(format) => Ok(Some((format, tools))),
            None => Err(ModelError::invalid(format!(
                "tools: model {}'s chat template has no place for them, or writes calls in a way that is not known; \
                 leave them out",
                self.name
            ))),
        }
    }
}

impl<M: Modality> Loader for LanguageLoader<M> {
    type Model = PooledModel<M>;

    fn footprint(&self) -> Result<Footprint, LoadError> {
        Ok(self.checkpoint.footprint())
    }

    fn load(&self) -> Result<PooledModel<M>, LoadError> {
        let checkpoint = &self.checkpoint;
        let weights = self.weights.get_or_load(|| checkpoint.load()).map_err(LoadError::new)?;
        let pictures = self.pictures(weights.config().hidden_size)?;
        let shape = checkpoint.shape().clone();
        let decoder = CachedDecoder::new(weights, shape, pictures).map_err(LoadError::new)?;
        let vocabulary = Arc::clone(&self.vocabulary);
        let config = checkpoint.generation();
        let model = GenerationModel::new(&self.name, &checkpoint.revision(), decoder, vocabulary, config);
        let model = model.map_err(LoadError::new)?;
        self.occupancies.add(model.occupancy());
        Ok(model)
    }

    fn prepare(&self, request: &Request<M>) -> Result<Prepared<GenerationJob<PixelsOf<M>>>, ModelError> {
        let asked = &request.asked;
        let (prompts, rows) = (self.prompts(), self.rows(&request.pictures)?);
        let Conversed { prompt, tools, grammar } = match &asked.input {
            Input::Chat(chat) => self.converse(chat, asked, &rows)?,
            Input::Completion { prompt, add_special } => Conversed {
                prompt: match prompt {
                    Prompt::Tokens(ids) => prompts.tokens(ids, &rows)?,
                    Prompt::Text(text) if *add_special => prompts.text(text, Special::Add, &rows)?,
                    Prompt::Text(text) => prompts.text(text, Special::Parse, &rows)?,
                },
                tools: None,
                grammar: self.format_grammar(&asked.format)?,
            },
        };
        let mut value = GenerationJob {
            prompt,
            pictures: Vec::new(),
            sampling: asked.sampling.clone(),
            choices: asked.choices,
            max_tokens: asked.max_tokens,
            stop: asked.stop.clone(),
            ignore_eos: asked.ignore_eos,
            grammar,
            tools,
        };
        value.check(self.checkpoint.limits())?;
        let pixels = self.decode(&request.pictures, &rows, &mut value.pictures)?;
        let cost = value.cost(request.bytes() + pixels + size_of_val(value.prompt.as_slice()));
        Ok(Prepared { value, cost })
    }

    fn preparation(&self, _: Cost) -> Preparation {
        // Rendering takes tens of microseconds for a short conversation, a grammar or a long text many milliseconds.
        Preparation::Lane
    }
}
