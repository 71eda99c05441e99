//! GGUF files, through the names of their tensors and a closure that loads one: this crate knows what the names mean.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::{GgmlDType, QTensor};

use super::{StoredMatrix, TensorStore, is_of_layers, missing, other_shape};
use crate::decoder::DecoderConfig;
use crate::error::NnError;

/// The tensors of a GGUF file: `model.layers.3.self_attn.q_proj.weight` is its `blk.3.attn_q.weight`, and so on.
///
/// Names are those of llama.cpp's `gguf-py/gguf/tensor_mapping.py`.
pub struct GgufStore<L> {
    names: BTreeSet<String>,
    load: L,
    sandwich_norms: bool,
}

impl<L, E> GgufStore<L>
where
    L: Fn(&str) -> Result<QTensor, E>,
    E: fmt::Display,
{
    /// `names` are those of all the file's tensors, `load` loads one onto the CPU, its shape in row-major order.
    pub fn new(config: &DecoderConfig, names: impl IntoIterator<Item = impl Into<String>>, load: L) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Self { names, load, sandwich_norms: config.sandwich_norms }
    }

    fn tensor(&self, name: &str, wanted: &[usize]) -> Result<QTensor, NnError> {
        let stored = self.stored_name(name);
        if !self.names.contains(&stored) {
            return Err(missing(&stored));
        }
        let tensor = (self.load)(&stored).map_err(NnError::weights)?;
        if tensor.shape().dims() != wanted {
            return Err(other_shape(&stored, tensor.shape().dims(), wanted));
        }
        Ok(tensor)
    }

    fn stored_name(&self, name: &str) -> String {
        let top = |name: &str| match name {
            "model.embed_tokens.weight" => Some("token_embd.weight"),
            "model.norm.weight" => Some("output_norm.weight"),
            "lm_head.weight" => Some("output.weight"),
            _ => None,
        };
        if let Some(stored) = top(name) {
            return stored.to_owned();
        }
        let layer = || {
            let (layer, part) = name.strip_prefix("model.layers.")?.split_once('.')?;
            let (module, kind) = part.rsplit_once('.')?;
            Some(format!("blk.{layer}.{}.{kind}", layer_module(module, self.sandwich_norms)?))
        };
        // What remains is ggml's own: `rope_freqs.weight`.
        layer().unwrap_or_else(|| name.to_owned())
    }
}

/// ggml's name for a module of a layer. With a norm before and one behind each half of a layer, the norm behind attention
/// has a name of its own; without, `post_attention_layernorm` is the one before the feed-forward half.
fn layer_module(module: &str, sandwich_norms: bool) -> Option<&'static str> {
    Some(match module {
        "input_layernorm" => "attn_norm",
        "self_attn.q_proj" => "attn_q",
        "self_attn.k_proj" => "attn_k",
        "self_attn.v_proj" => "attn_v",
        "self_attn.qkv_proj" => "attn_qkv",
        "self_attn.o_proj" => "attn_output",
        "self_attn.q_norm" => "attn_q_norm",
        "self_attn.k_norm" => "attn_k_norm",
        "post_attention_layernorm" if sandwich_norms => "post_attention_norm",
        "post_attention_layernorm" | "pre_feedforward_layernorm" => "ffn_norm",
        "post_feedforward_layernorm" => "post_ffw_norm",
        "mlp.gate_proj" => "ffn_gate",
        "mlp.up_proj" | "mlp.gate_up_proj" => "ffn_up",
        "mlp.down_proj" => "ffn_down",
        _ => return None,
    })
}

impl<L, E> TensorStore for GgufStore<L>
where
    L: Fn(&str) -> Result<QTensor, E>,
    E: fmt::Display,
{
    fn contains(&self, name: &str) -> bool {
        self.names.contains(&self.stored_name(name))
    }

    fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, NnError> {
        Ok(self.tensor(name, &[length])?.dequantize(&Device::Cpu)?.to_vec1()?)
    }

    fn matrix(&self, name: &str, (rows, columns): (usize, usize)) -> Result<StoredMatrix, NnError> {
        let tensor = self.tensor(name, &[rows, columns])?;
        match tensor.dtype() {
            // Not quantised, only narrow.
            GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16 => {
                Ok(StoredMatrix::Dense(tensor.dequantize(&Device::Cpu)?))
            }
            _ => Ok(StoredMatrix::Quantised(Arc::new(tensor))),
        }
    }

    fn unread(&self, read: &BTreeSet<String>, layers: usize) -> Option<String> {
        let read: BTreeSet<String> = read.iter().map(|name| self.stored_name(name)).collect();
        let is_of_layers =
            |name: &&String| name.strip_prefix("blk.").is_some_and(|behind| is_of_layers(behind, layers));
        self.names.difference(&read).find(is_of_layers).cloned()
    }
}

impl<L> fmt::Debug for GgufStore<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GgufStore").field("sandwich_norms", &self.sandwich_norms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(name: &str, sandwich_norms: bool) -> String {
        let load = |_: &str| Err::<QTensor, _>("not loaded here");
        GgufStore { names: BTreeSet::new(), load, sandwich_norms }.stored_name(name)
    }

    #[test]
    fn names_are_ggmls() {
        for (name, wanted) in [
            ("model.embed_tokens.weight", "token_embd.weight"),
            ("model.norm.weight", "output_norm.weight"),
            ("lm_head.weight", "output.weight"),
            ("model.layers.12.self_attn.q_proj.bias", "blk.12.attn_q.bias"),
            ("model.layers.0.mlp.gate_up_proj.weight", "blk.0.ffn_up.weight"),
            ("model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight"),
            ("rope_freqs.weight", "rope_freqs.weight"),
        ] {
            assert_eq!(stored(name, false), wanted);
        }
        assert_eq!(
            stored("model.layers.0.post_attention_layernorm.weight", true),
            "blk.0.post_attention_norm.weight"
        );
        assert_eq!(stored("model.layers.0.pre_feedforward_layernorm.weight", true), "blk.0.ffn_norm.weight");
    }
}
