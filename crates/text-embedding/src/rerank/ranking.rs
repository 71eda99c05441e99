use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::call::{CallOptions, call_options};

/// A document's place in a [`Ranking`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Ranked {
    /// Its position in the list that was given, from 0.
    pub index: usize,
    /// How relevant it is: the larger, the more.
    pub score: f32,
}

/// Documents by relevance, the most relevant first; equals in the order given.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Ranking {
    /// The documents.
    pub results: Vec<Ranked>,
    /// Tokens that were computed in all.
    pub tokens: usize,
}

impl Ranking {
    pub(crate) fn new(scores: impl IntoIterator<Item = f32>, tokens: usize) -> Self {
        let ranked = scores.into_iter().enumerate().map(|(index, score)| Ranked { index, score });
        let mut results: Vec<Ranked> = ranked.collect();
        // Stable, so that equals keep their order.
        results.sort_by(|a, b| b.score.total_cmp(&a.score));
        Self { results, tokens }
    }

    pub(crate) fn cut(mut self, top: Option<usize>) -> Self {
        self.results.truncate(top.unwrap_or(usize::MAX));
        self
    }
}

impl Deref for Ranking {
    type Target = [Ranked];

    fn deref(&self) -> &[Ranked] {
        &self.results
    }
}

impl IntoIterator for Ranking {
    type Item = Ranked;
    type IntoIter = std::vec::IntoIter<Ranked>;

    fn into_iter(self) -> Self::IntoIter {
        self.results.into_iter()
    }
}

/// The ranking of documents by a query, to be awaited.
///
/// The list is admitted whole or not at all; with [`wait`](Self::wait) each document waits for its room.
///
/// # Errors
///
/// Awaiting gives [`Error::Item`](crate::Error::Item) with the position of the first document that failed,
/// [`Error::Pool`](crate::Error::Pool) where the query failed or the list was refused as a whole.
///
/// # Cancel safety
///
/// Dropping it, awaited or not, cancels its jobs.
#[derive(Clone)]
#[must_use = "nothing is ranked unless it is awaited"]
pub struct Rerank<P> {
    pub(crate) pool: P,
    pub(crate) query: Arc<str>,
    pub(crate) documents: Vec<Arc<str>>,
    pub(crate) options: CallOptions,
    pub(crate) top: Option<usize>,
}

impl<P> Rerank<P> {
    pub(crate) fn new(pool: P, query: Arc<str>, documents: Vec<Arc<str>>) -> Self {
        Self { pool, query, documents, options: CallOptions::default(), top: None }
    }

    /// Keeps the most relevant so many. Default: all.
    pub fn top(mut self, documents: usize) -> Self {
        self.top = Some(documents);
        self
    }

    call_options!();
}

impl<P> fmt::Debug for Rerank<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rerank").field("documents", &self.documents.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_and_equals_keep_their_order() {
        let ranking = Ranking::new([0.5, f32::NAN, 0.9, 0.5, -1.0], 7);
        let order: Vec<usize> =
            ranking.iter().map(|ranked| ranked.index).filter(|index| *index != 1).collect();
        assert_eq!(order, [2, 0, 3, 4]);
        assert_eq!(ranking.clone().cut(Some(2)).len(), 2);
        assert_eq!(ranking.cut(None).len(), 5);
    }
}
