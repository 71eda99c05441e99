use language_model::{LanguageModel, Modality, NoVision, PooledModel, Request};

/// The modality: it reads text and writes text.
#[derive(Clone, Copy, Debug)]
pub enum Text {}

impl Modality for Text {
    const NAME: &'static str = "text-to-text";
    type Vision = NoVision;
}

/// A language model in an engine. Cheap to clone; every clone keeps the engine alive.
pub type TextToText = LanguageModel<Text>;

/// The loading of a model, to be awaited. See [`language_model::Load`].
pub type Load = language_model::Load<Text>;

/// The next message of a conversation, to be awaited or [streamed](language_model::Chat::stream).
pub type Chat = language_model::Chat<Text>;

/// The text that follows a prompt, to be awaited or [streamed](language_model::Complete::stream).
pub type Complete = language_model::Complete<Text>;

/// The texts that follow the prompts of a list, to be awaited: all of them, in order, or none.
pub type CompleteAll = language_model::CompleteAll<Text>;

/// A prompt, and how the text that follows is to be drawn.
pub type TextRequest = Request<Text>;

/// A language model as the engine sees it.
pub type TextModel = PooledModel<Text>;
