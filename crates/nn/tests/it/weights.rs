//! Weights that do not fit their configuration.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use nn::{Decoder, NnError, Precision, RopeScaling, SafetensorsStore};

use crate::fixture;

fn load(tensors: HashMap<String, Tensor>) -> Result<Decoder, NnError> {
    let fixture = fixture::named("llama3");
    let names: Vec<String> = tensors.keys().cloned().collect();
    let builder = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let store = SafetensorsStore::new(builder)?.with_names(names);
    Decoder::load(fixture.decoder_config(&fixture.config), &store, Precision::default())
}

#[test]
fn a_missing_tensor_is_named() {
    for name in [
        "model.embed_tokens.weight",
        "model.layers.2.mlp.up_proj.weight",
        "model.norm.weight",
        "lm_head.weight",
    ] {
        let mut tensors = fixture::named("llama3").tensors();
        tensors.remove(name);
        let error = load(tensors).unwrap_err();
        assert!(matches!(error, NnError::Weights(_)));
        let wanted = format!("the weights have no tensor {name:?}, which the configuration asks for");
        assert_eq!(error.to_string(), wanted);
    }
}

#[test]
fn a_tensor_of_another_shape_is_named() {
    for (name, shape) in [
        ("model.layers.1.self_attn.k_proj.weight", vec![12, 35]),
        ("model.layers.0.input_layernorm.weight", vec![35]),
        ("model.embed_tokens.weight", vec![66, 36]),
    ] {
        let mut tensors = fixture::named("llama3").tensors();
        tensors.insert(name.to_owned(), Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap());
        let error = load(tensors).unwrap_err();
        assert!(matches!(error, NnError::Weights(_)), "{error:?}");
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
}

#[test]
fn a_tensor_of_a_layer_that_is_not_computed_with_is_named() {
    let load_with = |name: &str| {
        let mut tensors = fixture::named("llama3").tensors();
        tensors.insert(name.to_owned(), Tensor::ones(1, DType::F32, &Device::Cpu).unwrap());
        load(tensors)
    };
    for name in ["model.layers.0.self_attn.q_norm.weight", "model.layers.2.mlp.down_proj.bias"] {
        let error = load_with(name).unwrap_err();
        assert!(matches!(error, NnError::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().starts_with(&format!("the tensor {name:?} is not supported: ")), "{error}");
    }
    for name in [
        "model.layers.0.self_attn.rotary_emb.inv_freq",
        "model.layers.1.self_attn.masked_bias",
        "model.layers.3.eh_proj.weight",
        "vision_tower.layers.0.self_attn.q_proj.bias",
    ] {
        assert!(load_with(name).is_ok(), "{name}");
    }
}

#[test]
fn a_rotary_base_that_gives_no_frequencies_is_refused() {
    let fixture = fixture::named("llama3");
    let mut config = fixture.decoder_config(&fixture.config);
    // Above 0, and its root has an inverse that is too large.
    (config.ropes[0].base, config.ropes[0].scaling) = (1e-45, RopeScaling::None);
    (config.head_dim, config.ropes[0].dims) = (256, 256);
    let store = SafetensorsStore::new(fixture.builder()).unwrap();
    let error = Decoder::load(config, &store, Precision::default()).unwrap_err().to_string();
    assert!(error.ends_with("give the frequency inf, it must be a finite number"), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[test]
fn sizes_are_known_from_the_configuration() {
    for fixture in fixture::all() {
        let config = fixture.decoder_config(&fixture.config);
        let stored: usize = fixture.tensors().values().map(Tensor::elem_count).sum();
        let known = config.parameters();
        // Biases and norms of heads are not told apart: a few numbers.
        assert!(known.abs_diff(stored as u64) < 2000, "{}: {known} for {stored}", fixture.name);
        assert!(config.activation_bytes(10, 1) > config.activation_bytes(9, 1));
        // The last product has two rows for one, and hands out a copy.
        let logits = config.activation_bytes(9, 2) - config.activation_bytes(9, 1);
        assert_eq!(logits, 4 * 4 * config.vocab_size as u64);
    }
}

#[test]
fn sizes_that_cannot_be_counted_are_the_largest_number() {
    let fixture = fixture::named("llama3");
    let mut config = fixture.decoder_config(&fixture.config);
    (config.heads, config.head_dim, config.hidden_size) = (1 << 30, 1 << 30, 1 << 30);
    assert_eq!(config.parameters(), u64::MAX);
    assert_eq!(config.activation_bytes(1 << 10, 1), u64::MAX);
    config.vocab_size = 1 << 50;
    assert_eq!(config.activation_bytes(0, 1 << 20), u64::MAX);
}

#[test]
fn a_decoder_is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Decoder>();
    shared::<nn::KvCache>();
}
