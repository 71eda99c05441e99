//! One layer: attention, then the gated feed-forward half, each added to what came in.

use super::attention::Attention;
use super::batch::Batch;
use super::config::{Bias, DecoderConfig};
use super::feed_forward::FeedForward;
use super::norm::RmsNorm;
use super::rope::Rotations;
use crate::cache::LayerBlocks;
use crate::error::NnError;
use crate::linear::Linear;
use crate::matrix::Precision;
use crate::store::TensorStore;
use crate::vector::add;

#[derive(Debug)]
pub(super) struct Layer {
    before_attention: RmsNorm,
    attention: Attention,
    behind_attention: Option<RmsNorm>,
    before_feed_forward: RmsNorm,
    feed_forward: FeedForward,
    behind_feed_forward: Option<RmsNorm>,
}

/// What a part of a layer is loaded with.
pub(super) struct Loading<'a> {
    pub(super) config: &'a DecoderConfig,
    pub(super) layer: usize,
    store: &'a dyn TensorStore,
    precision: Precision,
}

impl Loading<'_> {
    /// The linear map of that name in the layer.
    pub(super) fn linear(&self, name: &str, shape: (usize, usize), bias: Bias) -> Result<Linear, NnError> {
        let name = self.name(name);
        let bias = match bias {
            Bias::Absent => false,
            Bias::Present => true,
            Bias::AsStored => self.store.contains(&format!("{name}.bias")),
        };
        Linear::load(self.store, &name, shape, bias, self.precision)
    }

    /// The norm of that name in the layer.
    pub(super) fn norm(&self, name: &str, size: usize) -> Result<RmsNorm, NnError> {
        RmsNorm::load(self.config, self.store, &format!("{}.weight", self.name(name)), size)
    }

    fn name(&self, name: &str) -> String {
        format!("model.layers.{}.{name}", self.layer)
    }
}

impl Layer {
    pub(super) fn load(
        config: &DecoderConfig,
        layer: usize,
        store: &dyn TensorStore,
        precision: Precision,
    ) -> Result<Self, NnError> {
        let loading = Loading { config, layer, store, precision };
        let norm = |name| loading.norm(name, config.hidden_size);
        // The same name means the norm behind attention where there is one, and the next before the feed-forward half
        // where there is not.
        let (behind_attention, before_feed_forward, behind_feed_forward) = match config.sandwich_norms {
            true => (
                Some(norm("post_attention_layernorm")?),
                norm("pre_feedforward_layernorm")?,
                Some(norm("post_feedforward_layernorm")?),
            ),
            false => (None, norm("post_attention_layernorm")?, None),
        };
        Ok(Self {
            before_attention: norm("input_layernorm")?,
            attention: Attention::load(config, &loading)?,
            behind_attention,
            before_feed_forward,
            feed_forward: FeedForward::load(config, &loading)?,
            behind_feed_forward,
        })
    }

    /// Advances all rows, and keeps their keys and values.
    pub(super) fn advance(
        &self,
        hidden: &mut [f32],
        batch: &Batch<'_>,
        rotations: &Rotations,
        blocks: &mut LayerBlocks,
    ) -> Result<(), NnError> {
        let normed = self.before_attention.apply(hidden);
        let mut change = self.attention.apply(&normed, batch, rotations, blocks)?;
        if let Some(norm) = &self.behind_attention {
            norm.apply_in_place(&mut change);
        }
        add(hidden, &change);
        let normed = self.before_feed_forward.apply(hidden);
        let mut change = self.feed_forward.apply(&normed)?;
        if let Some(norm) = &self.behind_feed_forward {
            norm.apply_in_place(&mut change);
        }
        add(hidden, &change);
        Ok(())
    }
}
