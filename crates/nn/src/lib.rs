//! Neural building blocks shared by the modalities, on the tensor library candle.
//!
//! [`Decoder`] is the decoder of the Llama family. Its weights never change and are shared; all state of a
//! sequence is keys and values in the blocks of a [`KvCache`], which the caller owns, allocates by [`CacheLayout`] and
//! hands in. So one decoder serves any number of sequences, in one step, each at its own position.
//!
//! [`VisionTransformer`] is the tower of CLIP, SigLIP or DINOv2 that sees pictures, [`TextTower`] the one beside it that reads
//! texts. What is on its way through a tower is a pass ([`VisionPass`], [`TextPass`]) that may be paused between pieces of
//! work; [`TowerOutputs`] says which hidden states and vectors are wanted, and with that which layers are loaded.
//!
//! [`Unet`] and [`Vae`] are the parts of a diffusers pipeline that compute on feature maps: what denoises latents, and what is
//! between latents and pictures. Their passes ([`UnetPass`], [`VaePass`]) pause likewise.
//!
//! - [`DecoderConfig`], [`VisionConfig`] and [`TextTowerConfig`] say what is computed, whatever the architecture is called.
//!   They are read from `config.json`, the decoder's from GGUF metadata, too; a field that changes the mathematics and is
//!   not supported is refused by name.
//! - [`TensorStore`] is where weights come from: [`SafetensorsStore`], [`GgufStore`], [`TowerStore`],
//!   [`ComponentStore`], or one's own. A tensor of a layer that is not computed with is refused by name, where the store can
//!   list its tensors.
//! - [`Precision`] says of a decoder whether quantised matrices meet quantised or f32 activations, and whether a row's result may
//!   depend on what is computed beside it.
//!
//! Everything here computes on the calling thread and rayon's, so it belongs on a compute lane. So far only on the CPU.
//!
//! ```
//! use candle_core::{DType, Device};
//! use nn::{Decoder, DecoderConfig, KvCache, Precision, Rows, SafetensorsStore, SequenceChunk, Span};
//!
//! let config = DecoderConfig::from_huggingface(&serde_json::json!({
//!     "model_type": "llama", "vocab_size": 11, "hidden_size": 12, "intermediate_size": 20,
//!     "num_hidden_layers": 2, "num_attention_heads": 3, "num_key_value_heads": 1, "max_position_embeddings": 64,
//! }))?;
//! let store = SafetensorsStore::new(candle_nn::VarBuilder::zeros(DType::F32, &Device::Cpu))?;
//! let decoder = Decoder::load(config, &store, Precision::default())?;
//!
//! // Four blocks of 16 tokens; the sequence at hand has got the blocks 2 and 0.
//! let mut cache = KvCache::new(&decoder.config().cache_layout(16), &[4])?;
//! let prompt = SequenceChunk { inputs: &[Span::Tokens(&[1, 5, 7])], start: 0, tables: &[&[2, 0]], logits: Rows::Last };
//! let logits = decoder.forward(&[prompt], &mut cache)?;
//! assert_eq!(logits, vec![0.0; 11]);
//!
//! let next = SequenceChunk { inputs: &[Span::Tokens(&[3])], start: 3, tables: &[&[2, 0]], logits: Rows::Last };
//! assert_eq!(decoder.forward(&[next], &mut cache)?.len(), 11);
//! # Ok::<(), nn::NnError>(())
//! ```

mod blocks;
mod cache;
mod decoder;
mod diffusion;
mod elementary;
mod encoder;
mod error;
mod fields;
mod linear;
mod matrix;
mod mlp;
mod packed;
mod store;
mod text_tower;
mod tile;
mod vector;
mod vision;

pub use cache::{CacheGroup, CacheLayout, KvCache};
pub use decoder::{
    Activation, Architecture, Bias, Decoder, DecoderConfig, LayerConfig, OutputHead, RopeConfig, RopePairs,
    RopeScaling, Rows, SequenceChunk, Span,
};
pub use diffusion::{
    AddedConditions, AddedConfig, Unet, UnetConfig, UnetInput, UnetLevel, UnetMiddle, UnetPass, Vae,
    VaeConfig, VaeParts, VaePass, Waves, guidance_embedding,
};
pub use encoder::{HiddenState, TowerActivation, TowerOutputs};
pub use error::NnError;
pub use matrix::{Activations, Precision};
pub use mlp::{Mlp, MlpConfig};
pub use store::{ComponentStore, GgufStore, SafetensorsStore, StoredMatrix, TensorStore, TowerStore};
pub use text_tower::{TextArchitecture, TextPass, TextPooling, TextTower, TextTowerConfig};
pub use vision::{Pixels, VisionArchitecture, VisionConfig, VisionPass, VisionTransformer};
