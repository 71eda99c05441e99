//! A model that embeds texts, as live context sees it.

use std::sync::Arc;

use chat_realtime::Embedder;
use chat_realtime::model::{FailureKind, ModelFailure};
use futures::future::BoxFuture;
use pool_core::{Deadline, Priority};
use text_embedding::Ranker;

use super::responder::{not_served, of_pool};
use crate::config::Modality;
use crate::registry::{Entry, Served};

/// A model of the registry, which is looked for and loaded when it is first asked.
#[derive(Clone, Debug)]
pub(super) struct PoolEmbedder {
    entry: Arc<Entry>,
    /// A name stands for one model as long as the process runs, and vectors are not kept for longer.
    revision: Arc<str>,
}

impl PoolEmbedder {
    /// The model; `None` if it embeds no texts.
    pub(super) fn new(entry: &Arc<Entry>) -> Option<Self> {
        let settings = entry.settings();
        let revision = format!("{} {}", settings.name, settings.source).into();
        let embeds = settings.modality == Modality::TextEmbedding;
        embeds.then(|| Self { entry: Arc::clone(entry), revision })
    }

    async fn vectors(self, texts: Vec<String>) -> Result<Vec<Vec<f32>>, ModelFailure> {
        let pool = match self.entry.served(Deadline::NONE).await.map_err(not_served)? {
            Served::Ranker(Ranker::Embedding(pool)) => pool,
            other => {
                let message = format!("model {} {}", self.entry.name(), other.purpose());
                return Err(ModelFailure { kind: FailureKind::Invalid, message });
            }
        };
        // One text is somebody's question; many are files that are read, which gives way.
        let priority = if texts.len() == 1 { Priority::Normal } else { Priority::Low };
        let vectors = pool.embed_all(texts).priority(priority).wait(true).await;
        let vectors = vectors.map_err(|error| of_pool(error.pool(), error.to_string()))?;
        Ok(vectors.into_iter().map(|vector| unit(vector.values)).collect())
    }
}

impl Embedder for PoolEmbedder {
    fn embed(&self, texts: Vec<String>) -> BoxFuture<'static, Result<Vec<Vec<f32>>, ModelFailure>> {
        Box::pin(self.clone().vectors(texts))
    }

    fn revision(&self) -> &str {
        &self.revision
    }
}

/// The vector with length 1; of none at all, nothing can be made.
fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    vector
}

#[cfg(test)]
mod tests {
    use super::unit;

    #[test]
    fn vectors_have_length_one() {
        assert_eq!(unit(vec![3.0, 4.0]), [0.6, 0.8]);
        assert_eq!(unit(vec![0.0, 0.0]), [0.0, 0.0]);
    }
}
