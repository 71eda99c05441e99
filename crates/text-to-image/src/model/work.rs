//! One job from its texts to its pictures.

use std::time::Duration;

use pool_core::{JobView, ModelError, Priority};

use super::denoising::{Beginning, Denoising, Told};
use super::edit::{Encoded, EncodingRun};
use super::finish::DecodingRun;
use super::loader::Prepared;
use super::request::ImagineRequest;
use super::sharing::Unit;
use super::text_to_image::TextToImageModel;
use crate::checkpoint::{Checkpoint, Loaded};
use crate::drawing::Drawing;
use crate::noise::Generator;
use crate::prompt::{Conditioning, PromptPass, PromptTokens};

/// A job that others were advanced in place of for this long is a class more urgent: they cannot overtake it for ever.
const AGEING: Duration = Duration::from_secs(30);

/// One job.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) job: JobView<TextToImageModel>,
    /// How long others were advanced in its place.
    waited: Duration,
    /// Not to be advanced, as its events are not read.
    pub(super) paused: bool,
    stage: Stage,
}

/// How far it is.
#[derive(Debug)]
enum Stage {
    /// Nothing is done yet.
    New,
    Texts(PromptPass),
    Source {
        conditions: Vec<Conditioning>,
        run: EncodingRun,
    },
    Denoising(Denoising),
    Decoding(DecodingRun),
    /// It has been taken apart, and goes on in another stage at once.
    Between,
}

/// What a piece of work came to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// There is more to do.
    Going,
    Done(Drawing),
}

impl Work {
    /// At its beginning.
    pub(super) fn new(job: JobView<TextToImageModel>) -> Self {
        Self { job, waited: Duration::ZERO, paused: false, stage: Stage::New }
    }

    /// Others were advanced for so long. What it needs memory for is given up, and begun again at its turn.
    pub(super) fn wait(&mut self, waited: Duration) {
        self.waited += waited;
        match &mut self.stage {
            Stage::Source { run, .. } => run.give_up(),
            Stage::Decoding(run) => run.give_up(),
            _ => {}
        }
    }

    /// How urgent it is by now.
    pub(super) fn priority(&self) -> Priority {
        let times = self.waited.as_secs() / AGEING.as_secs();
        (0..times.min(4)).fold(self.job.priority(), |priority, _| priority.raised().unwrap_or(priority))
    }

    /// Between noise and latents, where it may share passes with others.
    pub(super) fn denoising(&mut self) -> Option<&mut Denoising> {
        match &mut self.stage {
            Stage::Denoising(denoising) => Some(denoising),
            _ => None,
        }
    }

    /// What its part of a pass is.
    pub(super) fn unit(&self, factor: usize) -> Unit {
        let shape = self.job.request().shape();
        let (height, width) = shape.latents(factor as u32);
        Unit { height, width, halves: shape.halves }
    }

    /// Whether it can share a pass before anything that takes long is computed for it.
    pub(super) fn may_share(&self) -> bool {
        match &self.stage {
            Stage::New | Stage::Texts(_) => self.job.request().edit.is_none(),
            Stage::Denoising(denoising) => !denoising.is_done(),
            _ => false,
        }
    }

    /// Pictures of it that wait for a pass.
    pub(super) fn waiting(&self) -> usize {
        match &self.stage {
            Stage::Denoising(denoising) => denoising.waiting(),
            Stage::Decoding(_) => 0,
            _ => self.job.request().pictures,
        }
    }

