//! The vector of the whole picture.

use super::config::{VisionArchitecture, VisionConfig};
use crate::encoder::{FeedForward, Heads, LayerNorm, Loading, PackedLinear, table};
use crate::error::NnError;
use crate::store::TensorStore;
use crate::vector::add;

#[derive(Debug)]
pub(super) enum Pooling {
    /// The first row, normed, and projected where there is a projection.
    Class { projection: Option<PackedLinear> },
    /// A learned query looks at all normed rows (SigLIP's attention-pooling head).
    Attention(Box<AttentionPooling>),
}

#[derive(Debug)]
pub(super) struct AttentionPooling {
    /// The same for all pictures, as its projection leaves it.
    query: Vec<f32>,
    key: PackedLinear,
    value: PackedLinear,
    output: PackedLinear,
    norm: LayerNorm,
    feed_forward: FeedForward,
    heads: Heads,
}

impl Pooling {
    pub(super) fn load(config: &VisionConfig, store: &dyn TensorStore, tower: &str) -> Result<Self, NnError> {
        match config.architecture {
            VisionArchitecture::Siglip if !config.pooling_head => Err(NnError::unsupported(
                "vision_use_head false",
                "the tower then has hidden states, but no vector of a picture",
            )),
            VisionArchitecture::Siglip => {
                Ok(Self::Attention(Box::new(AttentionPooling::load(config, store, tower)?)))
            }
            _ => {
                let load =
                    |size| PackedLinear::load(store, "visual_projection", (size, config.hidden_size), false);
                Ok(Self::Class { projection: config.projection.map(load).transpose()? })
            }
        }
    }

    /// From the rows of one picture behind the last layer.
    pub(super) fn apply(&self, rows: &[f32], norm: impl Fn(&[f32]) -> Vec<f32>, width: usize) -> Vec<f32> {
        match self {
            Self::Class { projection } => {
                let pooled = norm(&rows[..width]);
                projection.as_ref().map_or_else(|| pooled.clone(), |projection| projection.apply(&pooled))
            }
            Self::Attention(pooling) => pooling.apply(&norm(rows)),
        }
    }
}

impl AttentionPooling {
    fn load(config: &VisionConfig, store: &dyn TensorStore, tower: &str) -> Result<Self, NnError> {
        let width = config.hidden_size;
        let encoder = config.encoder();
        let loading = Loading { config: &encoder, store, prefix: format!("{tower}head.") };
        let name = |name: &str| format!("{tower}head.{name}");
        let probe = store.vector(&name("probe"), width)?;
        // Query, key and value, one below the other.
        let weight = table(store, &name("attention.in_proj_weight"), (3 * width, width))?;
        let bias = store.vector(&name("attention.in_proj_bias"), 3 * width)?;
        let part = |number: usize| {
            let (from, to) = (number * width, (number + 1) * width);
            PackedLinear::of(&weight[from * width..to * width], width, Some(bias[from..to].to_vec()))
        };
        Ok(Self {
            query: part(0).apply(&probe),
            key: part(1),
            value: part(2),
            output: PackedLinear::load(store, &name("attention.out_proj"), (width, width), true)?,
            norm: loading.norm("layernorm")?,
            feed_forward: loading.plain()?,
            heads: Heads { count: config.heads, size: width / config.heads, causal: false },
        })
    }

    fn apply(&self, rows: &[f32]) -> Vec<f32> {
        let (keys, values) = (self.key.apply(rows), self.value.apply(rows));
        let mut pooled = self.output.apply(&self.heads.look_once(&self.query, &keys, &values));
        let change = self.feed_forward.apply(&self.norm.apply(&pooled));
        add(&mut pooled, &change);
        pooled
    }
}
