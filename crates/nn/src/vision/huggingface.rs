//! `config.json` of CLIP, SigLIP and DINOv2 as transformers reads it. What is absent has the default of the class.

use serde_json::Value;

use super::config::{VisionArchitecture, VisionConfig};
use crate::encoder::TowerActivation;
use crate::error::NnError;
use crate::fields::Fields;

impl VisionConfig {
    /// Reads the content of a `config.json`: of a model with a text tower only the vision tower's part counts. The
    /// `vision_config` of a larger model is such a content, too.
    ///
    /// # Errors
    /// [`NnError::Unsupported`] for another architecture and for any field that changes the mathematics in a way that is not
    /// computed here, [`NnError::InvalidConfig`] for fields that are no configuration.
    pub fn from_huggingface(config: &Value) -> Result<Self, NnError> {
        let top = Fields::new(config)?;
        let name = top.model_type()?;
        let (read, part) = match name {
            "clip" => {
                let projection = top.size("projection_dim", 512)?;
                let part = top.part("vision_config")?;
                (Self { projection: Some(projection), ..clip(&part)? }, Some(part))
            }
            "siglip" => {
                let part = top.part("vision_config")?;
                (siglip(&part)?, Some(part))
            }
            "clip_vision_model" => {
                let projection = top.size("projection_dim", 512)?;
                let projected = top.texts("architectures")?.unwrap_or_default();
                let projected = projected.contains(&"CLIPVisionModelWithProjection");
                (Self { projection: projected.then_some(projection), ..clip(&top)? }, None)
            }
            "siglip_vision_model" => (siglip(&top)?, None),
            "dinov2" | "dinov2_with_registers" => (dinov2(&top, name == "dinov2_with_registers")?, None),
            other => {
                return Err(NnError::unsupported(
                    format!("model_type {other:?}"),
                    "clip, clip_vision_model, siglip, siglip_vision_model, dinov2 and dinov2_with_registers are",
                ));
            }
        };
        finish(&top, part.as_ref())?;
        read.check()?;
        Ok(read)
    }
}

/// What a model of two towers has beside them: the other tower's part, and what training began with.
const SIDES: [&str; 7] = [
    "text_config",
    "text_config_dict",
    "vision_config",
    "vision_config_dict",
    "logit_scale_init_value",
    "tie_word_embeddings",
    "projection_dim",
];

/// Refuses what was not read of a configuration, and of a tower's part if that was read alone.
pub(crate) fn finish(top: &Fields<'_>, part: Option<&Fields<'_>>) -> Result<(), NnError> {
    top.refuse_quantization()?;
    if part.is_some() {
        SIDES.into_iter().for_each(|name| top.skip(name));
    }
    top.refuse_unread()?;
    part.map_or(Ok(()), Fields::refuse_unread)
}

fn clip(fields: &Fields<'_>) -> Result<VisionConfig, NnError> {
    check_part(fields, "clip_vision_model")?;
    // That of the whole model counts, where there is one.
    fields.skip("projection_dim");
    fields.skip("tie_word_embeddings");
    Ok(VisionConfig {
        architecture: VisionArchitecture::Clip,
        hidden_size: fields.size("hidden_size", 768)?,
        intermediate_size: fields.size("intermediate_size", 3072)?,
        layers: fields.size("num_hidden_layers", 12)?,
        heads: fields.size("num_attention_heads", 12)?,
        image_size: square(fields, "image_size", 224)?,
        patch_size: square(fields, "patch_size", 32)?,
        channels: fields.size("num_channels", 3)?,
        activation: activation(fields, "quick_gelu")?,
        norm_eps: fields.number("layer_norm_eps", 1e-5)?,
        query_key_value_bias: true,
        gated: false,
        registers: 0,
        pooling_head: false,
        projection: None,
    })
}

