use language_model::{LanguageModel, Modality, PooledModel, ReadsPictures, Request};

use crate::reader::PictureReader;

/// The modality: it reads text and pictures, and writes text.
#[derive(Clone, Copy, Debug)]
pub enum Llava {}

impl Modality for Llava {
    const NAME: &'static str = "llava-vision";
    type Vision = PictureReader;
}

impl ReadsPictures for Llava {}

/// A LLaVA model in an engine. Cheap to clone; every clone keeps the engine alive.
pub type LlavaVision = LanguageModel<Llava>;

/// The loading of a model, to be awaited. See [`language_model::Load`].
pub type Load = language_model::Load<Llava>;

/// The next message of a conversation, to be awaited or [streamed](language_model::Chat::stream).
pub type Chat = language_model::Chat<Llava>;

/// The text that follows a prompt, to be awaited or [streamed](language_model::Complete::stream).
pub type Complete = language_model::Complete<Llava>;

/// The texts that follow the prompts of a list, to be awaited: all of them, in order, or none.
pub type CompleteAll = language_model::CompleteAll<Llava>;

/// A prompt with its pictures, and how the text that follows is to be drawn.
pub type LlavaRequest = Request<Llava>;

/// A LLaVA model as the engine sees it.
pub type LlavaModel = PooledModel<Llava>;
