use std::future::IntoFuture;

use futures::future::BoxFuture;
use imaging::EncodedImage;

use super::{CallOptions, Input, call_options};
use crate::embedding::ImageEmbedding;
use crate::error::Error;

/// What labels are put into: that of transformers' zero-shot pipeline.
const TEMPLATE: &str = "This is a photo of {}.";

/// How well a label fits a picture.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Classified {
    /// Its position in the list, from 0.
    pub index: usize,
    /// The label.
    pub label: String,
    /// How well it fits, from 0 to 1. CLIP's labels share 1 between them; each of SigLIP's stands for itself.
    pub score: f32,
}

/// The classification of a picture by labels in words, to be awaited: all labels, the best first.
///
/// A label is put into the [template](Self::template), and its vector compared with the picture's. CLIP's scores are a
/// softmax over the labels, SigLIP's a sigmoid of each.
///
/// Picture and labels are admitted whole or not at all; with [`wait`](Self::wait) each waits for its room.
///
/// # Errors
///
/// Awaiting gives [`Error::Pool`]: the model reads no texts, there are no labels, the template has no `{}`, the queue is full,
/// the deadline passed; [`Error::Item`] with 0 for the picture, the label's position and 1 for a label.
///
/// # Cancel safety
///
/// Dropping it, awaited or not, cancels its jobs.
#[derive(Clone, Debug)]
#[must_use = "nothing is classified unless it is awaited"]
pub struct Classify {
    pool: ImageEmbedding,
    image: EncodedImage,
    labels: Vec<String>,
    template: String,
    options: CallOptions,
}

impl Classify {
    pub(crate) fn new(pool: ImageEmbedding, image: EncodedImage, labels: Vec<String>) -> Self {
        Self { pool, image, labels, template: TEMPLATE.to_owned(), options: CallOptions::default() }
    }

    /// Sets what labels are put into, in the place of `{}`; `{}` itself takes them as they are. Default: that of the
    /// reference's zero-shot pipeline, `This is a photo of {}.`
    pub fn template(mut self, template: impl Into<String>) -> Self {
        self.template = template.into();
        self
    }

    call_options!();
}

impl IntoFuture for Classify {
    type Output = Result<Vec<Classified>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let scale = self.pool.scale()?;
            if self.labels.is_empty() {
                return Err(Error::invalid("there are no labels to classify by; give at least one"));
            }
            if !self.template.contains("{}") {
                let message =
                    format!("the template {:?} has no {{}} for the label to stand at", self.template);
                return Err(Error::invalid(message));
            }
            let texts = self.labels.iter().map(|label| Input::from(self.template.replace("{}", label)));
            let inputs = std::iter::once(Input::Image(self.image)).chain(texts).collect();
            let embeddings = self.pool.run_all(inputs, &self.options).await?;
            let (picture, texts) = embeddings.split_at(1);
            let scores = scale.scores(&picture[0], texts.iter().map(|text| &text.values));
            let labelled = self.labels.into_iter().zip(scores).enumerate();
            let mut classified: Vec<Classified> =
                labelled.map(|(index, (label, score))| Classified { index, label, score }).collect();
            classified.sort_by(|one, other| other.score.total_cmp(&one.score));
            Ok(classified)
        })
    }
}
