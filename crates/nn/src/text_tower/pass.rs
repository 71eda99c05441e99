//! Texts on their way through a tower.

use crate::encoder::Run;

/// Texts on their way through a tower; all state is here. [`TextTower::begin`] makes one, [`TextTower::advance`] brings it
/// on.
///
/// [`TextTower::begin`]: crate::TextTower::begin
/// [`TextTower::advance`]: crate::TextTower::advance
#[derive(Debug)]
pub struct TextPass {
    pub(super) run: Run,
    /// The row of each text that stands for it.
    pub(super) pooled: Vec<usize>,
    pub(super) embeddings: Vec<Vec<f32>>,
}

impl TextPass {
    /// How many texts there are.
    #[must_use]
    pub fn texts(&self) -> usize {
        self.pooled.len()
    }

    /// The rows of a text of the hidden state that [`TowerOutputs::hidden`](crate::TowerOutputs) names at this place, one for
    /// each token. Nothing before all layers are computed.
    #[must_use]
    pub fn hidden(&self, text: usize, place: usize) -> &[f32] {
        if self.run.is_done() { self.run.hidden(text, place) } else { &[] }
    }

    /// The vector of a text, not normalised. Nothing before the pass is done, or if it is not wanted.
    #[must_use]
    pub fn embedding(&self, text: usize) -> &[f32] {
        &self.embeddings[text]
    }

    /// Takes a text out, done or not; those behind it move up. The others' results are the same as with it.
    pub fn remove(&mut self, text: usize) {
        self.run.remove(text);
        self.pooled.remove(text);
        self.embeddings.remove(text);
    }
}
