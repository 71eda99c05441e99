use std::sync::Arc;
use std::time::Duration;

use model_source::SharedWeights;
use pool_core::{
    Cost, Fingerprint, Footprint, JobView, LoadError, Loader, Model, ModelError, Preparation, Room, Step,
    StepError,
};
use tokio::time::Instant;

use super::batch::{Batch, Member};
use super::pace::Pace;
use super::request::{EmbedRequest, Prepared};
use crate::call::Input;
pub(super) use crate::checkpoint::WORKING_TOKENS;
use crate::checkpoint::{Checkpoint, Loaded};
use crate::embedding::Embedding;

/// How long a step takes: late arrivals, cancelled jobs and other models wait no longer than this, and half a layer.
const STEP: Duration = Duration::from_millis(200);

/// Tokens of a batch, unless one job has more: beyond it, sharing a matrix product gains nothing.
const BATCH: usize = 512;

/// An image embedding model as the engine sees it: pictures and texts are on their way through its towers in batches, the
/// most urgent first, and each step advances them by as much as its time allows.
#[derive(Debug)]
pub struct ImageEmbeddingModel {
    loaded: Arc<Loaded>,
    /// In the order in which they are advanced.
    batches: Vec<Batch>,
    pace: Pace,
}

/// Prepares for and loads an image embedding model.
#[derive(Debug)]
pub(crate) struct EmbeddingLoader {
    checkpoint: Arc<Checkpoint>,
    shared: SharedWeights<Loaded>,
}

impl EmbeddingLoader {
    pub(crate) fn new(checkpoint: Arc<Checkpoint>) -> Self {
        Self { checkpoint, shared: SharedWeights::new() }
    }
}

impl Loader for EmbeddingLoader {
    type Model = ImageEmbeddingModel;

    fn footprint(&self) -> Result<Footprint, LoadError> {
        Ok(self.checkpoint.footprint())
    }

    fn load(&self) -> Result<ImageEmbeddingModel, LoadError> {
        let loaded = self.shared.get_or_load(|| self.checkpoint.load()).map_err(LoadError::new)?;
        Ok(ImageEmbeddingModel { loaded, batches: Vec::new(), pace: Pace::new() })
    }

    fn prepare(&self, request: &EmbedRequest) -> Result<pool_core::Prepared<Prepared>, ModelError> {
        let input = request.input.bytes() as u64;
        match &request.input {
            Input::Image(image) => {
                let pixels = self.checkpoint.pixels(image);
                let pixels = pixels.map_err(|error| ModelError::invalid(error.to_string()))?;
                let tokens = request.tokens as usize;
                let bytes = input + pixels.bytes() as u64 + self.checkpoint.excess_bytes(tokens);
                let value = Prepared::Image(Arc::new(pixels), tokens);
                Ok(pool_core::Prepared { value, cost: Cost::new(request.tokens, bytes) })
            }
            Input::Text(text) => {
                let side = self.checkpoint.reads_texts().map_err(ModelError::failed)?;
                let tokens = side.tokens(text).map_err(ModelError::invalid)?;
                let bytes = input + size_of_val(tokens.as_slice()) as u64;
                let cost = Cost::new(tokens.len() as u64, bytes);
                Ok(pool_core::Prepared { value: Prepared::Text(tokens), cost })
            }
        }
    }

    fn preparation(&self, _: Cost) -> Preparation {
        // Decoding takes milliseconds, and there may be many texts in a step.
        Preparation::Lane
    }
}

impl Model for ImageEmbeddingModel {
    type Request = EmbedRequest;
    type Prepared = Prepared;
    type Output = Embedding;
    type Event = ();

    fn estimate(request: &EmbedRequest) -> Cost {
        Cost::new(request.tokens, request.bytes)
    }

    fn fingerprint(request: &EmbedRequest) -> Option<Fingerprint> {
        request.fingerprint()
    }

    fn identify(request: &EmbedRequest) -> Option<Fingerprint> {
        Some(request.content())
    }

    fn room(&self) -> Room {
        let jobs = self.batches.iter().map(|batch| batch.jobs.len()).sum();
        self.pace.room(jobs, self.batches.iter().map(Batch::tokens).sum())
    }

    fn step(&mut self, step: &mut Step<Self>) -> Result<(), StepError> {
        let until = Instant::now() + STEP;
        for batch in grouped(step.take_joined()) {
            let ids: Vec<_> = batch.iter().map(|member| member.job.id()).collect();
            match Batch::begin(&self.loaded, batch) {
                Ok(batch) => self.batches.push(batch),
                Err(error) => {
                    let message = error.to_string();
                    ids.into_iter().for_each(|id| step.finish(id, Err(ModelError::invalid(message.clone()))));
                }
            }
        }
        // Stable: of equal urgency, first come is first served.
        self.batches.sort_by_key(|batch| std::cmp::Reverse(batch.priority));
        loop {
            self.batches.iter_mut().for_each(|batch| batch.prune(step.left()));
            self.batches.retain(|batch| !batch.jobs.is_empty());
            let Some(batch) = self.batches.first_mut() else {
                break;
            };
            if batch.advance(&self.loaded, until) {
                let batch = self.batches.remove(0);
                self.pace.learn(batch.tokens(), batch.took, STEP);
                hand_out(&batch, step);
            }
            if Instant::now() >= until {
                break;
            }
        }
        Ok(())
    }
}

/// Jobs in batches of one kind, one priority and not too many tokens, in their order.
fn grouped(jobs: Vec<JobView<ImageEmbeddingModel>>) -> Vec<Vec<Member>> {
    let mut batches: Vec<Vec<Member>> = Vec::new();
    // The batch that the next picture joins, and that for the next text.
    let mut open: [Option<usize>; 2] = [None; 2];
    for job in jobs {
        let (kind, tokens) = match job.prepared() {
            Some(Prepared::Image(_, tokens)) => (0, *tokens),
            Some(Prepared::Text(tokens)) => (1, tokens.len()),
            None => continue,
        };
        let fits = |batch: &Vec<Member>| {
            batch.iter().map(|member| member.tokens).sum::<usize>() + tokens <= BATCH
                && batch[0].job.request().priority == job.request().priority
        };
        let number = open[kind].filter(|number| fits(&batches[*number])).unwrap_or_else(|| {
            batches.push(Vec::new());
            batches.len() - 1
        });
        open[kind] = Some(number);
        batches[number].push(Member { job, tokens });
    }
    batches
}

/// Ends a batch's jobs.
fn hand_out(batch: &Batch, step: &mut Step<ImageEmbeddingModel>) {
    for (index, member) in batch.jobs.iter().enumerate() {
        let mut values = batch.vector(index).to_vec();
        if member.job.request().normalize {
            normalize(&mut values);
        }
        let outcome = if !values.is_empty() && values.iter().all(|value| value.is_finite()) {
            Ok(Embedding { values, tokens: member.tokens })
        } else {
            Err(ModelError::failed(
                "the vector has components that are no finite numbers; the weights may be damaged",
            ))
        };
        step.finish(member.job.id(), outcome);
    }
}

/// Scales a vector to length 1; one of zeros stays as it is.
fn normalize(vector: &mut [f32]) {
    let square: f64 = vector.iter().map(|value| f64::from(*value).powi(2)).sum();
    let scale = if square > 0.0 { 1.0 / square.sqrt() } else { 1.0 };
    vector.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
}