fn siglip(fields: &Fields<'_>) -> Result<VisionConfig, NnError> {
    check_part(fields, "siglip_vision_model")?;
    fields.skip("tie_word_embeddings");
    Ok(VisionConfig {
        architecture: VisionArchitecture::Siglip,
        hidden_size: fields.size("hidden_size", 768)?,
        intermediate_size: fields.size("intermediate_size", 3072)?,
        layers: fields.size("num_hidden_layers", 12)?,
        heads: fields.size("num_attention_heads", 12)?,
        image_size: square(fields, "image_size", 224)?,
        patch_size: square(fields, "patch_size", 16)?,
        channels: fields.size("num_channels", 3)?,
        activation: activation(fields, "gelu_pytorch_tanh")?,
        norm_eps: fields.number("layer_norm_eps", 1e-6)?,
        query_key_value_bias: true,
        gated: false,
        registers: 0,
        pooling_head: fields.flag("vision_use_head", true)?,
        projection: None,
    })
}

fn dinov2(fields: &Fields<'_>, with_registers: bool) -> Result<VisionConfig, NnError> {
    // What training began with, and how a backbone hands out what is computed all the same.
    for name in [
        "layerscale_value",
        "apply_layernorm",
        "reshape_hidden_states",
        "tie_word_embeddings",
        "use_mask_token",
        "hidden_dropout_prob",
        "drop_path_rate",
    ] {
        fields.skip(name);
    }
    let hidden_size = fields.size("hidden_size", 768)?;
    let inner = hidden_size as f32 * fields.number("mlp_ratio", 4.0)?;
    let gated = fields.flag("use_swiglu_ffn", false)?;
    if !(0.0..=1e9).contains(&inner) {
        let reason = format!(
            "mlp_ratio makes {inner} numbers of hidden_size {hidden_size}, it must be a number above 0"
        );
        return Err(NnError::InvalidConfig(reason));
    }
    // A gated half has two thirds of it, rounded up to a multiple of eight.
    let inner = inner as usize;
    let intermediate_size =
        if gated { ((inner as f64 * 2.0 / 3.0) as usize).next_multiple_of(8) } else { inner };
    Ok(VisionConfig {
        architecture: match with_registers {
            true => VisionArchitecture::Dinov2WithRegisters,
            false => VisionArchitecture::Dinov2,
        },
        hidden_size,
        intermediate_size,
        layers: fields.size("num_hidden_layers", 12)?,
        heads: fields.size("num_attention_heads", 12)?,
        image_size: square(fields, "image_size", 224)?,
        patch_size: square(fields, "patch_size", if with_registers { 16 } else { 14 })?,
        channels: fields.size("num_channels", 3)?,
        activation: activation(fields, "gelu")?,
        norm_eps: fields.number("layer_norm_eps", 1e-6)?,
        query_key_value_bias: fields.flag("qkv_bias", true)?,
        gated,
        registers: if with_registers { fields.size("num_register_tokens", 4)? } else { 0 },
        pooling_head: false,
        projection: None,
    })
}

pub(crate) fn activation(fields: &Fields<'_>, default: &str) -> Result<TowerActivation, NnError> {
    let name = fields.text("hidden_act")?.unwrap_or(default);
    TowerActivation::named(&fields.label("hidden_act"), name)
}

/// A part of a larger configuration may say what it is.
pub(crate) fn check_part(fields: &Fields<'_>, wanted: &str) -> Result<(), NnError> {
    match fields.text("model_type")? {
        Some(found) if found != wanted => Err(NnError::unsupported(
            format!("{} {found:?}", fields.label("model_type")),
            format!("{wanted} is, in such a model"),
        )),
        _ => Ok(()),
    }
}

/// An edge in pixels: a number, or two that are equal.
fn square(fields: &Fields<'_>, name: &str, default: usize) -> Result<usize, NnError> {
    match fields.pair(name)? {
        None => Ok(default),
        Some((height, width)) if height == width => Ok(height),
        Some((height, width)) => Err(NnError::unsupported(
            format!("{} [{height}, {width}]", fields.label(name)),
            "squares are: one number, or two that are equal",
        )),
    }
}
