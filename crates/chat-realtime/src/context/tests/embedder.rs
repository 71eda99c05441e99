use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A model whose vectors have a direction for each word.
#[derive(Default, Debug)]
pub(super) struct Words {
    /// Texts that were given vectors.
    pub(super) texts: AtomicU64,
    /// The longest batch.
    pub(super) longest: AtomicU64,
    /// What it answers first.
    pub(super) failures: Mutex<VecDeque<FailureKind>>,
    /// Texts with this word are refused so.
    pub(super) refuses: Mutex<Option<(&'static str, FailureKind)>>,
}

impl Words {
    pub(super) fn texts(&self) -> u64 {
        self.texts.load(Ordering::SeqCst)
    }

    fn answer(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, ModelFailure> {
        let refuse = |kind| Err(ModelFailure { kind, message: "as the script says".to_owned() });
        if let Some(kind) = self.failures.lock().unwrap().pop_front() {
            return refuse(kind);
        }
        if let Some((word, kind)) = *self.refuses.lock().unwrap()
            && texts.iter().any(|text| text.contains(word))
        {
            return refuse(kind);
        }
        self.texts.fetch_add(texts.len() as u64, Ordering::SeqCst);
        self.longest.fetch_max(texts.len() as u64, Ordering::SeqCst);
        Ok(texts.iter().map(|text| vector(text)).collect())
    }
}

impl Embedder for Words {
    fn embed(&self, texts: Vec<String>) -> BoxFuture<'static, Result<Vec<Vec<f32>>, ModelFailure>> {
        let answer = self.answer(&texts);
        async move {
            tokio::task::yield_now().await;
            answer
        }
        .boxed()
    }

    fn revision(&self) -> &str {
        "words"
    }
}

fn vector(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0_f32; 64];
    vector[0] = 0.01;
    for word in text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let mut hasher = DefaultHasher::new();
        word.hash(&mut hasher);
        vector[hasher.finish() as usize % 64] += 1.0;
    }
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    vector.iter().map(|number| number / length).collect()
}
