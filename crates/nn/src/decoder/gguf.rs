//! GGUF metadata, in the keys of <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Where it is silent, the
//! architecture's defaults hold.

mod metadata;

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;

use self::metadata::Metadata;
use super::config::{
    Activation, Architecture, Bias, DecoderConfig, LayerConfig, MOST_LAYERS, OutputHead, RopeConfig,
    RopePairs, RopeScaling,
};
use crate::error::NnError;

impl DecoderConfig {
    /// Reads the metadata of a GGUF file.
    ///
    /// # Errors
    /// [`NnError::Unsupported`] for another architecture and for any key of the architecture that is not understood,
    /// [`NnError::InvalidConfig`] for values that are no configuration.
    pub fn from_gguf(metadata: &HashMap<String, Value>) -> Result<Self, NnError> {
        let Some(Value::String(name)) = metadata.get("general.architecture") else {
            let reason = "the metadata has no general.architecture, so the architecture is unknown";
            return Err(NnError::InvalidConfig(reason.to_owned()));
        };
        let architecture = match name.as_str() {
            "llama" => Architecture::Llama,
            "qwen2" => Architecture::Qwen2,
            "qwen3" => Architecture::Qwen3,
            "gemma2" => Architecture::Gemma2,
            "gemma3" => Architecture::Gemma3,
            "phi3" => Architecture::Phi3,
            other => {
                let supported = "llama, qwen2, qwen3, gemma2, gemma3 and phi3 are";
                return Err(NnError::unsupported(format!("the GGUF architecture {other:?}"), supported));
            }
        };
        let metadata = Metadata::new(metadata, name);
        let config = Reader { architecture, metadata: &metadata }.read()?;
        metadata.refuse_unread()?;
        config.check()?;
        Ok(config)
    }
}

struct Reader<'a> {
    architecture: Architecture,
    metadata: &'a Metadata<'a>,
}

/// Layers of the 27 B models of Gemma 2 and 3, whose attention is scaled by another size than that of a head. The metadata
/// does not say; llama.cpp tells them by their layers, too.
const GEMMA2_27B_LAYERS: usize = 46;
const GEMMA3_27B_LAYERS: usize = 62;

