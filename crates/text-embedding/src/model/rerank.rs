use std::sync::Arc;

use model_source::SharedWeights;
use pool_core::{
    Cost, Fingerprint, Fingerprinter, Footprint, LoadError, Loader, Model, ModelError, Preparation, Prepared,
    Room, Step, StepError,
};

use super::batch::{by_length, estimate, tokens};
use super::pace::Pace;
use crate::call::Truncation;
use crate::checkpoint::{CrossEncoder, LoadedCrossEncoder};
use crate::rerank::Scores;
use crate::tokenize::TokenIds;

/// Pairs of more bytes are not compared with others: hashing them on a runtime thread would take too long.
const LONGEST_COMPARED: usize = 16 << 10;

/// One pair and what was asked of it.
#[derive(Clone, Debug)]
pub struct RerankRequest {
    pub(crate) query: Arc<str>,
    pub(crate) document: Arc<str>,
    pub(crate) truncation: Truncation,
    pub(crate) max_tokens: Option<usize>,
    /// Found where the request was made, so that a long list can be hashed in a lane.
    fingerprint: Option<Fingerprint>,
}

/// A cross-encoder as the engine sees it. Its jobs are done after one step.
#[derive(Debug)]
pub struct RerankModel {
    loaded: Arc<LoadedCrossEncoder>,
    pace: Pace,
}

/// Reads, prepares for and loads a cross-encoder.
#[derive(Debug)]
pub(crate) struct RerankLoader {
    encoder: CrossEncoder,
    shared: SharedWeights<LoadedCrossEncoder>,
}

impl RerankLoader {
    pub(crate) fn new(encoder: CrossEncoder) -> Self {
        Self { encoder, shared: SharedWeights::new() }
    }
}

impl Loader for RerankLoader {
    type Model = RerankModel;

    fn footprint(&self) -> Result<Footprint, LoadError> {
        Ok(self.encoder.footprint())
    }

    fn load(&self) -> Result<RerankModel, LoadError> {
        let loaded = self.shared.get_or_load(|| self.encoder.load()).map_err(LoadError::new)?;
        Ok(RerankModel { loaded, pace: Pace::new() })
    }

    fn prepare(&self, request: &RerankRequest) -> Result<Prepared<TokenIds>, ModelError> {
        let value = self.encoder.tokenizer().pair(&request.query, &request.document, request.truncation)?;
        let cost = Cost::new(value.ids.len() as u64, (request.bytes() + value.bytes()) as u64);
        Ok(Prepared { value, cost })
    }

    fn preparation(&self, _: Cost) -> Preparation {
        Preparation::Lane
    }
}

impl RerankRequest {
    /// A request for a pair's scores.
    pub(crate) fn new(
        query: Arc<str>,
        document: Arc<str>,
        truncation: Truncation,
        max_tokens: Option<usize>,
    ) -> Self {
        let mut request = Self { query, document, truncation, max_tokens, fingerprint: None };
        if request.bytes() <= LONGEST_COMPARED {
            request.fingerprint = Some(request.content());
        }
        request
    }

    fn content(&self) -> Fingerprint {
        let mut fingerprint = Fingerprinter::new();
        fingerprint.add(&self.query);
        fingerprint.add(&self.document);
        fingerprint.add(&self.truncation);
        fingerprint.finish()
    }

    fn bytes(&self) -> usize {
        self.query.len() + self.document.len()
    }
}

impl Model for RerankModel {
    type Request = RerankRequest;
    type Prepared = TokenIds;
    type Output = Scores;
    type Event = ();

    fn estimate(request: &RerankRequest) -> Cost {
        Cost::new(estimate(request.bytes(), request.max_tokens), request.bytes() as u64)
    }

    fn fingerprint(request: &RerankRequest) -> Option<Fingerprint> {
        request.fingerprint
    }

    fn identify(request: &RerankRequest) -> Option<Fingerprint> {
        Some(request.content())
    }

    fn room(&self) -> Room {
        self.pace.room()
    }

    fn step(&mut self, step: &mut Step<Self>) -> Result<(), StepError> {
        let jobs = step.take_joined();
        let batch = by_length(&jobs);
        let sequences: Vec<&TokenIds> = batch.iter().map(|(_, tokens)| *tokens).collect();
        let loaded = &self.loaded;
        let scores = self.pace.time(tokens(&batch), || loaded.score(&sequences)).map_err(StepError::new)?;
        for ((job, tokens), values) in batch.into_iter().zip(scores) {
            let outcome = if values.iter().all(|value| value.is_finite()) {
                Ok(Scores { values, tokens: tokens.ids.len() })
            } else {
                Err(ModelError::failed("the score is no finite number; the weights may be damaged"))
            };
            step.finish(job.id(), outcome);
        }
        Ok(())
    }
}

impl LoadedCrossEncoder {
    /// The scores of each pair.
    fn score(&self, pairs: &[&TokenIds]) -> candle_core::Result<Vec<Vec<f32>>> {
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        let states = self.bert.forward(pairs)?;
        let first = pairs.iter().scan(0_u32, |row, pair| {
            let own = *row;
            *row += pair.ids.len() as u32;
            Some(own)
        });
        let mut scores = self.classifier.forward(&states, first.collect())?;
        scores.iter_mut().flatten().for_each(|score| *score = self.activation.of(*score));
        Ok(scores)
    }
}
