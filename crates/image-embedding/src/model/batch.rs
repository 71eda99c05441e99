use std::time::Duration;

use nn::{NnError, Pixels, TextPass, VisionPass};
use pool_core::{JobId, JobView, Priority};
use tokio::time::Instant;

use super::embedding::ImageEmbeddingModel;
use super::request::Prepared;
use crate::checkpoint::Loaded;

/// Jobs whose pictures or texts are on their way through a tower together.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) jobs: Vec<Member>,
    pass: Pass,
    pub(super) priority: Priority,
    /// What it has taken so far.
    pub(super) took: Duration,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) job: JobView<ImageEmbeddingModel>,
    pub(super) tokens: usize,
}

#[derive(Debug)]
enum Pass {
    Vision(VisionPass),
    Text(TextPass),
}

impl Batch {
    /// Jobs of one kind and priority at the beginning of their way.
    ///
    /// The error is the tower's: an input does not fit it.
    pub(super) fn begin(loaded: &Loaded, jobs: Vec<Member>) -> Result<Self, NnError> {
        let priority = jobs.iter().map(|member| member.job.request().priority).max().unwrap_or_default();
        let mut pictures = Vec::new();
        let mut texts: Vec<&[u32]> = Vec::new();
        for member in &jobs {
            match member.job.prepared() {
                Some(Prepared::Image(pixels, _)) => {
                    let layout = pixels.layout();
                    let size = (layout.tile_height as usize, layout.tile_width as usize);
                    pictures.push((pixels.tile(0), size));
                }
                Some(Prepared::Text(tokens)) => texts.push(tokens),
                None => {}
            }
        }
        let pass = match &loaded.text {
            Some(tower) if !texts.is_empty() => Pass::Text(tower.begin(&texts)?),
            _ => {
                let pixels: Vec<Pixels<'_>> = pictures
                    .iter()
                    .map(|(values, (height, width))| Pixels { values, height: *height, width: *width })
                    .collect();
                Pass::Vision(loaded.vision.begin(&pixels)?)
            }
        };
        Ok(Self { jobs, pass, priority, took: Duration::ZERO })
    }

    /// Tokens that are under way.
    pub(super) fn tokens(&self) -> usize {
        self.jobs.iter().map(|member| member.tokens).sum()
    }

    /// Computes until all is done (true), the time is up, or somebody has left.
    pub(super) fn advance(&mut self, loaded: &Loaded, until: Instant) -> bool {
        let started = Instant::now();
        let Self { jobs, pass, .. } = self;
        let mut go_on = || Instant::now() < until && jobs.iter().all(|member| member.job.is_wanted());
        let done = match (pass, &loaded.text) {
            (Pass::Vision(pass), _) => loaded.vision.advance(pass, &mut go_on),
            (Pass::Text(pass), Some(tower)) => tower.advance(pass, &mut go_on),
            (Pass::Text(_), None) => true,
        };
        self.took += started.elapsed();
        done
    }

    /// The vector of a job, as the tower leaves it.
    pub(super) fn vector(&self, index: usize) -> &[f32] {
        match &self.pass {
            Pass::Vision(pass) => pass.embedding(index),
            Pass::Text(pass) => pass.embedding(index),
        }
    }

    /// Takes out the jobs that have left, and those that nobody waits for.
    pub(super) fn prune(&mut self, left: &[JobId]) {
        for index in (0..self.jobs.len()).rev() {
            let job = &self.jobs[index].job;
            if left.contains(&job.id()) || !job.is_wanted() {
                self.jobs.remove(index);
                match &mut self.pass {
                    Pass::Vision(pass) => pass.remove(index),
                    Pass::Text(pass) => pass.remove(index),
                }
            }
        }
    }
}
