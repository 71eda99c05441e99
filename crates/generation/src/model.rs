use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use pool_core::{
    Cost, Fingerprint, JobId, JobView, Model, ModelError, ModelId, Room, Step, StepError, Tokens,
};
use tokio::time::Instant;

use crate::blocks::BlockKey;
use crate::decoder::{DecodeError, Decoder};
use crate::item::{ContentHash, Item};
use crate::job::{GenerationConfig, GenerationJob, GenerationRequest, Limits, UnusableCache};
use crate::metrics::GenerationMetrics;
use crate::occupancy::Occupancy;
use crate::output::{Choice, Delta, Generation, Usage};
use crate::scheduler::{Pace, Plan, PlannedChunk, Scheduler, SchedulerConfig, SequenceKey, WantedPicture};
use crate::vocabulary::Vocabulary;
use crate::writer::Writer;

/// Any model that writes text: sequences over a decoder, as the engine sees it.
///
/// `R` is the modality's own request; its loader prepares a [`GenerationJob`] from it. Each step advances every
/// sequence that decodes by a token, and prompts by as much as keeps the step about as short.
pub struct GenerationModel<D: Decoder, R: GenerationRequest> {
    decoder: D,
    vocabulary: Arc<dyn Vocabulary>,
    limits: Limits,
    scheduler: Scheduler,
    pace: Pace,
    jobs: BTreeMap<JobId, Active<D, R>>,
    /// Jobs whose choices would be too many beside those at hand, by rank.
    waiting: BTreeMap<SequenceKey, Active<D, R>>,
    /// The picture that the decoder is in the midst of.
    encoding: Option<ContentHash>,
    /// Ids of rows that the vocabulary has no tokens of: rows are often padded. They are never drawn.
    padding: Vec<Range<usize>>,
    /// Kept from step to step: a row is a vocabulary wide.
    logits: Vec<f32>,
    weights: Vec<f64>,
    metrics: GenerationMetrics,
    occupancy: Arc<Occupancy>,
}

/// A job at hand.
struct Active<D: Decoder, R: GenerationRequest> {
    view: JobView<GenerationModel<D, R>>,
    /// Its first choice's sequence, which is the only one until the prompt has been computed.
    key: SequenceKey,
    /// One a choice, once the prompt has been computed; `None`: it has ended.
    choices: Vec<Progress>,
    /// Choices that have ended.
    ended: BTreeMap<u32, Choice>,
    usage: Usage,
    submitted: Instant,
    /// Whether it is left out of steps: its caller does not read, or does not wait any more.
    paused: bool,
}

/// With those that are held up by their readers, so many times as many sequences are kept as can go on.
const KEPT: usize = 4;

/// A choice that is being written.
struct Progress {
    key: SequenceKey,
    writer: Writer,
    last_token: Instant,
}

impl<D: Decoder, R: GenerationRequest> GenerationModel<D, R> {
    /// A model over a decoder. `revision` stands for its weights: cached prefixes of another are never taken.
    ///
    /// # Errors
    ///
    /// When the decoder's cache can serve no sequence.
    pub fn new(
        name: &ModelId,
        revision: &impl Hash,
        decoder: D,
        vocabulary: Arc<dyn Vocabulary>,
        config: &GenerationConfig,
    ) -> Result<Self, UnusableCache> {
        let shape = decoder.cache();
        let limits = Limits::new(decoder.vocab_size(), decoder.context(), shape, config)?;
        let scheduling = SchedulerConfig {
            batch: limits.sequences,
            chunk: config.chunk(shape.block_tokens),
            fixed: config.deterministic,
            picture_rows: decoder.picture_rows(),
        };
        let scheduler = Scheduler::new(shape, BlockKey::root(revision), scheduling);
        let metrics = GenerationMetrics::new(name);
        let occupancy = Arc::new(Occupancy::new(scheduler.pool().total()));
        metrics.blocks_total.set(occupancy.blocks() as f64);
        let padding = padding(&*vocabulary, limits.vocab_size);
        Ok(Self {
            decoder,
            vocabulary,
            limits,
            scheduler,
            pace: Pace::new(config.max_prefill),
            jobs: BTreeMap::new(),
            waiting: BTreeMap::new(),
            encoding: None,
            padding,
            logits: Vec::new(),
            weights: Vec::new(),
            metrics,
            occupancy,
        })
    }

    /// What its answers are bounded by.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How full it is, to be looked at from anywhere while it runs.
    pub fn occupancy(&self) -> &Arc<Occupancy> {
        &self.occupancy
    }

