//! `config.json` of CLIP and SigLIP as transformers reads it. What is absent has the default of the class.

use serde_json::Value;

use super::config::{TextArchitecture, TextPooling, TextTowerConfig};
use crate::error::NnError;
use crate::fields::Fields;
use crate::vision::{activation, check_part, finish};

impl TextTowerConfig {
    /// Reads the content of a `config.json`: of a model with a vision tower only the text tower's part counts.
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
                let part = top.part("text_config")?;
                (Self { projection: Some(projection), ..clip(&part)? }, Some(part))
            }
            "siglip" => {
                let part = top.part("text_config")?;
                (siglip(&part)?, Some(part))
            }
            "clip_text_model" => {
                let projection = top.size("projection_dim", 512)?;
                let projected = top.texts("architectures")?.unwrap_or_default();
                let projected = projected.contains(&"CLIPTextModelWithProjection");
                (Self { projection: projected.then_some(projection), ..clip(&top)? }, None)
            }
            "siglip_text_model" => (siglip(&top)?, None),
            other => {
                return Err(NnError::unsupported(
                    format!("model_type {other:?}"),
                    "clip, clip_text_model, siglip and siglip_text_model are, for texts",
                ));
            }
        };
        finish(&top, part.as_ref())?;
        read.check()?;
        Ok(read)
    }
}

fn clip(fields: &Fields<'_>) -> Result<TextTowerConfig, NnError> {
    check_part(fields, "clip_text_model")?;
    // That of the whole model counts, where there is one.
    fields.skip("projection_dim");
    fields.skip("tie_word_embeddings");
    let end = fields.size("eos_token_id", 49_407)?;
    let pooling = match u32::try_from(end) {
        Ok(2) => TextPooling::LargestToken,
        Ok(end) => TextPooling::FirstOf(end),
        Err(_) => {
            let reason = format!("{} is {end}, which is no token's", fields.label("eos_token_id"));
            return Err(NnError::InvalidConfig(reason));
        }
    };
    Ok(TextTowerConfig {
        architecture: TextArchitecture::Clip,
        vocab_size: fields.size("vocab_size", 49_408)?,
        hidden_size: fields.size("hidden_size", 512)?,
        intermediate_size: fields.size("intermediate_size", 2048)?,
        layers: fields.size("num_hidden_layers", 12)?,
        heads: fields.size("num_attention_heads", 8)?,
        positions: fields.size("max_position_embeddings", 77)?,
        activation: activation(fields, "quick_gelu")?,
        norm_eps: fields.number("layer_norm_eps", 1e-5)?,
        pooling,
        projection: None,
    })
}

fn siglip(fields: &Fields<'_>) -> Result<TextTowerConfig, NnError> {
    check_part(fields, "siglip_text_model")?;
    fields.skip("tie_word_embeddings");
    let hidden_size = fields.size("hidden_size", 768)?;
    Ok(TextTowerConfig {
        architecture: TextArchitecture::Siglip,
        vocab_size: fields.size("vocab_size", 32_000)?,
        hidden_size,
        intermediate_size: fields.size("intermediate_size", 3072)?,
        layers: fields.size("num_hidden_layers", 12)?,
        heads: fields.size("num_attention_heads", 12)?,
        positions: fields.size("max_position_embeddings", 64)?,
        activation: activation(fields, "gelu_pytorch_tanh")?,
        norm_eps: fields.number("layer_norm_eps", 1e-6)?,
        pooling: TextPooling::Last,
        projection: Some(fields.size("projection_size", hidden_size)?),
    })
}
