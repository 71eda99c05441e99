//! The same numbers as transformers, from the same checkpoints.

use std::collections::HashMap;

use candle_core::Tensor;
use nn::{Pixels, TextTower, TextTowerConfig, TowerOutputs, VisionConfig, VisionTransformer};

use super::fixture::{self, Fixture, states, text_store, vision_store, worst};

fn with_pictures() -> impl Iterator<Item = Fixture> {
    fixture::all().into_iter().filter(|fixture| !fixture.pictures.is_empty())
}

fn with_texts() -> impl Iterator<Item = Fixture> {
    fixture::all().into_iter().filter(|fixture| !fixture.texts.is_empty())
}

#[test]
fn every_tower_has_a_fixture_and_each_is_measured_well_enough() {
    let names: Vec<String> = fixture::all().into_iter().map(|fixture| fixture.name).collect();
    let wanted = [
        "clip",
        "clip-gelu",
        "clip-text",
        "clip-vision",
        "dinov2",
        "dinov2-registers",
        "dinov2-swiglu",
        "siglip",
        "siglip-headless",
    ];
    assert_eq!(names, wanted);
    for fixture in fixture::all() {
        assert!(fixture.noise < fixture.tolerance / 10.0, "{}: noise {}", fixture.name, fixture.noise);
    }
}

#[test]
fn both_spellings_of_a_configuration_mean_the_same() {
    for fixture in with_pictures() {
        let older = VisionConfig::from_huggingface(&fixture.config_4).unwrap();
        assert_eq!(fixture.vision_config(), older, "{}", fixture.name);
    }
    for fixture in with_texts() {
        let older = TextTowerConfig::from_huggingface(&fixture.config_4).unwrap();
        assert_eq!(fixture.text_config(), older, "{}", fixture.name);
    }
}

/// All results of a tower for the fixture's pictures, in one pass, are the reference's.
fn check_pictures(fixture: &Fixture, tensors: HashMap<String, Tensor>) {
    let config = fixture.vision_config();
    let hidden = states(fixture.pictures[0].hidden.keys(), config.layers);
    let outputs = TowerOutputs { hidden, embedding: fixture.has_embedding() };
    let tower = VisionTransformer::load(config, &vision_store(tensors), outputs).unwrap();
    let pictures: Vec<Pixels<'_>> = fixture.pictures.iter().map(|picture| picture.pixels()).collect();
    let mut pass = tower.begin(&pictures).unwrap();
    assert!(tower.advance(&mut pass, &mut || true));
    for (number, picture) in fixture.pictures.iter().enumerate() {
        for (place, (layer, wanted)) in picture.hidden.iter().enumerate() {
            let apart = worst(pass.hidden(number, place), wanted);
            assert!(
                apart <= fixture.tolerance,
                "{}: {}x{} behind layer {layer}: {apart:.1e} apart",
                fixture.name,
                picture.height,
                picture.width
            );
        }
        let embedding = pass.embedding(number);
        let Some(wanted) = &picture.embedding else {
            assert!(embedding.is_empty());
            continue;
        };
        assert_eq!(embedding.len(), tower.config().embedding_size());
        let apart = crate::fixture::relative(embedding, wanted);
        let (height, width) = (picture.height, picture.width);
        assert!(apart <= fixture.tolerance, "{}: {height}x{width}: {apart:.1e} apart", fixture.name);
    }
}

fn check_texts(fixture: &Fixture, tensors: HashMap<String, Tensor>) {
    let config = fixture.text_config();
    let hidden = states(fixture.texts[0].hidden.keys(), config.layers);
    let tower =
        TextTower::load(config, &text_store(tensors), TowerOutputs { hidden, embedding: true }).unwrap();
    let texts: Vec<&[u32]> = fixture.texts.iter().map(|text| &*text.tokens).collect();
    let mut pass = tower.begin(&texts).unwrap();
    assert!(tower.advance(&mut pass, &mut || true));
    for (number, text) in fixture.texts.iter().enumerate() {
        for (place, (layer, wanted)) in text.hidden.iter().enumerate() {
            let apart = worst(pass.hidden(number, place), wanted);
            assert!(
                apart <= fixture.tolerance,
                "{}: text {number}, {layer}: {apart:.1e} apart",
                fixture.name
            );
        }
        let embedding = pass.embedding(number);
        assert_eq!(embedding.len(), tower.config().embedding_size());
        let apart = crate::fixture::relative(embedding, text.embedding.as_ref().unwrap());
        assert!(apart <= fixture.tolerance, "{}: text {number}: {apart:.1e} apart", fixture.name);
    }
}

