//! `config.json` of Hugging Face checkpoints, as transformers reads it: in the spelling of its version 4 (`rope_theta`,
//! `rope_scaling`) and 5 (`rope_parameters`). What is absent has the default of the architecture's class.

mod defaults;
mod rope;

use serde_json::Value;

use self::defaults::Defaults;
use self::rope::RopeReader;
use super::config::{
    Activation, Architecture, Bias, DecoderConfig, LayerConfig, MOST_LAYERS, OutputHead, RopeConfig,
};
use crate::error::NnError;
use crate::fields::Fields;

impl DecoderConfig {
    /// Reads the content of a `config.json`. Of a model with pictures, only the language model's part counts.
    ///
    /// # Errors
    /// [`NnError::Unsupported`] for another architecture and for any field that changes the mathematics in a way that is not
    /// computed here, [`NnError::InvalidConfig`] for fields that are no configuration.
    pub fn from_huggingface(config: &Value) -> Result<Self, NnError> {
        let (architecture, fields) = architecture(config)?;
        let config = Reader { architecture, fields: &fields, defaults: Defaults::of(architecture) }.read()?;
        fields.refuse_unread()?;
        config.check()?;
        Ok(config)
    }
}

/// The architecture, and the fields that describe its decoder.
fn architecture(config: &Value) -> Result<(Architecture, Fields<'_>), NnError> {
    let top = Fields::new(config)?;
    let name = top.model_type()?;
    let architecture = match name {
        "llama" => Architecture::Llama,
        "mistral" => Architecture::Mistral,
        "qwen2" => Architecture::Qwen2,
        "qwen3" => Architecture::Qwen3,
        "gemma2" => Architecture::Gemma2,
        "gemma3_text" => Architecture::Gemma3,
        "phi3" => Architecture::Phi3,
        "gemma3" => {
            top.refuse_quantization()?;
            return Ok((Architecture::Gemma3, Fields::of_text_part(config)?));
        }
        other => return Err(NnError::unsupported(format!("model_type {other:?}"), Architecture::SUPPORTED)),
    };
    Ok((architecture, top))
}

/// Reads one configuration.
struct Reader<'a> {
    architecture: Architecture,
    fields: &'a Fields<'a>,
    defaults: Defaults,
}

