//! One layer, and where its weights are.

use super::attention::Attention;
use super::config::{EncoderConfig, Names};
use super::feed_forward::FeedForward;
use super::linear::{PackedLinear, table};
use super::norm::LayerNorm;
use crate::error::NnError;
use crate::store::TensorStore;
use crate::vector::add;

#[derive(Debug)]
pub(crate) struct Layer {
    before_attention: LayerNorm,
    attention: Attention,
    before_feed_forward: LayerNorm,
    feed_forward: FeedForward,
}

/// What a layer is loaded with.
pub(crate) struct Loading<'a> {
    pub(crate) config: &'a EncoderConfig,
    pub(crate) store: &'a dyn TensorStore,
    /// With the point at its end.
    pub(crate) prefix: String,
}

impl Layer {
    pub(crate) fn load(loading: &Loading<'_>) -> Result<Self, NnError> {
        let (first, second) = match loading.config.names {
            Names::Clip => ("layer_norm1", "layer_norm2"),
            Names::Dinov2 { .. } => ("norm1", "norm2"),
        };
        Ok(Self {
            before_attention: loading.norm(first)?,
            attention: Attention::load(loading.config, loading)?,
            before_feed_forward: loading.norm(second)?,
            feed_forward: loading.feed_forward()?,
        })
    }

    /// Adds what each row sees of its sequence.
    pub(crate) fn attend(&self, rows: &mut [f32], lengths: &[usize]) {
        let change = self.attention.apply(&self.before_attention.apply(rows), lengths);
        add(rows, &change);
    }

    /// Adds what the feed-forward half makes of each row.
    pub(crate) fn feed_forward(&self, rows: &mut [f32]) {
        let change = self.feed_forward.apply(&self.before_feed_forward.apply(rows));
        add(rows, &change);
    }
}

impl Loading<'_> {
    pub(crate) fn norm(&self, name: &str) -> Result<LayerNorm, NnError> {
        LayerNorm::load(self.store, &self.name(name), self.config.width, self.config.norm_eps)
    }

    pub(crate) fn query_key_value(&self) -> Result<[PackedLinear; 3], NnError> {
        let shape = (self.config.width, self.config.width);
        let names = match self.config.names {
            Names::Clip => ["q_proj", "k_proj", "v_proj"].map(|name| format!("self_attn.{name}")),
            // As checkpoints have them, and as transformers 5 calls them in memory.
            Names::Dinov2 { .. } => {
                [("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj")].map(|(stored, newer)| {
                    self.either(&format!("attention.attention.{stored}"), &format!("attention.{newer}"))
                })
            }
        };
        let [query, key, value] = names.map(|name| {
            PackedLinear::load(self.store, &self.name(&name), shape, self.config.query_key_value_bias)
        });
        Ok([query?, key?, value?])
    }

    pub(crate) fn attention_output(&self) -> Result<PackedLinear, NnError> {
        let shape = (self.config.width, self.config.width);
        match self.config.names {
            Names::Clip => PackedLinear::load(self.store, &self.name("self_attn.out_proj"), shape, true),
            Names::Dinov2 { .. } => {
                let name = self.either("attention.output.dense", "attention.o_proj");
                self.scaled(&name, shape, "layer_scale1.lambda1")
            }
        }
    }

    fn feed_forward(&self) -> Result<FeedForward, NnError> {
        let (width, intermediate) = (self.config.width, self.config.intermediate);
        let (inwards, outwards) = ((intermediate, width), (width, intermediate));
        let activation = self.config.activation;
        let linear = |name: &str| PackedLinear::load(self.store, &self.name(name), inwards, true);
        let scale = "layer_scale2.lambda1";
        match self.config.names {
            Names::Clip => self.plain(),
            Names::Dinov2 { gated: false } => Ok(FeedForward::Plain {
                up: linear("mlp.fc1")?,
                down: self.scaled("mlp.fc2", outwards, scale)?,
                activation,
            }),
            Names::Dinov2 { gated: true } if self.has("mlp.gate_proj") => Ok(FeedForward::Gated {
                gate: linear("mlp.gate_proj")?,
                up: linear("mlp.up_proj")?,
                down: self.scaled("mlp.down_proj", outwards, scale)?,
            }),
            Names::Dinov2 { gated: true } => {
                // Gate first, then up.
                let weight =
                    table(self.store, &self.name("mlp.weights_in.weight"), (2 * intermediate, width))?;
                let mut gate_bias = self.store.vector(&self.name("mlp.weights_in.bias"), 2 * intermediate)?;
                let up_bias = gate_bias.split_off(intermediate);
                let (gate, up) = weight.split_at(intermediate * width);
                Ok(FeedForward::Gated {
                    gate: PackedLinear::of(gate, width, Some(gate_bias)),
                    up: PackedLinear::of(up, width, Some(up_bias)),
                    down: self.scaled("mlp.weights_out", outwards, scale)?,
                })
            }
        }
    }

    /// `mlp.fc1` and `mlp.fc2`.
    pub(crate) fn plain(&self) -> Result<FeedForward, NnError> {
        let (width, intermediate) = (self.config.width, self.config.intermediate);
        let linear = |name: &str, shape| PackedLinear::load(self.store, &self.name(name), shape, true);
        Ok(FeedForward::Plain {
            up: linear("mlp.fc1", (intermediate, width))?,
            down: linear("mlp.fc2", (width, intermediate))?,
            activation: self.config.activation,
        })
    }

    /// A map whose outputs are scaled before they are added: the scales are multiplied into it.
    fn scaled(&self, name: &str, shape: (usize, usize), scales: &str) -> Result<PackedLinear, NnError> {
        let scales = self.store.vector(&self.name(scales), shape.0)?;
        PackedLinear::load_scaled(self.store, &self.name(name), shape, &scales)
    }

    /// The second name, if the store has that and not the first.
    fn either(&self, first: &str, second: &str) -> String {
        if !self.has(first) && self.has(second) { second.to_owned() } else { first.to_owned() }
    }

    fn has(&self, name: &str) -> bool {
        self.store.contains(&format!("{}.weight", self.name(name)))
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}
