use std::collections::BTreeMap;

use model_source::Source;
use pool_core::ModelId;

/// What an embedding model is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The name of its group.
    pub model: ModelId,
    /// Where it comes from.
    pub source: Source,
    /// What identifies its content: a commit, a version, a fingerprint of the files.
    pub revision: String,
    /// Components of a vector, where a caller asks for no other number.
    pub dimensions: usize,
    /// The most components a caller may ask for: more than `dimensions` only if the model is configured to cut its own.
    pub full_dimensions: usize,
    /// The most tokens of an input that are read, special ones included; what is longer is truncated or refused. `None`:
    /// no limit.
    pub max_tokens: Option<usize>,
    /// How token vectors become one: several modes are put one after another.
    pub pooling: Vec<Pooling>,
    /// Whether vectors are scaled to length 1.
    pub normalized: bool,
    /// How vectors are meant to be compared.
    pub similarity: Similarity,
    /// Texts to put before an input, by name.
    pub prompts: BTreeMap<String, String>,
    /// The prompt used where a caller names none.
    pub default_prompt: Option<String>,
    /// Token ids range from 0 to one less.
    pub vocabulary: usize,
}

/// What a cross-encoder is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RerankerInfo {
    /// The name of its group.
    pub model: ModelId,
    /// Where it comes from.
    pub source: Source,
    /// What identifies its content: a commit, a version, a fingerprint of the files.
    pub revision: String,
    /// Scores of a pair: one for a ranker, several for a classifier.
    pub labels: usize,
    /// The most tokens of a pair that are read, special ones included.
    pub max_tokens: Option<usize>,
    /// Token ids range from 0 to one less.
    pub vocabulary: usize,
}

/// How the vectors of an input's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first token's, `[CLS]` in BERT.
    Cls,
    /// The largest value of each component.
    Max,
    /// The last token's.
    LastToken,
    /// Their sum divided by the square root of their number.
    MeanSqrtLen,
    /// Their mean weighted by position, the first token counting once.
    WeightedMean,
}

/// How two vectors are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Similarity {
    /// The cosine of the angle between them.
    #[default]
    Cosine,
    /// Their dot product.
    Dot,
    /// Their Euclidean distance, negated.
    Euclidean,
    /// Their Manhattan distance, negated.
    Manhattan,
}

impl Similarity {
    /// The name as sentence-transformers spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Euclidean => "euclidean",
            Self::Manhattan => "manhattan",
        }
    }

    /// Compares two vectors of equal length: the larger, the more alike.
    pub fn between(self, a: &[f32], b: &[f32]) -> f32 {
        let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
        let dot = || pairs().map(|(a, b)| a * b).sum::<f64>();
        let value = match self {
            Self::Cosine => {
                let square = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
                // As the reference: a vector of zeros is like nothing.
                dot() / (square(a).sqrt().max(1e-12) * square(b).sqrt().max(1e-12))
            }
            Self::Dot => dot(),
            Self::Euclidean => -pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt(),
            Self::Manhattan => -pairs().map(|(a, b)| (a - b).abs()).sum::<f64>(),
        };
        value as f32
    }
}
