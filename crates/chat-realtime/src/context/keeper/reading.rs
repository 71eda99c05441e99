//! Reading files, and having vectors made of what they say.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::batch::Batch;
use super::super::content::{Draft, Reason};
use super::super::files;
use super::super::ledger::Errand;
use super::{Closing, Keeper, LONGEST, Of, Trouble};
use crate::model::{FailureKind, ModelFailure};

/// Files that are read in one go, and their bytes.
const READ_FILES: usize = 64;
const READ_BYTES: u64 = 1 << 20;
/// After so many failures it is asked whether it can do anything at all.
const DOUBTFUL: u32 = 3;

impl Keeper {
    /// Reads some of the files that are waiting.
    pub(super) async fn read(&mut self) -> Result<(), Closing> {
        let errands = self.ledger.take(READ_FILES, READ_BYTES);
        let (roots, limits) = (Arc::clone(&self.parts.roots), self.parts.limits);
        let taken = errands.clone();
        let opened = self.parts.lanes.io(move || {
            let read = |errand: &Errand| {
                let root = &roots[errand.key.root].path;
                files::read(root, &root.join(&errand.key.path), limits.file_bytes)
            };
            taken.iter().map(read).collect::<Vec<_>>()
        });
        let Some(opened) = self.lane(opened).await? else {
            self.ledger.give_back(errands);
            return Ok(());
        };
        let taken = errands.clone();
        let drafts = self.parts.lanes.prepare(&self.claim, move || {
            let files = taken.into_iter().zip(opened);
            let draft = |(errand, opened): (Errand, _)| {
                Draft::new(errand.key, opened, errand.earlier.as_deref(), limits.passage_bytes)
            };
            files.map(draft).collect::<Vec<_>>()
        });
        let Some(drafts) = self.lane(drafts).await? else {
            self.ledger.give_back(errands);
            return Ok(());
        };
        let now = Instant::now();
        let mut batch = Batch::default();
        for mut draft in drafts {
            if self.ledger.settle_known(&draft, now) {
                self.news.found = true;
                continue;
            }
            // No vectors are made for what there will be no room for.
            if draft.left.is_none() && !self.ledger.has_room(draft.bytes(self.dimensions.unwrap_or(0))) {
                draft.left = Some(Reason::NoRoom);
            }
            batch.add(draft);
        }
        self.settle(&mut batch);
        self.batch = Some(batch).filter(|batch| !batch.is_empty());
        Ok(())
    }

    /// Has vectors made for some passages.
    pub(super) async fn embed(&mut self, mut batch: Batch) -> Result<(), Closing> {
        let (places, texts) = batch.next(self.parts.limits.batch);
        let asked = texts.len();
        let outcome = self.noting(self.parts.embedder.embed(texts)).await?;
        match outcome.and_then(|vectors| self.check(vectors, asked)) {
            Ok(vectors) => {
                batch.fill(places, vectors);
                self.trouble = None;
            }
            Err(failure) => self.refused(&mut batch, &places, failure).await?,
        }
        self.settle(&mut batch);
        self.batch = Some(batch).filter(|batch| !batch.is_empty());
        Ok(())
    }

    /// Vectors are what they should be, or the model is at fault.
    fn check(&mut self, vectors: Vec<Vec<f32>>, asked: usize) -> Result<Vec<Vec<f32>>, ModelFailure> {
        let fault = |message| Err(ModelFailure { kind: FailureKind::Failed, message });
        if vectors.len() != asked {
            return fault(format!("the embedding model gave {} vectors for {asked} texts", vectors.len()));
        }
        let dimensions = self.dimensions.or(vectors.first().map(Vec::len)).unwrap_or_default();
        let odd = vectors.iter().find(|vector| vector.len() != dimensions || dimensions == 0);
        if let Some(odd) = odd {
            let length = odd.len();
            return fault(format!("the embedding model gave a vector of {length} numbers, not {dimensions}"));
        }
        if vectors.iter().flatten().any(|number| !number.is_finite()) {
            return fault("the embedding model gave a vector with what is no number".to_owned());
        }
        self.dimensions = Some(dimensions);
        Ok(vectors)
    }

    /// The model gave no vectors: it is busy, or fails, or some text is not for it.
    async fn refused(
        &mut self,
        batch: &mut Batch,
        places: &[(usize, usize)],
        failure: ModelFailure,
    ) -> Result<(), Closing> {
        let now = Instant::now();
        match failure.kind {
            FailureKind::Overloaded { retry_after } => {
                let until = now + retry_after.clamp(Duration::from_millis(10), LONGEST);
                let times = self.trouble.as_ref().map_or(0, |trouble| trouble.times);
                self.trouble = Some(Trouble { of: Of::Model, times, message: None, until });
            }
            FailureKind::Invalid if places.len() > 1 => batch.one_at_a_time(),
            FailureKind::Invalid => batch.refuse(places),
            FailureKind::Failed | FailureKind::ShuttingDown => {
                self.failed(Of::Model, failure.message);
                let doubtful = self.trouble.as_ref().is_some_and(|trouble| trouble.times >= DOUBTFUL);
                if doubtful && places.len() > 1 {
                    batch.one_at_a_time();
                } else if doubtful && failure.kind == FailureKind::Failed {
                    let anything =
                        self.noting(self.parts.embedder.embed(vec!["anything".to_owned()])).await?;
                    if anything.is_ok() {
                        // It can; so it is this text that it fails on.
                        batch.refuse(places);
                        self.trouble = None;
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes what is complete into the index.
    fn settle(&mut self, batch: &mut Batch) {
        let now = Instant::now();
        for draft in batch.take_complete() {
            self.ledger.settle(draft, self.dimensions.unwrap_or(0), now);
            self.news.found = true;
        }
        batch.retain(|draft| !self.ledger.settle_known(draft, now));
        self.news.some = true;
    }
}
