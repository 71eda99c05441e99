//! What a file says, cut into passages, and the vectors of those.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use pool_core::Fingerprint;

use super::files::{Opened, Stamp};
use super::passages::{Span, passages};
use super::walk::Key;

/// Why a file is left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    TooLarge,
    Binary,
    Unreadable,
    NoRoom,
    Refused,
}

/// A text with the vectors of its passages, the same for all files that say the same.
#[derive(Debug)]
pub(super) struct Content {
    text: Box<str>,
    spans: Box<[Span]>,
    vectors: Box<[f32]>,
}

impl Content {
    /// How many passages.
    pub(super) fn passages(&self) -> usize {
        self.spans.len()
    }

    /// What it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        Self::bytes_of(self.text.len(), self.spans.len(), self.vectors.len())
    }

    const fn bytes_of(text: usize, spans: usize, numbers: usize) -> usize {
        size_of::<Self>() + text + spans * size_of::<Span>() + numbers * size_of::<f32>()
    }

    /// Each passage's place and vector.
    pub(super) fn rows(&self) -> impl Iterator<Item = (Span, &[f32])> {
        let dimensions = self.vectors.len() / self.spans.len().max(1);
        self.spans.iter().copied().zip(self.vectors.chunks_exact(dimensions.max(1)))
    }

    pub(super) fn text(&self, span: Span) -> &str {
        &self.text[span.range()]
    }
}

/// A file that has been read, whose passages are waiting for vectors.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) key: Arc<Key>,
    pub(super) stamp: Option<Stamp>,
    pub(super) read_at: SystemTime,
    pub(super) fingerprint: Fingerprint,
    text: Box<str>,
    spans: Vec<Span>,
    vectors: Vec<Option<Vec<f32>>>,
    /// It is not to be kept.
    pub(super) left: Option<Reason>,
}

impl Draft {
    /// Of what was read. Passages that an earlier state of the file had keep their vectors.
    pub(super) fn new(
        key: Arc<Key>,
        read: io::Result<Opened>,
        earlier: Option<&Content>,
        most: usize,
    ) -> Self {
        let stamp = read.as_ref().ok().map(|opened| opened.stamp);
        let read_at = read.as_ref().map_or_else(|_| SystemTime::now(), |opened| opened.at);
        let (text, left) = match text(read) {
            Ok(text) => (text, None),
            Err(reason) => (Box::default(), Some(reason)),
        };
        let mut spans = passages(&text, most);
        spans.retain(|span| !text[span.range()].trim().is_empty());
        let known: HashMap<&str, &[f32]> = earlier
            .map(|earlier| earlier.rows().map(|(span, vector)| (earlier.text(span), vector)).collect())
            .unwrap_or_default();
        let vectors =
            spans.iter().map(|span| known.get(&text[span.range()]).map(|vector| vector.to_vec())).collect();
        Self { key, stamp, read_at, fingerprint: Fingerprint::of(&text), text, spans, vectors, left }
    }

    /// The passages that have no vector yet, by number.
    pub(super) fn missing(&self) -> impl Iterator<Item = (usize, &str)> {
        let missing = self.vectors.iter().enumerate().filter(|(_, vector)| vector.is_none());
        let missing = missing.map(|(number, _)| (number, &self.text[self.spans[number].range()]));
        missing.take(if self.left.is_none() { usize::MAX } else { 0 })
    }

    pub(super) fn set(&mut self, number: usize, vector: Vec<f32>) {
        self.vectors[number] = Some(vector);
    }

    /// What its content will take in memory.
    pub(super) fn bytes(&self, dimensions: usize) -> usize {
        Content::bytes_of(self.text.len(), self.spans.len(), self.spans.len() * dimensions)
    }

    /// The content, with every vector there.
    pub(super) fn into_content(self) -> Content {
        let vectors: Vec<f32> = self.vectors.into_iter().flatten().flatten().collect();
        Content { text: self.text, spans: self.spans.into(), vectors: vectors.into() }
    }
}

fn text(read: io::Result<Opened>) -> Result<Box<str>, Reason> {
    let bytes = read.map_err(|_| Reason::Unreadable)?.bytes.ok_or(Reason::TooLarge)?;
    if bytes.contains(&0) {
        return Err(Reason::Binary);
    }
    String::from_utf8(bytes).map(String::into_boxed_str).map_err(|_| Reason::Binary)
}