    fn join(&mut self, view: JobView<Self>, step: &mut Step<Self>) {
        let id = view.id();
        let Some(job) = view.prepared() else {
            step.finish(id, Err(ModelError::failed("the job was not prepared: a defect, please report it")));
            return;
        };
        if let Err(refused) = job.check(&self.limits).and_then(|()| job.check_pictures()) {
            step.finish(id, Err(refused));
            return;
        }
        let key = SequenceKey::new(view.request().priority(), id, 0);
        self.metrics.prompt.increment(job.prompt.len() as u64);
        let usage = Usage { prompt: job.prompt.len(), cached: 0, completion: 0 };
        let submitted = view.request().submitted().unwrap_or_else(Instant::now);
        let (choices, ended) = (Vec::new(), BTreeMap::new());
        let active = Active { view, key, choices, ended, usage, submitted, paused: false };
        self.waiting.insert(key, active);
    }

    /// Takes up those that wait, the highest rank first, as long as all their choices can go on at once. None is passed
    /// by, or one of many choices might wait forever.
    fn admit(&mut self) {
        let mut free = self.limits.sequences.saturating_sub(self.sequences());
        while let Some(first) = self.waiting.first_entry().filter(|first| first.get().sequences() <= free) {
            let active = first.remove();
            free -= active.sequences();
            if let Some(job) = active.view.prepared() {
                self.scheduler.add(active.key, job.prompt.clone());
            }
            self.jobs.insert(active.key.job, active);
        }
    }

    /// Sequences that go on. Choices that are not forked off yet count as well.
    fn sequences(&self) -> usize {
        self.jobs.values().filter(|active| !active.paused).map(Active::sequences).sum()
    }

    /// Gives back all that a job holds.
    fn leave(&mut self, id: JobId) {
        if let Some(active) = self.jobs.remove(&id) {
            self.scheduler.remove(active.key);
            for choice in active.choices {
                self.scheduler.remove(choice.key);
            }
        }
        self.waiting.retain(|key, _| key.job != id);
        self.drop_unwanted_picture();
    }

    /// Jobs whose callers do not read, or do not wait any more, are left out of this step.
    fn pause(&mut self, step: &Step<Self>) {
        for (id, active) in &mut self.jobs {
            active.paused = step.is_paused(*id) || !active.view.is_wanted();
            self.scheduler.pause(active.key, active.paused);
            for choice in &active.choices {
                self.scheduler.pause(choice.key, active.paused);
            }
        }
    }

    /// Computes what a step has planned. `false`: a job that was at fault has ended, and nothing counts as computed.
    fn compute(&mut self, plan: &Plan, step: &mut Step<Self>) -> Result<bool, StepError> {
        for copy in &plan.copies {
            self.decoder.copy_block(copy.group, copy.from, copy.to).map_err(StepError::new)?;
        }
        self.logits.clear();
        let (decoder, logits) = (&mut self.decoder, &mut self.logits);
        let started = Instant::now();
        let outcome = self.scheduler.with_chunks(plan, |chunks| decoder.forward(chunks, logits));
        match outcome {
            Ok(()) => self.pace.learn(plan, started.elapsed()),
            Err(DecodeError::Chunk { index, cause }) if index < plan.chunks.len() => {
                let id = plan.chunks[index].key.job;
                step.finish(id, Err(ModelError::Failed(cause)));
                self.leave(id);
                return Ok(false);
            }
            Err(error) => return Err(StepError::new(error)),
        }
        let rows = plan.chunks.iter().filter(|chunk| chunk.ends).count();
        if self.logits.len() != rows * self.limits.vocab_size {
            let (got, size) = (self.logits.len(), self.limits.vocab_size);
            return Err(StepError::new(format!("the decoder gave {got} logits for {rows} rows of {size}")));
        }
        Ok(true)
    }