impl Reader<'_> {
    fn read(&self) -> Result<DecoderConfig, NnError> {
        let (fields, defaults) = (self.fields, &self.defaults);
        self.refuse()?;
        let hidden_size = fields.size("hidden_size", defaults.hidden_size)?;
        let heads = fields.size("num_attention_heads", defaults.heads)?;
        let kv_heads = fields.optional_size("num_key_value_heads", defaults.kv_heads)?.unwrap_or(heads);
        let head_dim = match fields.optional_size("head_dim", defaults.head_dim)? {
            Some(head_dim) => head_dim,
            None => divide(hidden_size, heads)?,
        };
        let layers = fields.size_upto("num_hidden_layers", defaults.layers, MOST_LAYERS)?;
        let context = fields.size("max_position_embeddings", defaults.context)?;
        let gemma = self.architecture.is_gemma();
        Ok(DecoderConfig {
            architecture: self.architecture,
            vocab_size: fields.size("vocab_size", defaults.vocab_size)?,
            hidden_size,
            intermediate_size: fields.size("intermediate_size", defaults.intermediate_size)?,
            heads,
            kv_heads,
            head_dim,
            context,
            layers: self.layers(layers)?,
            ropes: self.ropes(head_dim, context)?,
            norm_eps: fields.number("rms_norm_eps", defaults.norm_eps)?,
            norm_plus_one: gemma,
            sandwich_norms: gemma,
            query_key_norm: matches!(self.architecture, Architecture::Qwen3 | Architecture::Gemma3),
            attention_scale: self.attention_scale(head_dim)?,
            attention_soft_cap: self.soft_cap("attn_logit_softcapping", defaults.attention_soft_cap)?,
            logit_soft_cap: self.soft_cap("final_logit_softcapping", defaults.logit_soft_cap)?,
            activation: self.activation()?,
            embedding_scale: if gemma { (hidden_size as f32).sqrt() } else { 1.0 },
            fused_projections: self.architecture == Architecture::Phi3,
            query_key_value_bias: self.query_key_value_bias()?,
            attention_output_bias: self.attention_bias()?,
            feed_forward_bias: self.feed_forward_bias()?,
            output: match fields.flag("tie_word_embeddings", defaults.tied)? {
                true => OutputHead::Tied,
                false => OutputHead::Separate,
            },
        })
    }

    /// What is known and not computed.
    fn refuse(&self) -> Result<(), NnError> {
        self.fields.refuse_quantization()?;
        if self.architecture.is_gemma() && self.fields.flag("use_bidirectional_attention", false)? {
            return Err(NnError::unsupported("use_bidirectional_attention true", "only causal attention is"));
        }
        // Of effect with those kinds of stretching only that read it.
        self.fields.skip("original_max_position_embeddings");
        Ok(())
    }

    fn attention_scale(&self, head_dim: usize) -> Result<f32, NnError> {
        match self.architecture.is_gemma() {
            true => Ok(self.fields.number("query_pre_attn_scalar", 256.0)?.powf(-0.5)),
            false => Ok((head_dim as f32).powf(-0.5)),
        }
    }

    fn soft_cap(&self, name: &str, default: Option<f32>) -> Result<Option<f32>, NnError> {
        match self.architecture.is_gemma() {
            true => self.fields.optional_number(name, default),
            false => Ok(None),
        }
    }

    fn activation(&self) -> Result<Activation, NnError> {
        let (field, default) = match self.architecture.is_gemma() {
            true => ("hidden_activation", "gelu_pytorch_tanh"),
            false => ("hidden_act", "silu"),
        };
        if self.architecture.is_gemma() {
            // Written beside the field that counts, and not read by the reference.
            self.fields.skip("hidden_act");
        }
        match self.fields.text(field)?.unwrap_or(default) {
            "silu" | "swish" => Ok(Activation::Silu),
            "gelu_pytorch_tanh" | "gelu_new" => Ok(Activation::GeluTanh),
            other => Err(NnError::unsupported(
                format!("{field} {other:?}"),
                "silu, gelu_pytorch_tanh and gelu_new are",
            )),
        }
    }

    fn query_key_value_bias(&self) -> Result<Bias, NnError> {
        match self.architecture {
            Architecture::Qwen2 => Ok(Bias::Present),
            _ => self.attention_bias(),
        }
    }

    /// `attention_bias`, where the class reads it; elsewhere it stays unread, and is refused if it is set.
    fn attention_bias(&self) -> Result<Bias, NnError> {
        match self.architecture {
            Architecture::Mistral | Architecture::Qwen2 | Architecture::Phi3 => Ok(Bias::Absent),
            _ => self.bias("attention_bias"),
        }
    }

    fn feed_forward_bias(&self) -> Result<Bias, NnError> {
        match self.architecture {
            Architecture::Llama => self.bias("mlp_bias"),
            _ => Ok(Bias::Absent),
        }
    }

    fn bias(&self, name: &str) -> Result<Bias, NnError> {
        Ok(if self.fields.flag(name, false)? { Bias::Present } else { Bias::Absent })
    }

    fn layers(&self, layers: usize) -> Result<Vec<LayerConfig>, NnError> {
        let sliding = match self.architecture {
            Architecture::Llama => vec![false; layers],
            Architecture::Mistral | Architecture::Phi3 => vec![true; layers],
            _ => self.sliding_layers(layers)?,
        };
        let window = self.window()?;
        // Only Gemma 3 has an embedding of its own for layers with a window.
        let local_rope = usize::from(self.architecture == Architecture::Gemma3);
        let layer = |sliding: &bool| match (sliding, window) {
            (false, _) => Ok(LayerConfig { window: None, rope: 0 }),
            (true, Some(_)) => Ok(LayerConfig { window, rope: local_rope }),
            // A window that is null looks back at everything, where all layers have it; where only some do, the
            // reference fails.
            (true, None) if matches!(self.architecture, Architecture::Mistral | Architecture::Phi3) => {
                Ok(LayerConfig { window: None, rope: local_rope })
            }
            (true, None) => Err(NnError::InvalidConfig(
                "layer_types has sliding_attention, but the configuration has no sliding_window in use"
                    .to_owned(),
            )),
        };
        sliding.iter().map(layer).collect()
    }

    fn window(&self) -> Result<Option<usize>, NnError> {
        match self.architecture {
            Architecture::Llama => Ok(None),
            Architecture::Qwen2 | Architecture::Qwen3 => {
                let used = self.fields.flag("use_sliding_window", false)?;
                Ok(self.fields.optional_size("sliding_window", self.defaults.window)?.filter(|_| used))
            }
            _ => self.fields.optional_size("sliding_window", self.defaults.window),
        }
    }

    /// Which layers have the window, where a list or a rule says so.
    fn sliding_layers(&self, layers: usize) -> Result<Vec<bool>, NnError> {
        // Both spellings of the rule are read, so that neither is taken for an unknown field.
        let by_rule = self.sliding_by_rule(layers)?;
        let Some(types) = self.fields.texts("layer_types")? else {
            return Ok(by_rule);
        };
        if types.len() != layers {
            let reason = format!("layer_types names {} layers, num_hidden_layers is {layers}", types.len());
            return Err(NnError::InvalidConfig(reason));
        }
        let sliding = |kind: &&str| match *kind {
            "sliding_attention" => Ok(true),
            "full_attention" => Ok(false),
            other => Err(NnError::unsupported(
                format!("{other:?} in layer_types"),
                "full_attention and sliding_attention are",
            )),
        };
        types.iter().map(sliding).collect()
    }

    fn sliding_by_rule(&self, layers: usize) -> Result<Vec<bool>, NnError> {
        let every = match self.architecture {
            Architecture::Gemma2 => 2,
            Architecture::Gemma3 => {
                // Not read by the reference: it writes it, beside layer_types.
                self.fields.skip("_sliding_window_pattern");
                self.fields.size("sliding_window_pattern", 6)?
            }
            _ => {
                let windowless = self.fields.size("max_window_layers", 28)?;
                let window = self.window()?.is_some();
                return Ok((0..layers).map(|layer| window && layer >= windowless).collect());
            }
        };
        if every == 0 {
            let reason = "sliding_window_pattern is 0, it must be at least 1".to_owned();
            return Err(NnError::InvalidConfig(reason));
        }
        Ok((0..layers).map(|layer| !(layer + 1).is_multiple_of(every)).collect())
    }

    fn ropes(&self, head_dim: usize, context: usize) -> Result<Vec<RopeConfig>, NnError> {
        let reader = RopeReader { architecture: self.architecture, fields: self.fields, head_dim, context };
        match self.architecture {
            Architecture::Gemma3 => reader.global_and_local(),
            _ => Ok(vec![reader.only()?]),
        }
    }
}

fn divide(hidden_size: usize, heads: usize) -> Result<usize, NnError> {
    match heads > 0 && hidden_size.is_multiple_of(heads) {
        true => Ok(hidden_size / heads),
        false => Err(NnError::InvalidConfig(format!(
            "hidden_size {hidden_size} is not a multiple of num_attention_heads {heads}, and there is no head_dim"
        ))),
    }
}