    /// Advances it where it needs no pass: until it does, is done, or `go_on` says to stop.
    pub(super) fn advance(
        &mut self,
        checkpoint: &Checkpoint,
        loaded: &Loaded,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Outcome, ModelError> {
        let job = self.job.clone();
        let (request, Some(prepared)) = (job.request(), job.prepared()) else {
            return Err(ModelError::failed("the job was not prepared"));
        };
        loop {
            match &mut self.stage {
                Stage::Texts(pass) => {
                    if !pass.advance(&loaded.texts, go_on) {
                        return Ok(Outcome::Going);
                    }
                }
                Stage::Source { run, .. } => {
                    if let Some(source) = &prepared.source
                        && !run.advance(source, loaded, go_on).map_err(ModelError::failed)?
                    {
                        return Ok(Outcome::Going);
                    }
                }
                Stage::Denoising(denoising) if !denoising.is_done() => return Ok(Outcome::Going),
                Stage::Decoding(run) => {
                    let done = run.advance(loaded, request.format, &request.parameters, go_on);
                    if !done.map_err(ModelError::failed)? {
                        return Ok(Outcome::Going);
                    }
                    return Ok(Outcome::Done(Drawing {
                        pictures: std::mem::take(&mut run.pictures),
                        parameters: request.parameters.clone(),
                        prompt_tokens: prepared.prompt_tokens,
                    }));
                }
                Stage::New | Stage::Denoising(_) => {}
                Stage::Between => return Err(ModelError::failed("the job has failed before")),
            }
            let stage = std::mem::replace(&mut self.stage, Stage::Between);
            self.stage = next(stage, request, prepared, checkpoint, loaded)?;
        }
    }
}

/// The stage behind one that is done.
fn next(
    stage: Stage,
    request: &ImagineRequest,
    prepared: &Prepared,
    checkpoint: &Checkpoint,
    loaded: &Loaded,
) -> Result<Stage, ModelError> {
    Ok(match stage {
        Stage::New => {
            let prompts: Vec<&PromptTokens> = prepared.prompts.iter().collect();
            Stage::Texts(PromptPass::begin(&loaded.texts, &prompts).map_err(ModelError::failed)?)
        }
        Stage::Texts(pass) => {
            let mut conditions = pass.conditionings(&loaded.texts);
            if let [only] = conditions.as_slice()
                && request.guided
            {
                conditions.insert(0, only.zeros());
            }
            match prepared.source {
                Some(_) => Stage::Source { conditions, run: EncodingRun::default() },
                None => Stage::Denoising(denoising(request, checkpoint, loaded, conditions, None)?),
            }
        }
        Stage::Source { conditions, run } => {
            let factor = loaded.vae.config().factor();
            let source = prepared.source.as_ref().map(|source| run.finish(source, factor));
            Stage::Denoising(denoising(request, checkpoint, loaded, conditions, source)?)
        }
        Stage::Denoising(denoising) => {
            let size = (denoising.told().height, denoising.told().width);
            Stage::Decoding(DecodingRun::new(denoising.into_latents(), request.pictures, size, loaded))
        }
        other => other,
    })
}

fn denoising(
    request: &ImagineRequest,
    checkpoint: &Checkpoint,
    loaded: &Loaded,
    halves: Vec<Conditioning>,
    source: Option<Encoded>,
) -> Result<Denoising, ModelError> {
    let parameters = &request.parameters;
    let vae = loaded.vae.config();
    let (height, width) = request.shape().latents(vae.factor() as u32);
    let told = Told {
        halves,
        guidance: parameters.guidance,
        guidance_embedding: checkpoint
            .unet
            .guidance_size
            .map(|size| nn::guidance_embedding(parameters.guidance - 1.0, size)),
        time_ids: checkpoint.time_ids(parameters.width, parameters.height),
        height,
        width,
        channels: vae.latent_channels,
        input_channels: checkpoint.unet.in_channels,
    };
    let beginning = Beginning {
        scheduler: request.scheduler(checkpoint).map_err(ModelError::failed)?,
        generator: Generator::new(parameters.seed),
        noise: request.noise,
        pictures: request.pictures,
        source,
        strength: parameters.strength.unwrap_or(1.0),
    };
    Ok(Denoising::begin(told, beginning, |latents| vae.scale(latents)))
}