    /// Computes on a picture at the end of a step that has taken so long, in which so many sequences decode.
    fn encode(
        &mut self,
        wanted: &WantedPicture,
        decoding: usize,
        took: Duration,
        step: &mut Step<Self>,
    ) -> Result<(), StepError> {
        let Some(active) = self.jobs.get(&wanted.key.job) else { return Ok(()) };
        let Some(picture) = active.view.prepared().and_then(|job| job.picture(wanted.content)) else {
            return Err(StepError::new("a picture is gone whose prompt is still there"));
        };
        let rows = picture.rows as usize;
        let Some(given_up) = self.scheduler.picture_room(wanted, rows) else { return Ok(()) };
        let Some(time) = self.pace.picture(decoding, took) else { return Ok(()) };
        if let Some(other) = self.encoding.replace(wanted.content).filter(|other| *other != wanted.content) {
            self.decoder.forget_picture(other);
        }
        let started = Instant::now();
        let mut go_on = || started.elapsed() < time && active.view.is_wanted();
        let outcome = self.decoder.encode(picture, &mut go_on);
        self.pace.spend(started.elapsed());
        match outcome {
            Ok(false) => {}
            Ok(true) => {
                self.encoding = None;
                self.metrics.encoded_pictures.increment(1);
                for content in &given_up {
                    self.decoder.forget_picture(*content);
                }
                self.scheduler.keep_picture(wanted, rows, &given_up);
            }
            Err(error @ DecodeError::Picture(_)) => {
                step.finish(wanted.key.job, Err(ModelError::Failed(error.into())));
                self.leave(wanted.key.job);
            }
            Err(error) => return Err(StepError::new(error)),
        }
        Ok(())
    }

    /// Lets go of what has been computed of a picture that no job has any more.
    fn drop_unwanted_picture(&mut self) {
        let Some(content) = self.encoding else { return };
        let has =
            |active: &Active<D, R>| active.view.prepared().is_some_and(|job| job.picture(content).is_some());
        if !self.jobs.values().any(has) {
            self.decoder.forget_picture(content);
            self.encoding = None;
        }
    }

    /// Goes on with the sequences that a plan has computed to their ends, each from its row of logits.
    fn write(&mut self, plan: &Plan, step: &mut Step<Self>) {
        let mut rows = std::mem::take(&mut self.logits);
        let ends: Vec<&PlannedChunk> = plan.chunks.iter().filter(|chunk| chunk.ends).collect();
        for (chunk, row) in ends.into_iter().zip(rows.chunks_exact_mut(self.limits.vocab_size.max(1))) {
            let id = chunk.key.job;
            for ids in &self.padding {
                row[ids.clone()].fill(f32::NEG_INFINITY);
            }
            let Some(active) = self.jobs.get_mut(&id) else { continue };
            let begins = active.choices.is_empty();
            if begins && let Some(job) = active.view.prepared() {
                active.usage.cached = self.scheduler.cached(chunk.key);
                self.metrics.cached.increment(active.usage.cached as u64);
                let most = self.limits.longest() - job.prompt.len();
                let most = job.max_tokens.map_or(most, |asked| asked.min(most));
                for choice in 0..job.choices {
                    let key = active.key.sibling(choice);
                    if choice > 0 {
                        self.scheduler.fork(active.key, key);
                    }
                    let writer = Writer::new(job, choice, most);
                    active.choices.push(Progress { key, writer, last_token: active.submitted });
                }
            }
            // All choices begin with the row of the prompt's last position.
            let keys: Vec<SequenceKey> = match begins {
                true => active.choices.iter().map(|choice| choice.key).collect(),
                false => vec![chunk.key],
            };
            for key in keys {
                // Writing uses a row up.
                let mut own = if begins { row.to_vec() } else { Vec::new() };
                let row = if begins { own.as_mut_slice() } else { &mut *row };
                if let Err(error) = self.advance(key, row, begins, step) {
                    step.finish(id, Err(error));
                    self.leave(id);
                    break;
                }
            }
        }
        rows.clear();
        self.logits = rows;
    }

    /// Adds to one choice what follows from a row of logits.
    fn advance(
        &mut self,
        key: SequenceKey,
        row: &mut [f32],
        first: bool,
        step: &mut Step<Self>,
    ) -> Result<(), ModelError> {
        let Some(active) = self.jobs.get_mut(&key.job) else { return Ok(()) };
        let Some(place) = active.choices.iter().position(|choice| choice.key == key) else { return Ok(()) };
        let progress = &mut active.choices[place];
        let before = progress.writer.written();
        let position = self.scheduler.length(key);
        let tokens = progress.writer.write(row, position, &*self.vocabulary, &mut self.weights)?;
        let written = progress.writer.written() - before;
        active.usage.completion += written;
        self.metrics.written.increment(written as u64);
        let now = Instant::now();
        if !first || key.choice == 0 {
            self.metrics.token(first, now.saturating_duration_since(progress.last_token));
        }
        progress.last_token = now;
        if let Some(delta) = progress.writer.delta() {
            step.emit(key.job, delta);
        }
        if !progress.writer.is_finished() {
            self.scheduler.append(key, tokens.into_iter().map(Item::Token));
            return Ok(());
        }
        self.scheduler.remove(key);
        let progress = active.choices.swap_remove(place);
        active.ended.insert(key.choice, progress.writer.into_choice());
        if active.choices.is_empty()
            && let Some(active) = self.jobs.remove(&key.job)
        {
            let choices = active.ended.into_values().collect();
            step.finish(key.job, Ok(Generation { choices, usage: active.usage }));
        }
        Ok(())
    }