#[test]
fn rows_and_vectors_of_pictures_are_those_of_transformers() {
    for fixture in with_pictures() {
        check_pictures(&fixture, fixture.tensors());
    }
}

#[test]
fn rows_and_vectors_of_texts_are_those_of_transformers() {
    for fixture in with_texts() {
        check_texts(&fixture, fixture.tensors());
    }
}

/// The tensors with each name changed.
fn renamed(fixture: &Fixture, rename: impl Fn(&str) -> String) -> HashMap<String, Tensor> {
    fixture.tensors().into_iter().map(|(name, tensor)| (rename(&name), tensor)).collect()
}

#[test]
fn a_tower_is_found_wherever_a_checkpoint_has_it() {
    for name in ["clip-vision", "siglip-headless", "dinov2"] {
        let fixture = fixture::named(name);
        let bare = |name: &str| name.strip_prefix("vision_model.").unwrap_or(name).to_owned();
        for place in [
            "",
            "vision_model.",
            "vision_tower.",
            "vision_tower.vision_model.",
            "model.vision_tower.",
            "model.vision_tower.vision_model.",
            "dinov2.",
        ] {
            let rename = |name: &str| match name.starts_with("visual_projection") {
                true => name.to_owned(),
                false => format!("{place}{}", bare(name)),
            };
            check_pictures(&fixture, renamed(&fixture, rename));
        }
    }
    let fixture = fixture::named("clip-text");
    for place in ["", "text_model."] {
        let bare = |name: &str| name.strip_prefix("text_model.").unwrap_or(name).to_owned();
        check_texts(&fixture, renamed(&fixture, |name| format!("{place}{}", bare(name))));
    }
}

#[test]
fn names_that_transformers_5_has_in_memory_are_understood() {
    let newer = |name: &str| {
        [
            ("attention.attention.query", "attention.q_proj"),
            ("attention.attention.key", "attention.k_proj"),
            ("attention.attention.value", "attention.v_proj"),
            ("attention.output.dense", "attention.o_proj"),
            ("mlp.weights_out", "mlp.down_proj"),
        ]
        .into_iter()
        .fold(name.to_owned(), |name, (older, newer)| name.replace(older, newer))
    };
    check_pictures(&fixture::named("dinov2-registers"), renamed(&fixture::named("dinov2-registers"), newer));
    let gated = fixture::named("dinov2-swiglu");
    let mut tensors = renamed(&gated, newer);
    for layer in 0..gated.vision_config().layers {
        for kind in ["weight", "bias"] {
            let both = tensors.remove(&format!("encoder.layer.{layer}.mlp.weights_in.{kind}")).unwrap();
            let halves = both.chunk(2, 0).unwrap();
            for (half, name) in halves.into_iter().zip(["gate_proj", "up_proj"]) {
                tensors.insert(format!("encoder.layer.{layer}.mlp.{name}.{kind}"), half);
            }
        }
    }
    check_pictures(&gated, tensors);
}

#[test]
fn the_tower_of_a_larger_model_is_read_from_its_part_of_the_configuration() {
    let fixture = fixture::named("clip");
    let part = VisionConfig::from_huggingface(&fixture.config["vision_config"]).unwrap();
    assert_eq!(part, VisionConfig { projection: None, ..fixture.vision_config() });
    // The second to last state, as LLaVA takes it, without anything behind it.
    let layer = part.hidden_layer(-2).unwrap();
    assert_eq!(layer, part.layers - 1);
    let unneeded = format!("layers.{layer}.");
    let mut tensors = fixture.tensors();
    tensors.retain(|name, _| !name.contains(&unneeded) && !name.contains("post_layernorm"));
    let tower = VisionTransformer::load(part, &vision_store(tensors), TowerOutputs::hidden([layer])).unwrap();
    assert_eq!((tower.layers(), tower.config().leading_tokens()), (layer, 1));
    let picture = &fixture.pictures[1];
    let mut pass = tower.begin(&[picture.pixels()]).unwrap();
    assert!(tower.advance(&mut pass, &mut || true));
    let wanted = &picture.hidden[&layer.to_string()];
    assert!(worst(pass.hidden(0, 0), wanted) <= fixture.tolerance);
    assert!(pass.embedding(0).is_empty());
}
