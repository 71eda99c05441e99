//! A step's jobs, ordered so that equal lengths are neighbours.

use pool_core::{JobView, Model};

use crate::tokenize::TokenIds;

/// The jobs of a step that are still wanted, shortest first, each with its tokens.
pub(super) fn by_length<M: Model<Prepared = TokenIds>>(jobs: &[JobView<M>]) -> Vec<(&JobView<M>, &TokenIds)> {
    let wanted = jobs.iter().filter(|job| job.is_wanted());
    let mut batch: Vec<_> = wanted.filter_map(|job| Some((job, job.prepared()?))).collect();
    // Stable: equals stay in queue order.
    batch.sort_by_key(|(_, tokens)| tokens.ids.len());
    batch
}

/// Tokens of a batch.
pub(super) fn tokens<M: Model>(batch: &[(&JobView<M>, &TokenIds)]) -> usize {
    batch.iter().map(|(_, tokens)| tokens.ids.len()).sum()
}

/// A guess at the tokens of so many bytes: English text has about four bytes a token, and two special tokens.
pub(super) fn estimate(bytes: usize, max_tokens: Option<usize>) -> u64 {
    (bytes / 4 + 2).min(max_tokens.unwrap_or(usize::MAX)) as u64
}
