use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use nn::{NnError, UnetInput, UnetPass};
use pool_core::{Cost, Fingerprint, JobId, Model, ModelError, Room, Step, StepError};
use tokio::time::Instant;

use super::finish;
use super::loader::Prepared;
use super::memory::Shape;
use super::preview::PreviewMap;
use super::request::ImagineRequest;
use super::sharing::{Sharing, Unit};
use super::work::{Outcome, Work};
use crate::checkpoint::{Checkpoint, Loaded};
use crate::drawing::{Drawing, DrawingStep};
use crate::picture::{Picture, PictureFormat};

/// How long a step takes: cancelled jobs, more urgent ones and other models wait no longer than this and one piece of work.
const STEP: Duration = Duration::from_millis(200);
/// Jobs at hand, at most: one that is advanced, those it was overtaken by and those it shares passes with, and some whose
/// events nobody reads.
const MOST_HELD: usize = 16;

/// A text-to-image model as the engine sees it: the most urgent picture first, and of equally urgent ones that which was
/// begun first, until it is done. Passes are shared only where that was measured to be worth it.
#[derive(Debug)]
pub struct TextToImageModel {
    checkpoint: Arc<Checkpoint>,
    loaded: Arc<Loaded>,
    /// In the order in which they are advanced.
    works: Vec<Work>,
    pass: Option<Pass>,
    sharing: Sharing,
    preview: Option<PreviewMap>,
}

/// A pass through the model that is under way. One that a more urgent picture overtakes is given up: its activations are
/// what the working set is.
#[derive(Debug)]
struct Pass {
    run: UnetPass,
    unit: Unit,
    /// Whose picture each of its parts is.
    members: Vec<JobId>,
    took: Duration,
}

impl TextToImageModel {
    pub(super) fn new(checkpoint: Arc<Checkpoint>, loaded: Arc<Loaded>) -> Self {
        Self { checkpoint, loaded, works: Vec::new(), pass: None, sharing: Sharing::default(), preview: None }
    }

    /// Brings the jobs into the order in which they are advanced. Stable: of equal urgency, first come is first served.
    fn order(&mut self) {
        self.works.sort_by_key(|work| (work.paused, Reverse(work.priority())));
    }

    /// The job that is advanced next, if one is.
    fn first(&self) -> Option<&Work> {
        self.works.first().filter(|work| !work.paused)
    }

    /// Ends a job.
    fn end(&mut self, job: JobId, outcome: Result<Drawing, ModelError>, step: &mut Step<Self>) {
        self.works.retain(|work| work.job.id() != job);
        step.finish(job, outcome);
    }

    /// Advances the first job, up to the time given. A failure is that job's.
    fn advance(&mut self, until: Instant, step: &mut Step<Self>) {
        let Some(work) = self.works.first_mut() else { return };
        let (id, job) = (work.job.id(), work.job.clone());
        let mut go_on = || Instant::now() < until && job.is_wanted();
        match work.advance(&self.checkpoint, &self.loaded, &mut go_on) {
            Err(error) => self.end(id, Err(error), step),
            Ok(Outcome::Done(drawing)) => self.end(id, Ok(drawing), step),
            Ok(Outcome::Going) if work.denoising().is_none() => {}
            Ok(Outcome::Going) => {
                if let Err(error) = self.advance_pass(&mut go_on, step) {
                    self.end(id, Err(ModelError::failed(error)), step);
                }
            }
        }
    }

    /// Advances the pass that the first job is in, or begins one.
    fn advance_pass(
        &mut self,
        go_on: &mut dyn FnMut() -> bool,
        step: &mut Step<Self>,
    ) -> Result<(), NnError> {
        let mut pass = match self.pass.take() {
            Some(pass) => pass,
            None => self.begin_pass(go_on)?,
        };
        let started = Instant::now();
        let done = self.loaded.unet.advance(&mut pass.run, go_on);
        pass.took += started.elapsed();
        if !done {
            self.pass = Some(pass);
            return Ok(());
        }
        self.sharing.learn(pass.unit, pass.members.len(), pass.took);
        for (part, member) in pass.members.iter().enumerate() {
            let Some(work) = self.works.iter_mut().find(|work| work.job.id() == *member) else { continue };
            let rows = part * pass.unit.halves..(part + 1) * pass.unit.halves;
            let halves: Vec<&[f32]> = rows.map(|row| pass.run.output(row)).collect();
            if work.denoising().is_some_and(|denoising| denoising.take(&halves)) {
                self.tell(*member, step);
            }
        }
        Ok(())
    }