impl Reader<'_> {
    fn read(&self) -> Result<DecoderConfig, NnError> {
        let metadata = self.metadata;
        self.refuse()?;
        let hidden_size = metadata.required_size("embedding_length")?;
        let layers = metadata.required_size("block_count")?;
        if layers > MOST_LAYERS {
            let label = metadata.label("block_count");
            let reason = format!("the metadata's {label} is {layers}, it must be at most {MOST_LAYERS}");
            return Err(NnError::InvalidConfig(reason));
        }
        let heads = metadata.required_size("attention.head_count")?;
        let head_dim = self.head_dim(hidden_size, heads)?;
        let context = metadata.required_size("context_length")?;
        let gemma = self.architecture.is_gemma();
        let gemma2 = self.architecture == Architecture::Gemma2;
        Ok(DecoderConfig {
            architecture: self.architecture,
            vocab_size: self.vocab_size()?,
            hidden_size,
            intermediate_size: metadata.required_size("feed_forward_length")?,
            heads,
            kv_heads: metadata.size("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            context,
            layers: self.layers(layers)?,
            ropes: self.ropes(head_dim, context)?,
            norm_eps: self.norm_eps()?,
            // The 1 has been added when the file was written.
            norm_plus_one: false,
            sandwich_norms: gemma,
            query_key_norm: matches!(self.architecture, Architecture::Qwen3 | Architecture::Gemma3),
            attention_scale: self.attention_scale(hidden_size, layers, heads, head_dim)?,
            attention_soft_cap: self.soft_cap("attn_logit_softcapping", gemma2.then_some(50.0))?,
            logit_soft_cap: self.soft_cap("final_logit_softcapping", gemma2.then_some(30.0))?,
            activation: if gemma { Activation::GeluTanh } else { Activation::Silu },
            embedding_scale: if gemma { (hidden_size as f32).sqrt() } else { 1.0 },
            fused_projections: self.architecture == Architecture::Phi3,
            query_key_value_bias: self.query_key_value_bias(),
            attention_output_bias: self.other_bias(),
            feed_forward_bias: self.other_bias(),
            output: OutputHead::AsStored,
        })
    }

    /// What is known and not computed, or changes nothing.
    fn refuse(&self) -> Result<(), NnError> {
        let metadata = self.metadata;
        if metadata.flag("attention.causal")? == Some(false) {
            return Err(NnError::unsupported(
                metadata.label("attention.causal") + " false",
                "only causal attention is",
            ));
        }
        let layout = metadata.text("tensor_data_layout")?;
        if let Some(layout) = layout.filter(|layout| *layout != "Meta AI original pth") {
            let what = format!("{} {layout:?}", metadata.label("tensor_data_layout"));
            return Err(NnError::unsupported(what, "\"Meta AI original pth\" is"));
        }
        // Whether the model was trained further after stretching.
        metadata.skip("rope.scaling.finetuned");
        Ok(())
    }

    fn vocab_size(&self) -> Result<usize, NnError> {
        if let Some(size) = self.metadata.size("vocab_size")? {
            return Ok(size);
        }
        self.metadata.tokens().ok_or_else(|| {
            NnError::InvalidConfig(format!(
                "the metadata has neither {} nor tokenizer.ggml.tokens",
                self.metadata.label("vocab_size")
            ))
        })
    }

    fn head_dim(&self, hidden_size: usize, heads: usize) -> Result<usize, NnError> {
        let (key, value) =
            (self.metadata.size("attention.key_length")?, self.metadata.size("attention.value_length")?);
        if let (Some(key), Some(value)) = (key, value)
            && key != value
        {
            let what = format!("{} {value}", self.metadata.label("attention.value_length"));
            return Err(NnError::unsupported(what, format!("the length of keys, {key}, is")));
        }
        match key.or(value) {
            Some(length) => Ok(length),
            None if heads > 0 && hidden_size.is_multiple_of(heads) => Ok(hidden_size / heads),
            None => Err(NnError::InvalidConfig(format!(
                "the metadata has no {}, and an embedding of {hidden_size} cannot be cut into {heads} heads",
                self.metadata.label("attention.key_length")
            ))),
        }
    }

    fn norm_eps(&self) -> Result<f32, NnError> {
        let default = if self.architecture == Architecture::Phi3 { 1e-5 } else { 1e-6 };
        Ok(self.metadata.number("attention.layer_norm_rms_epsilon")?.unwrap_or(default))
    }

    fn attention_scale(
        &self,
        hidden: usize,
        layers: usize,
        heads: usize,
        head_dim: usize,
    ) -> Result<f32, NnError> {
        if let Some(scale) = self.metadata.number("attention.scale")?.filter(|scale| *scale != 0.0) {
            return Ok(scale);
        }
        let size = match (self.architecture, layers) {
            (Architecture::Gemma2, GEMMA2_27B_LAYERS) | (Architecture::Gemma3, GEMMA3_27B_LAYERS) => {
                hidden as f32 / heads as f32
            }
            _ => head_dim as f32,
        };
        Ok(size.powf(-0.5))
    }

    /// 0 says that there is none.
    fn soft_cap(&self, name: &str, default: Option<f32>) -> Result<Option<f32>, NnError> {
        match self.architecture.is_gemma() {
            true => Ok(self.metadata.number(name)?.or(default).filter(|cap| *cap != 0.0)),
            false => Ok(None),
        }
    }

    fn query_key_value_bias(&self) -> Bias {
        match self.architecture {
            Architecture::Qwen2 => Bias::Present,
            _ => self.other_bias(),
        }
    }

    fn other_bias(&self) -> Bias {
        match self.architecture {
            Architecture::Gemma2 | Architecture::Gemma3 => Bias::Absent,
            _ => Bias::AsStored,
        }
    }

    fn layers(&self, layers: usize) -> Result<Vec<LayerConfig>, NnError> {
        let gemma = self.architecture.is_gemma();
        let given = self.metadata.size("attention.sliding_window")?;
        // 0 says that there is none, silence that it is the architecture's.
        let window = given.or(gemma.then_some(4096)).filter(|window| *window != 0);
        let every = match self.architecture {
            Architecture::Gemma2 => Some(2),
            Architecture::Gemma3 => Some(6),
            _ => None,
        };
        let every = self.metadata.size("attention.sliding_window_pattern")?.or(every);
        if every == Some(0) {
            let label = self.metadata.label("attention.sliding_window_pattern");
            return Err(NnError::InvalidConfig(format!("{label} is 0, it must be at least 1")));
        }
        let local_rope = usize::from(self.architecture == Architecture::Gemma3);
        let layer = |layer: usize| {
            let sees_all = every.is_some_and(|every| (layer + 1).is_multiple_of(every));
            match window.filter(|_| !sees_all) {
                None => LayerConfig { window: None, rope: 0 },
                window => LayerConfig { window, rope: local_rope },
            }
        };
        Ok((0..layers).map(layer).collect())
    }

    fn ropes(&self, head_dim: usize, context: usize) -> Result<Vec<RopeConfig>, NnError> {
        let gemma3 = self.architecture == Architecture::Gemma3;
        let default = if gemma3 { 1_000_000.0 } else { 10_000.0 };
        let rope = RopeConfig {
            base: self.metadata.number("rope.freq_base")?.unwrap_or(default),
            dims: self.metadata.size("rope.dimension_count")?.unwrap_or(head_dim),
            pairs: match self.architecture {
                Architecture::Llama => RopePairs::Neighbours,
                _ => RopePairs::Halves,
            },
            scaling: self.scaling(context)?,
        };
        if !gemma3 {
            return Ok(vec![rope]);
        }
        let base = self.metadata.number("rope.freq_base_swa")?.unwrap_or(10_000.0);
        let local = RopeConfig { base, scaling: RopeScaling::None, ..rope.clone() };
        Ok(vec![rope, local])
    }

    fn scaling(&self, context: usize) -> Result<RopeScaling, NnError> {
        let metadata = self.metadata;
        let original_context = metadata.size("rope.scaling.original_context_length")?.unwrap_or(context);
        let attention_factor = metadata.number("rope.scaling.attn_factor")?.unwrap_or(1.0);
        // The key of files from before there were kinds.
        let older = metadata.number("rope.scale_linear")?;
        let factor = metadata.number("rope.scaling.factor")?.or(older).filter(|factor| *factor != 0.0);
        let kind = metadata.text("rope.scaling.type")?;
        match (kind, factor) {
            (Some("linear"), factor) | (None, factor @ Some(_)) => {
                Ok(RopeScaling::Linear { factor: factor.unwrap_or(1.0) })
            }
            (Some("none" | "longrope") | None, _) => {
                Ok(RopeScaling::Stored { original_context, attention_factor })
            }
            (Some("yarn"), factor) => {
                let factor = factor.unwrap_or(context as f32 / original_context.max(1) as f32);
                let magnitude = if factor <= 1.0 { 1.0 } else { 0.1 * factor.ln() + 1.0 };
                Ok(RopeScaling::Yarn {
                    factor,
                    original_context,
                    beta_fast: metadata.number("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                    beta_slow: metadata.number("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                    truncate: true,
                    attention_factor: attention_factor * magnitude,
                })
            }
            (Some(other), _) => {
                let what = format!("{} {other:?}", metadata.label("rope.scaling.type"));
                Err(NnError::unsupported(what, "none, linear, yarn and longrope are"))
            }
        }
    }
}
