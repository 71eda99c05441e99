//! The defaults of transformers' configuration classes, which checkpoints rely on.

use crate::decoder::config::Architecture;

/// What a field is where a configuration does not say. `None` for a size means that the class derives it.
pub(super) struct Defaults {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: Option<usize>,
    pub(super) head_dim: Option<usize>,
    pub(super) context: usize,
    pub(super) window: Option<usize>,
    pub(super) norm_eps: f32,
    pub(super) tied: bool,
    pub(super) attention_soft_cap: Option<f32>,
    pub(super) logit_soft_cap: Option<f32>,
}

impl Defaults {
    pub(super) fn of(architecture: Architecture) -> Self {
        let llama = Self {
            vocab_size: 32_000,
            hidden_size: 4096,
            intermediate_size: 11_008,
            layers: 32,
            heads: 32,
            kv_heads: None,
            head_dim: None,
            context: 2048,
            window: None,
            norm_eps: 1e-6,
            tied: false,
            attention_soft_cap: None,
            logit_soft_cap: None,
        };
        let qwen2 = Self {
            vocab_size: 151_936,
            intermediate_size: 22_016,
            kv_heads: Some(32),
            context: 32_768,
            window: Some(4096),
            ..llama
        };
        let gemma2 = Self {
            vocab_size: 256_000,
            hidden_size: 2304,
            intermediate_size: 9216,
            layers: 26,
            heads: 8,
            kv_heads: Some(4),
            head_dim: Some(256),
            context: 8192,
            window: Some(4096),
            tied: true,
            attention_soft_cap: Some(50.0),
            logit_soft_cap: Some(30.0),
            ..llama
        };
        match architecture {
            Architecture::Llama => llama,
            Architecture::Mistral => Self {
                intermediate_size: 14_336,
                kv_heads: Some(8),
                context: 131_072,
                window: Some(4096),
                ..llama
            },
            Architecture::Qwen2 => qwen2,
            Architecture::Qwen3 => Self { head_dim: Some(128), ..qwen2 },
            Architecture::Gemma2 => gemma2,
            Architecture::Gemma3 => Self {
                vocab_size: 262_208,
                context: 131_072,
                attention_soft_cap: None,
                logit_soft_cap: None,
                ..gemma2
            },
            Architecture::Phi3 => Self {
                vocab_size: 32_064,
                hidden_size: 3072,
                intermediate_size: 8192,
                context: 4096,
                norm_eps: 1e-5,
                ..llama
            },
        }
    }
}