    /// A pass of the first job's pictures, and of others' where that is worth it.
    fn begin_pass(&mut self, go_on: &mut dyn FnMut() -> bool) -> Result<Pass, NnError> {
        let factor = self.checkpoint.vae.factor();
        let (unit, priority) = self.works.first().map_or_else(
            || (Unit { height: 0, width: 0, halves: 1 }, pool_core::Priority::Low),
            |first| (first.unit(factor), first.job.priority()),
        );
        let wanted = self.affordable(unit);
        // Whose, and how many of it.
        let mut parts: Vec<(usize, usize)> = Vec::new();
        let mut found = 0;
        for (index, work) in self.works.iter_mut().enumerate() {
            if found >= wanted || work.paused || work.unit(factor) != unit || work.job.priority() != priority
            {
                continue;
            }
            if index > 0 {
                if !work.may_share() {
                    continue;
                }
                // What fails now is told at this job's turn.
                let _ = work.advance(&self.checkpoint, &self.loaded, go_on);
            }
            if let Some(denoising) = work.denoising() {
                let pictures = denoising.waiting().min(wanted - found);
                parts.push((index, pictures));
                found += pictures;
            }
        }
        // Measured are powers of two.
        let mut left = if found == 0 { 0 } else { 1 << found.ilog2() };
        let mut members = Vec::with_capacity(left);
        let mut samples = Vec::with_capacity(left);
        for (index, pictures) in parts {
            let work = &mut self.works[index];
            let id = work.job.id();
            if let Some(denoising) = work.denoising() {
                let told = Arc::clone(denoising.told());
                for (sample, timestep) in denoising.samples(pictures.min(left)) {
                    members.push(id);
                    samples.push((Arc::clone(&told), sample, timestep));
                    left -= 1;
                }
            }
        }
        let rows: Vec<UnetInput<'_>> =
            samples.iter().flat_map(|(told, sample, timestep)| told.rows(sample, *timestep)).collect();
        Ok(Pass { run: self.loaded.unet.begin(&rows)?, unit, members, took: Duration::ZERO })
    }

    /// How many pictures a pass should have, as far as memory suffices.
    fn affordable(&self, unit: Unit) -> usize {
        let mut pictures = self.sharing.wanted(unit);
        if pictures == 1 {
            // Mostly: what passes take need not be gone through then.
            return 1;
        }
        let config = &self.checkpoint.unet;
        let usual = Shape::usual(&self.checkpoint).peak_bytes(&self.checkpoint);
        let budget = usual.max(config.pass_bytes(unit.halves, unit.height, unit.width));
        while pictures > 1 && config.pass_bytes(pictures * unit.halves, unit.height, unit.width) > budget {
            pictures /= 2;
        }
        pictures
    }

    /// Tells a job's caller of a step, and shows how far it is if that is wanted.
    fn tell(&mut self, job: JobId, step: &mut Step<Self>) {
        let Some(work) = self.works.iter_mut().find(|work| work.job.id() == job) else { return };
        let previews = work.job.request().previews;
        let Some(denoising) = work.denoising() else { return };
        let (done, all) = denoising.progress();
        let preview = match previews {
            false => None,
            true => {
                if self.preview.is_none() {
                    self.preview = PreviewMap::of(&self.loaded.vae).ok();
                }
                let told = denoising.told();
                let colours = self.preview.as_ref().map(|map| map.colours(denoising.first()));
                colours.and_then(|colours| picture(&colours, told.height, told.width))
            }
        };
        step.emit(job, DrawingStep { step: done, steps: all, preview });
    }
}

/// A preview as a file. None of what cannot be shown.
fn picture(colours: &[f32], height: usize, width: usize) -> Option<Picture> {
    let image = finish::image(colours, height, width).ok()?;
    finish::picture(&image, PictureFormat::Png, None).ok()
}

impl Model for TextToImageModel {
    type Request = ImagineRequest;
    type Prepared = Prepared;
    type Output = Drawing;
    type Event = DrawingStep;

    fn estimate(request: &ImagineRequest) -> Cost {
        Cost::new(request.tokens(), request.bytes())
    }

    fn fingerprint(request: &ImagineRequest) -> Option<Fingerprint> {
        request.fingerprint()
    }

    fn identify(request: &ImagineRequest) -> Option<Fingerprint> {
        Some(request.content())
    }

    fn room(&self) -> Room {
        let held = self.works.len();
        let Some(first) = self.first() else {
            return if held < MOST_HELD { Room::jobs(1) } else { Room::NONE };
        };
        let factor = self.checkpoint.vae.factor();
        let unit = first.unit(factor);
        let others = || self.works.iter().filter(|work| !work.paused);
        let alike = others().all(|work| work.unit(factor) == unit && work.waiting() > 0);
        if held < MOST_HELD && alike && others().map(Work::waiting).sum::<usize>() < self.affordable(unit) {
            return Room::jobs(1);
        }
        // Begun pictures are finished before others are begun, but for more urgent ones.
        match held < 2 * MOST_HELD {
            true => Room::jobs(1).above(first.priority()),
            false => Room::NONE,
        }
    }

    fn step(&mut self, step: &mut Step<Self>) -> Result<(), StepError> {
        let until = Instant::now() + STEP;
        self.works.retain(|work| !step.left().contains(&work.job.id()));
        for job in step.take_joined() {
            self.works.push(Work::new(job));
        }
        for work in &mut self.works {
            work.paused = step.is_paused(work.job.id());
        }
        loop {
            self.works.retain(|work| work.job.is_wanted());
            self.order();
            let Some(first) = self.first().map(|work| work.job.id()) else { break };
            // An overtaken pass, of the UNet or the VAE, is given up before another is begun.
            self.pass = self.pass.take().filter(|pass| pass.members.contains(&first));
            let started = Instant::now();
            self.advance(until, step);
            let took = started.elapsed();
            self.works.iter_mut().filter(|work| work.job.id() != first).for_each(|work| work.wait(took));
            if Instant::now() >= until {
                break;
            }
        }
        if self
            .pass
            .as_ref()
            .is_some_and(|pass| self.works.iter().all(|work| !pass.members.contains(&work.job.id())))
        {
            self.pass = None;
        }
        Ok(())
    }
}
