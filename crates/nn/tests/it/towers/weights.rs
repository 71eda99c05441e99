//! Weights that do not fit their configuration.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use nn::{HiddenState, NnError, TowerOutputs, TowerStore, VisionTransformer};

use super::fixture::{self, vision_store};

fn load(
    name: &str,
    tensors: HashMap<String, Tensor>,
    outputs: TowerOutputs,
) -> Result<VisionTransformer, NnError> {
    VisionTransformer::load(fixture::named(name).vision_config(), &vision_store(tensors), outputs)
}

#[test]
fn a_missing_tensor_is_named() {
    for (fixture, name) in [
        ("clip", "vision_model.embeddings.class_embedding"),
        ("clip", "vision_model.pre_layrnorm.weight"),
        ("clip", "vision_model.encoder.layers.2.self_attn.k_proj.bias"),
        ("clip", "vision_model.post_layernorm.bias"),
        ("clip", "visual_projection.weight"),
        ("siglip", "vision_model.head.attention.in_proj_weight"),
        ("dinov2", "encoder.layer.1.layer_scale2.lambda1"),
        ("dinov2-swiglu", "encoder.layer.1.mlp.weights_in.weight"),
        ("dinov2-registers", "embeddings.register_tokens"),
    ] {
        let mut tensors = fixture::named(fixture).tensors();
        assert!(tensors.remove(name).is_some(), "{name}");
        let error = load(fixture, tensors, TowerOutputs::embedding()).unwrap_err();
        assert!(matches!(error, NnError::Weights(_)));
        let wanted = format!("the weights have no tensor {name:?}, which the configuration asks for");
        assert_eq!(error.to_string(), wanted);
    }
    let builder = VarBuilder::from_tensors(HashMap::new(), DType::F32, &Device::Cpu);
    let error = TowerStore::vision(builder).unwrap_err().to_string();
    assert!(error.contains("\"vision_model.embeddings.patch_embedding.weight\""), "{error}");
}

#[test]
fn a_tensor_of_another_shape_is_named() {
    for (fixture, name, shape) in [
        ("clip", "vision_model.embeddings.patch_embedding.weight", vec![24, 3, 8, 7]),
        ("clip", "vision_model.embeddings.position_embedding.weight", vec![11, 24]),
        ("clip", "vision_model.encoder.layers.0.mlp.fc1.weight", vec![24, 40]),
        ("siglip", "vision_model.head.probe", vec![2, 1, 24]),
        ("dinov2", "embeddings.cls_token", vec![1, 1, 23]),
    ] {
        let mut tensors = fixture::named(fixture).tensors();
        let other = Tensor::zeros(shape.clone(), DType::F32, &Device::Cpu).unwrap();
        assert!(tensors.insert(name.to_owned(), other).is_some(), "{name}");
        let error = load(fixture, tensors, TowerOutputs::embedding()).unwrap_err();
        assert!(matches!(error, NnError::Weights(_)), "{error:?}");
        assert!(
            error.to_string().starts_with(&format!("the tensor {name:?} has the shape {shape:?}")),
            "{error}"
        );
        assert_eq!(error.to_string().lines().count(), 1);
    }
}

#[test]
fn a_tensor_of_the_tower_that_is_not_computed_with_is_named() {
    let load_with = |name: &str| {
        let mut tensors = fixture::named("clip").tensors();
        tensors.insert(name.to_owned(), Tensor::ones(1, DType::F32, &Device::Cpu).unwrap());
        load("clip", tensors, TowerOutputs::hidden([2]))
    };
    for name in [
        "vision_model.encoder.layers.0.self_attn.q_norm.weight",
        "vision_model.encoder.layers.1.layer_scale1.lambda1",
        "vision_model.embeddings.patch_embedding.bias",
    ] {
        let error = load_with(name).unwrap_err();
        assert!(matches!(error, NnError::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().starts_with(&format!("the tensor {name:?} is not supported: ")), "{error}");
    }
    for name in [
        "vision_model.encoder.layers.2.self_attn.q_norm.weight",
        "vision_model.embeddings.position_ids",
        "text_model.encoder.layers.0.self_attn.q_norm.weight",
        "model.layers.0.input_layernorm.weight",
    ] {
        assert!(load_with(name).is_ok(), "{name}");
    }
}

#[test]
fn what_a_tower_does_not_have_is_not_promised() {
    let headless = fixture::named("siglip-headless");
    let error = load("siglip-headless", headless.tensors(), TowerOutputs::embedding()).unwrap_err();
    assert!(error.to_string().starts_with("vision_use_head false is not supported: "), "{error}");
    let clip = || fixture::named("clip").tensors();
    let error = load("clip", clip(), TowerOutputs::hidden([4])).unwrap_err();
    assert_eq!(error.to_string(), "the hidden state behind layer 4 is wanted, the tower has 3 layers");
    let error = load("clip", clip(), TowerOutputs::default()).unwrap_err();
    assert_eq!(error.to_string(), "nothing is wanted of the tower: name a hidden state");
}

#[test]
fn only_what_is_needed_is_loaded() {
    let needless = ["layers.2.", "post_layernorm", "visual_projection"];
    let mut tensors = fixture::named("clip").tensors();
    tensors.retain(|name, _| !name.starts_with("vision") || !needless.iter().any(|part| name.contains(part)));
    let tower = load("clip", tensors.clone(), TowerOutputs::hidden([1, 2])).unwrap();
    assert_eq!(tower.layers(), 2);
    let normed = TowerOutputs { hidden: vec![HiddenState { layer: 2, normed: true }], embedding: false };
    let error = load("clip", tensors, normed).unwrap_err();
    assert!(error.to_string().contains("vision_model.post_layernorm.weight"), "{error}");
}

#[test]
fn sizes_are_known_from_the_configuration() {
    for fixture in fixture::all() {
        let stored: usize = fixture.tensors().values().map(Tensor::elem_count).sum();
        let vision = (!fixture.pictures.is_empty()).then(|| fixture.vision_config());
        let text = (!fixture.texts.is_empty()).then(|| fixture.text_config());
        let known = vision.map_or(0, |config| config.parameters(config.layers))
            + text.map_or(0, |config| config.parameters(config.layers));
        // Biases are not told apart.
        assert!(known.abs_diff(stored as u64) < stored as u64 / 50, "{}: {known} for {stored}", fixture.name);
    }
    let config = fixture::named("clip").vision_config();
    assert!(config.activation_bytes(50, 0) < config.activation_bytes(50, 1));
    assert_eq!(config.activation_bytes(usize::MAX, 0), u64::MAX);
}
