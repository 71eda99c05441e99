//! Which models give up their memory for another: pure, with the clock handed in.
//!
//! Least recently used first, busy or not; but a model stays for a minimum residence, so that two models that do not fit
//! together take turns instead of doing nothing but load.

use std::time::Duration;

use tokio::time::Instant;

use crate::types::{Bytes, ModelId};

#[cfg(test)]
mod tests;

/// A resident model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Candidate {
    pub(crate) id: ModelId,
    /// What evicting it frees.
    pub(crate) bytes: Bytes,
    /// It has jobs.
    pub(crate) busy: bool,
    /// When it last had a job.
    pub(crate) last_used: Instant,
    /// Since when it is resident.
    pub(crate) resident_since: Instant,
    /// It must stay: its fewest workers are more than none.
    pub(crate) pinned: bool,
}

/// What can be done for a load that lacks memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Eviction {
    /// Evict these, the least recently used first.
    Now(Vec<ModelId>),
    /// Nothing now; in a while enough models will have been resident for long enough.
    Later,
    /// Nothing: even all that may be evicted is too little.
    Never,
}

/// Chooses models that together free `needed`: the least recently used ones, and of those none that is not needed.
pub(crate) fn choose(
    candidates: &[Candidate],
    needed: Bytes,
    now: Instant,
    min_residence: Duration,
) -> Eviction {
    let evictable: Vec<&Candidate> = candidates.iter().filter(|candidate| !candidate.pinned).collect();
    if total(&evictable) < needed {
        return Eviction::Never;
    }
    let stayed =
        |candidate: &&Candidate| now.saturating_duration_since(candidate.resident_since) >= min_residence;
    let mut chosen: Vec<&Candidate> = evictable.iter().copied().filter(stayed).collect();
    if total(&chosen) < needed {
        return Eviction::Later;
    }
    chosen.sort_by(|a, b| (a.last_used, &a.id).cmp(&(b.last_used, &b.id)));
    let mut freed = Bytes::ZERO;
    chosen.retain(|candidate| {
        let wanted = freed < needed;
        if wanted {
            freed += candidate.bytes;
        }
        wanted
    });
    Eviction::Now(without_needless(chosen, freed, needed))
}

/// Keeps what would be evicted for nothing, the most recently used first.
fn without_needless(mut chosen: Vec<&Candidate>, mut freed: Bytes, needed: Bytes) -> Vec<ModelId> {
    for at in (0..chosen.len()).rev() {
        let without = freed - chosen[at].bytes;
        if without >= needed {
            chosen.remove(at);
            freed = without;
        }
    }
    chosen.into_iter().map(|candidate| candidate.id.clone()).collect()
}

fn total(candidates: &[&Candidate]) -> Bytes {
    candidates.iter().map(|candidate| candidate.bytes).sum()
}