    fn measure(&mut self, plan: &Plan) {
        let computed: usize = plan.chunks.iter().map(PlannedChunk::len).sum();
        self.metrics.computed.increment(computed as u64);
        let preemptions = self.occupancy.preemptions();
        self.occupancy.update(&self.scheduler, self.waiting.values().map(Active::sequences).sum());
        let now = &self.occupancy;
        self.metrics.preemptions.increment(now.preemptions() - preemptions);
        self.metrics.kept_pictures.increment(self.scheduler.take_picture_hits());
        self.metrics.running.set(now.running() as f64);
        self.metrics.waiting.set(now.waiting() as f64);
        self.metrics.blocks_used.set(now.blocks_used() as f64);
        self.metrics.blocks_cached.set(now.blocks_cached() as f64);
    }
}

impl<D: Decoder, R: GenerationRequest> Model for GenerationModel<D, R> {
    type Request = R;
    type Prepared = GenerationJob<D::Pixels>;
    type Output = Generation;
    type Event = Delta;

    fn estimate(request: &R) -> Cost {
        request.estimate()
    }

    fn fingerprint(request: &R) -> Option<Fingerprint> {
        request.fingerprint()
    }

    fn identify(request: &R) -> Option<Fingerprint> {
        request.identify()
    }

    fn room(&self) -> Room {
        // A job that is held up by its reader takes no place from others, but what it keeps has a bound.
        let most = self.limits.sequences;
        let waiting: usize = self.waiting.values().map(Active::sequences).sum();
        let all: usize = waiting + self.jobs.values().map(Active::sequences).sum::<usize>();
        let jobs = most.saturating_sub(self.sequences() + waiting);
        let jobs = jobs.min((KEPT * most).saturating_sub(all));
        // Half as much again as the cache holds may wait here, so that an urgent job comes in while others fill it.
        let size = self.scheduler.pool().positions();
        let most = size + size / 2;
        let waiting: usize = self.waiting.values().map(|active| active.usage.prompt).sum();
        let tokens = most.saturating_sub(self.scheduler.unpaused_tokens() + waiting);
        let tokens = tokens.min((KEPT * most).saturating_sub(self.scheduler.tokens() + waiting));
        if jobs == 0 || tokens == 0 { Room::NONE } else { Room::new(jobs, Tokens(tokens as u64)) }
    }

    fn step(&mut self, step: &mut Step<Self>) -> Result<(), StepError> {
        for id in step.left().to_vec() {
            self.leave(id);
        }
        for view in step.take_joined() {
            self.join(view, step);
        }
        self.pause(step);
        self.admit();
        let started = Instant::now();
        let decoding = self.scheduler.decoding();
        let plan = self.scheduler.plan(self.pace.prefill(decoding));
        if !plan.chunks.is_empty() && self.compute(&plan, step)? {
            self.scheduler.commit(&plan);
            self.write(&plan, step);
        }
        if let Some(wanted) = &plan.picture {
            self.encode(wanted, decoding, started.elapsed(), step)?;
        }
        self.measure(&plan);
        Ok(())
    }
}

/// The ids below `size` that a vocabulary has no tokens of.
fn padding(vocabulary: &dyn Vocabulary, size: usize) -> Vec<Range<usize>> {
    let mut padding: Vec<Range<usize>> = Vec::new();
    for id in (0..size).filter(|id| vocabulary.token_bytes(*id as u32).is_none()) {
        match padding.last_mut() {
            Some(last) if last.end == id => last.end += 1,
            _ => padding.push(id..id + 1),
        }
    }
    padding
}

impl<D: Decoder, R: GenerationRequest> Active<D, R> {
    /// Sequences it has or will have.
    fn sequences(&self) -> usize {
        match self.view.prepared() {
            Some(job) if self.choices.is_empty() => job.choices as usize,
            _ => self.choices.len(),
        }
    }
}

impl<D: Decoder, R: GenerationRequest> fmt::Debug for GenerationModel<D, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenerationModel")
            .field("limits", &self.limits)
            .field("jobs", &self.jobs.len())
            .field("occupancy", &self.occupancy)
            .finish_non_exhaustive()
    }
}
