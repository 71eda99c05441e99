use std::sync::Arc;

use candle_core::DType;
use model_source::SharedWeights;
use pool_core::{
    Cost, Fingerprint, Fingerprinter, Footprint, LoadError, Loader, Model, ModelError, Preparation, Prepared,
    Room, Step, StepError, Tokens,
};

use super::batch::{by_length, estimate, tokens};
use super::pace::Pace;
use crate::call::{Input, Truncation};
use crate::checkpoint::{Encoder, Head, LoadedEncoder, Network};
use crate::embedding::Embedding;
use crate::network::{normalize, pool};
use crate::tokenize::TokenIds;

/// Inputs of more bytes are not compared with others: hashing them on a runtime thread would take too long.
const LONGEST_COMPARED: usize = 16 << 10;

/// A static model adds up vectors: a million tokens take about 200 ms.
const STATIC_ROOM: Room = Room::new(4096, Tokens(1 << 20));

/// One input and what was asked of it.
#[derive(Clone, Debug)]
pub struct EmbedRequest {
    pub(crate) input: Input,
    pub(crate) prompt: Option<Arc<str>>,
    pub(crate) truncation: Truncation,
    pub(crate) dimensions: usize,
    /// Whether the caller asked for those dimensions.
    pub(crate) cut: bool,
    pub(crate) max_tokens: Option<usize>,
    /// Found where the request was made, so that a long list can be hashed in a lane.
    fingerprint: Option<Fingerprint>,
}

/// An embedding model as the engine sees it. Its jobs are done after one step.
#[derive(Debug)]
pub struct EmbeddingModel {
    loaded: Arc<LoadedEncoder>,
    normalizes: bool,
    pace: Pace,
}

/// Reads, prepares for and loads an embedding model.
#[derive(Debug)]
pub(crate) struct EmbeddingLoader {
    encoder: Encoder,
    shared: SharedWeights<LoadedEncoder>,
}

impl EmbeddingLoader {
    pub(crate) fn new(encoder: Encoder) -> Self {
        Self { encoder, shared: SharedWeights::new() }
    }
}

impl Loader for EmbeddingLoader {
    type Model = EmbeddingModel;

    fn footprint(&self) -> Result<Footprint, LoadError> {
        Ok(self.encoder.footprint())
    }

    fn load(&self) -> Result<EmbeddingModel, LoadError> {
        let loaded = self.shared.get_or_load(|| self.encoder.load()).map_err(LoadError::new)?;
        Ok(EmbeddingModel { loaded, normalizes: self.encoder.normalizes(), pace: Pace::new() })
    }

    fn prepare(&self, request: &EmbedRequest) -> Result<Prepared<TokenIds>, ModelError> {
        let tokenizer = self.encoder.tokenizer();
        let value = match &request.input {
            Input::Text(text) => tokenizer.text(
                request.prompt.as_deref(),
                text,
                request.truncation,
                self.encoder.skips_prompt(),
            )?,
            Input::Tokens(ids) => tokenizer.tokens(ids, request.truncation)?,
        };
        let cost = Cost::new(value.ids.len() as u64, (request.bytes() + value.bytes()) as u64);
        Ok(Prepared { value, cost })
    }

    fn preparation(&self, _: Cost) -> Preparation {
        // A short text takes tens of microseconds, and there may be hundreds in a step.
        Preparation::Lane
    }
}

impl EmbedRequest {
    /// A request for an input's vector of so many dimensions, asked for by the caller (`cut`) or not.
    pub(crate) fn new(
        input: Input,
        prompt: Option<Arc<str>>,
        truncation: Truncation,
        (dimensions, cut): (usize, bool),
        max_tokens: Option<usize>,
    ) -> Self {
        let mut request = Self { input, prompt, truncation, dimensions, cut, max_tokens, fingerprint: None };
        if request.bytes() <= LONGEST_COMPARED {
            request.fingerprint = Some(request.content());
        }
        request
    }

    fn content(&self) -> Fingerprint {
        let mut fingerprint = Fingerprinter::new();
        fingerprint.add(&self.input);
        fingerprint.add(&self.prompt);
        fingerprint.add(&self.truncation);
        fingerprint.add(&(self.dimensions, self.cut));
        fingerprint.finish()
    }

    fn bytes(&self) -> usize {
        self.input.bytes() + self.prompt.as_ref().map_or(0, |prompt| prompt.len())
    }
}

impl Model for EmbeddingModel {
    type Request = EmbedRequest;
    type Prepared = TokenIds;
    type Output = Embedding;
    type Event = ();

    fn estimate(request: &EmbedRequest) -> Cost {
        Cost::new(estimate(request.bytes(), request.max_tokens), request.bytes() as u64)
    }

    fn fingerprint(request: &EmbedRequest) -> Option<Fingerprint> {
        request.fingerprint
    }

    fn identify(request: &EmbedRequest) -> Option<Fingerprint> {
        Some(request.content())
    }

    fn room(&self) -> Room {
        match self.loaded.network {
            Network::Bert(_) => self.pace.room(),
            Network::Static(_) => STATIC_ROOM,
        }
    }

    fn step(&mut self, step: &mut Step<Self>) -> Result<(), StepError> {
        let jobs = step.take_joined();
        let batch = by_length(&jobs);
        let sequences: Vec<&TokenIds> = batch.iter().map(|(_, tokens)| *tokens).collect();
        let loaded = &self.loaded;
        let pooled = self.pace.time(tokens(&batch), || loaded.pool(&sequences))?;
        for ((job, tokens), vector) in batch.into_iter().zip(pooled) {
            let values = loaded.finish(vector, job.request(), self.normalizes)?;
            let outcome = if values.iter().all(|value| value.is_finite()) {
                Ok(Embedding { values, tokens: tokens.ids.len() })
            } else {
                Err(ModelError::failed(
                    "the vector has components that are no finite numbers; the weights may be damaged",
                ))
            };
            step.finish(job.id(), outcome);
        }
        Ok(())
    }
}

impl LoadedEncoder {
    /// One vector a sequence.
    fn pool(&self, sequences: &[&TokenIds]) -> Result<Vec<Vec<f32>>, StepError> {
        match &self.network {
            Network::Static(table) => {
                sequences.iter().map(|sequence| table.mean(&sequence.ids).map_err(StepError::new)).collect()
            }
            Network::Bert(_) if sequences.is_empty() => Ok(Vec::new()),
            Network::Bert(bert) => {
                let states = bert.forward(sequences).map_err(StepError::new)?;
                let hidden = states.dim(1).map_err(StepError::new)?;
                let flat =
                    states.to_dtype(DType::F32).and_then(|states| states.flatten_all()?.to_vec1::<f32>());
                let flat = flat.map_err(StepError::new)?;
                let mut rest = flat.as_slice();
                let pooled = sequences.iter().map(|sequence| {
                    let (own, others) = rest.split_at(sequence.ids.len() * hidden);
                    rest = others;
                    pool(own, hidden, sequence.skipped, &self.modes)
                });
                Ok(pooled.collect())
            }
        }
    }

    /// The head's steps, and the dimensions asked for.
    fn finish(
        &self,
        mut vector: Vec<f32>,
        request: &EmbedRequest,
        normalizes: bool,
    ) -> Result<Vec<f32>, StepError> {
        for step in &self.head {
            match step {
                Head::Normalize => normalize(&mut vector),
                Head::Dense(dense) => vector = dense.forward(vector).map_err(StepError::new)?,
            }
        }
        vector.truncate(request.dimensions);
        if request.cut && normalizes {
            normalize(&mut vector);
        }
        Ok(vector)
    }
}
