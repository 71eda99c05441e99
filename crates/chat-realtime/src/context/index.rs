//! The contents that can be found, and the search in them: exact, over every vector.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use pool_core::Fingerprint;
use tokio::time::Instant;

use super::citations::Passage;
use super::content::Content;
use super::walk::{Key, Root};

#[cfg(test)]
mod tests;

/// What no file says any more is kept for so long: a file that is renamed goes and comes again.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(10);

/// Contents by what they say, each once however many files say it.
#[derive(Default, Debug)]
pub(super) struct Index {
    held: HashMap<Fingerprint, Held>,
    retired: HashMap<Fingerprint, (Arc<Content>, Instant)>,
    /// Of both.
    bytes: usize,
    passages: usize,
}

#[derive(Debug)]
struct Held {
    content: Arc<Content>,
    files: BTreeSet<Arc<Key>>,
}

impl Index {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Passages that can be found.
    pub(super) fn passages(&self) -> usize {
        self.passages
    }

    pub(super) fn get(&self, fingerprint: Fingerprint) -> Option<&Arc<Content>> {
        self.held.get(&fingerprint).map(|held| &held.content)
    }

    /// Another file says what is known already; false where it is not.
    pub(super) fn join(&mut self, fingerprint: Fingerprint, key: &Arc<Key>) -> bool {
        if let Some(held) = self.held.get_mut(&fingerprint) {
            held.files.insert(Arc::clone(key));
            return true;
        }
        let Some((content, _)) = self.retired.remove(&fingerprint) else { return false };
        self.bytes -= content.bytes();
        self.insert(fingerprint, key, content);
        true
    }

    /// A file says something new.
    pub(super) fn insert(&mut self, fingerprint: Fingerprint, key: &Arc<Key>, content: Arc<Content>) {
        if self.join(fingerprint, key) {
            return;
        }
        self.bytes += content.bytes();
        self.passages += content.passages();
        self.held.insert(fingerprint, Held { content, files: BTreeSet::from([Arc::clone(key)]) });
    }

    /// A file says this no more.
    pub(super) fn release(&mut self, fingerprint: Fingerprint, key: &Key, now: Instant) {
        let Some(held) = self.held.get_mut(&fingerprint) else { return };
        held.files.remove(key);
        if held.files.is_empty()
            && let Some(held) = self.held.remove(&fingerprint)
        {
            self.passages -= held.content.passages();
            self.retired.insert(fingerprint, (held.content, now));
        }
    }

    /// When the next content is forgotten that no file says.
    pub(super) fn next_forgotten(&self) -> Option<Instant> {
        self.retired.values().map(|(_, since)| *since + KEPT_FOR).min()
    }

    /// Forgets what no file has said for long; true where there was any.
    pub(super) fn forget(&mut self, now: Instant) -> bool {
        let before = self.retired.len();
        let mut freed = 0;
        self.retired.retain(|_, (content, since)| {
            let kept = now < *since + KEPT_FOR;
            freed += if kept { 0 } else { content.bytes() };
            kept
        });
        self.bytes -= freed;
        self.retired.len() < before
    }

    /// Forgets all that no file says, to have room.
    pub(super) fn forget_all(&mut self) {
        self.bytes -= self.retired.drain().map(|(_, (content, _))| content.bytes()).sum::<usize>();
    }

    /// Everything that can be found, as it is now.
    pub(super) fn snapshot(&self, roots: &Arc<[Root]>) -> Snapshot {
        let entries = self.held.values().filter(|held| held.content.passages() > 0);
        let entries =
            entries.filter_map(|held| Some((Arc::clone(held.files.first()?), Arc::clone(&held.content))));
        Snapshot { roots: Arc::clone(roots), entries: entries.collect() }
    }
}

/// Everything that could be found at some moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    roots: Arc<[Root]>,
    entries: Vec<(Arc<Key>, Arc<Content>)>,
}

/// The best passages so far, best first.
#[derive(Debug)]
pub(super) struct Best {
    most: usize,
    hits: Vec<Hit>,
}

#[derive(Clone, Debug)]
struct Hit {
    score: f32,
    key: Arc<Key>,
    content: Arc<Content>,
    span: super::passages::Span,
}

impl Hit {
    /// Better ones first; among equals, those of earlier files and lines, so that an answer is the same each time.
    fn order(&self, other: &Self) -> Ordering {
        let place = |hit: &Self| (Arc::clone(&hit.key), hit.span.bytes.0);
        other.score.total_cmp(&self.score).then_with(|| place(self).cmp(&place(other)))
    }
}

impl Best {
    pub(super) const fn new(most: usize) -> Self {
        Self { most, hits: Vec::new() }
    }

    fn offer(&mut self, hit: Hit) {
        if self.hits.len() == self.most && self.hits.last().is_none_or(|last| last.order(&hit).is_le()) {
            return;
        }
        let at = self.hits.partition_point(|other| other.order(&hit).is_le());
        self.hits.insert(at, hit);
        self.hits.truncate(self.most);
    }
}

impl Snapshot {
    pub(super) fn contents(&self) -> usize {
        self.entries.len()
    }

    /// The numbers in a vector, as far as there are vectors.
    pub(super) fn dimensions(&self) -> Option<usize> {
        self.entries.first().and_then(|(_, content)| content.rows().next()).map(|(_, vector)| vector.len())
    }

    /// Where a slice that begins at this content ends, so that it holds about so many bytes.
    pub(super) fn slice(&self, from: usize, bytes: usize) -> Range<usize> {
        let mut left = bytes;
        let mut end = from;
        while let Some((_, content)) = self.entries.get(end) {
            end += 1;
            left = left.saturating_sub(content.bytes());
            if left == 0 {
                break;
            }
        }
        from..end
    }

    /// Looks through some of the contents.
    pub(super) fn search(&self, among: Range<usize>, query: &[f32], best: &mut Best) {
        for (key, content) in &self.entries[among] {
            for (span, vector) in content.rows() {
                // Both zeros are the same score.
                let score = dot(query, vector) + 0.0;
                if best.hits.len() < best.most || best.hits.last().is_some_and(|last| score >= last.score) {
                    best.offer(Hit { score, key: Arc::clone(key), content: Arc::clone(content), span });
                }
            }
        }
    }

    /// What was found, for readers.
    pub(super) fn passages(&self, best: Best) -> Vec<Passage> {
        best.hits.into_iter().map(|hit| self.passage(&hit)).collect()
    }

    fn passage(&self, hit: &Hit) -> Passage {
        let mut path = self.roots[hit.key.root].name.clone();
        for part in hit.key.path.components() {
            path.push('/');
            path.push_str(&part.as_os_str().to_string_lossy());
        }
        Passage {
            path,
            lines: hit.span.lines,
            text: hit.content.text(hit.span).into(),
            score: hit.score.clamp(-1.0, 1.0),
        }
    }
}

/// The cosine of vectors of length 1, in eight sums that the machine adds up side by side.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0_f32; 8];
    for (a, b) in a.zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}
