//! Files that have been read and get their vectors together. Pure.

use std::collections::HashSet;

use super::content::{Draft, Reason};

/// Drafts on their way into the index.
#[derive(Default, Debug)]
pub(super) struct Batch {
    drafts: Vec<Draft>,
    singly: bool,
}

impl Batch {
    pub(super) fn add(&mut self, draft: Draft) {
        self.drafts.push(draft);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    /// From now on passages are sent alone, to find the one that is refused.
    pub(super) fn one_at_a_time(&mut self) {
        self.singly = true;
    }

    /// The next passages that have no vector: whose they are, and what they say.
    pub(super) fn next(&self, most: usize) -> (Vec<(usize, usize)>, Vec<String>) {
        let most = if self.singly { 1 } else { most };
        let mut said = HashSet::new();
        // Of files that say the same, the first is enough.
        let drafts = self.drafts.iter().enumerate().filter(|(_, draft)| said.insert(draft.fingerprint));
        let missing = drafts.flat_map(|(draft, it)| {
            it.missing().map(move |(number, text)| ((draft, number), text.to_owned()))
        });
        missing.take(most).unzip()
    }

    /// These vectors are those of the passages at these places.
    pub(super) fn fill(&mut self, places: Vec<(usize, usize)>, vectors: Vec<Vec<f32>>) {
        for ((draft, number), vector) in places.into_iter().zip(vectors) {
            self.drafts[draft].set(number, vector);
        }
    }

    /// The model will not have these: their files are left out.
    pub(super) fn refuse(&mut self, places: &[(usize, usize)]) {
        for (draft, _) in places {
            self.drafts[*draft].left = Some(Reason::Refused);
        }
    }

    /// Forgets some drafts.
    pub(super) fn retain(&mut self, kept: impl FnMut(&Draft) -> bool) {
        self.drafts.retain(kept);
    }

    /// The drafts that nothing is missing of.
    pub(super) fn take_complete(&mut self) -> Vec<Draft> {
        self.drafts.extract_if(.., |draft| draft.missing().next().is_none()).collect()
    }
}
