use std::sync::Arc;

use imaging::DECODING_WORKING_SET;
use model_source::SharedWeights;
use pool_core::{
    Bytes, Cost, Footprint, LoadError, Loader, ModelError, Preparation, Prepared as PreparedCost,
};

use super::edit::Source;
use super::memory::Shape;
use super::request::ImagineRequest;
use super::text_to_image::TextToImageModel;
use crate::checkpoint::{Checkpoint, Loaded};
use crate::error::Error;
use crate::prompt::PromptTokens;

/// Prepares for and loads a text-to-image model.
#[derive(Debug)]
pub(crate) struct ImagineLoader {
    checkpoint: Arc<Checkpoint>,
    shared: SharedWeights<Loaded>,
}

/// What a request becomes before the model sees it.
#[derive(Debug)]
pub struct Prepared {
    /// The texts to be read, of equally many chunks: what should not be shown, where that is read, then the prompt.
    pub(super) prompts: Vec<PromptTokens>,
    pub(super) source: Option<Source>,
    /// True tokens of all texts.
    pub(super) prompt_tokens: usize,
}

impl ImagineLoader {
    pub(crate) fn new(checkpoint: Arc<Checkpoint>) -> Self {
        Self { checkpoint, shared: SharedWeights::new() }
    }

    fn prompts(&self, request: &ImagineRequest) -> Result<Vec<PromptTokens>, Error> {
        let parameters = &request.parameters;
        let mut prompts = vec![self.checkpoint.prompt(&parameters.prompt)?];
        let silent = parameters.negative.is_none() && self.checkpoint.pipeline.zeros_for_absent_negative;
        if request.guided && !silent {
            prompts.insert(0, self.checkpoint.prompt(parameters.negative.as_deref().unwrap_or_default())?);
        }
        let chunks = prompts.iter().map(PromptTokens::chunks).max().unwrap_or(1);
        Ok(prompts.into_iter().map(|prompt| prompt.padded(chunks)).collect())
    }
}

impl Loader for ImagineLoader {
    type Model = TextToImageModel;

    fn footprint(&self) -> Result<Footprint, LoadError> {
        let checkpoint = &self.checkpoint;
        let working_set =
            Shape::usual(checkpoint).peak_bytes(checkpoint).saturating_add(DECODING_WORKING_SET);
        Ok(Footprint { weights: Bytes(checkpoint.weight_bytes()), working_set: Bytes(working_set) })
    }

    fn load(&self) -> Result<TextToImageModel, LoadError> {
        let loaded = self.shared.get_or_load(|| self.checkpoint.load()).map_err(LoadError::new)?;
        Ok(TextToImageModel::new(Arc::clone(&self.checkpoint), loaded))
    }

    fn prepare(&self, request: &ImagineRequest) -> Result<PreparedCost<Prepared>, ModelError> {
        let invalid = |error: Error| ModelError::invalid(error.to_string());
        let prompts = self.prompts(request).map_err(invalid)?;
        let source = request
            .edit
            .as_ref()
            .map(|edit| Source::prepare(edit, request.parameters.width, request.parameters.height));
        let prompt_tokens = prompts.iter().map(PromptTokens::count).sum();
        let value = Prepared { prompts, source: source.transpose().map_err(invalid)?, prompt_tokens };
        Ok(PreparedCost { value, cost: Cost::new(request.tokens(), request.bytes()) })
    }

    fn preparation(&self, _: Cost) -> Preparation {
        // A prompt is tokenised, and there may be pictures to decode.
        Preparation::Lane
    }
}
