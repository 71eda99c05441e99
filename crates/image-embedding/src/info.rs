use std::fmt;

use model_source::Source;
use pool_core::ModelId;

/// What an image embedding model is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The name of its group.
    pub model: ModelId,
    /// Where it comes from.
    pub source: Source,
    /// What identifies its content: a commit, a version, a fingerprint of the files.
    pub revision: String,
    /// What kind of model it is.
    pub architecture: Architecture,
    /// Components of a vector.
    pub dimensions: usize,
    /// Whether texts have vectors in the same space.
    pub texts: bool,
    /// The most tokens of a text that are read, special ones included; what is longer is cut. `None`: it reads no texts.
    pub max_tokens: Option<usize>,
}

/// The kinds of models that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// CLIP (<https://arxiv.org/abs/2103.00020>).
    Clip,
    /// SigLIP (<https://arxiv.org/abs/2303.15343>).
    Siglip,
    /// DINOv2 (<https://arxiv.org/abs/2304.07193>), with register tokens or without.
    Dinov2,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clip => "CLIP",
            Self::Siglip => "SigLIP",
            Self::Dinov2 => "DINOv2",
        })
    }
}
