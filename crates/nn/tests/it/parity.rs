//! The same numbers as transformers, from the same checkpoints.

use std::collections::HashMap;

use nn::{Decoder, DecoderConfig, Precision, Rows, SafetensorsStore};
use serde_json::json;

use crate::fixture::{self, Fixture};
use crate::sequence::{Shelf, at_once, best};

fn precisions() -> [Precision; 2] {
    [false, true].map(|deterministic| Precision { deterministic, ..Precision::default() })
}

#[test]
fn there_is_a_fixture_for_each_architecture_and_each_is_measured_well_enough() {
    let fixtures = fixture::all();
    let mut architectures: Vec<String> = fixtures
        .iter()
        .map(|fixture| fixture.decoder_config(&fixture.config).architecture.to_string())
        .collect();
    architectures.dedup();
    architectures.sort_unstable();
    architectures.dedup();
    assert_eq!(architectures, ["gemma2", "gemma3", "llama", "mistral", "phi3", "qwen2", "qwen3"]);
    for fixture in fixtures {
        assert!(fixture.noise < fixture.tolerance / 10.0, "{}: noise {}", fixture.name, fixture.noise);
        let window =
            fixture.decoder_config(&fixture.config).layers.iter().filter_map(|layer| layer.window).min();
        assert!(
            window.is_none_or(|window| window < fixture.tokens.len()),
            "{}: a window that cuts nothing",
            fixture.name
        );
    }
}

#[test]
fn both_spellings_of_a_configuration_mean_the_same() {
    for fixture in fixture::all() {
        let (newer, older) =
            (fixture.decoder_config(&fixture.config), fixture.decoder_config(&fixture.config_4));
        assert_eq!(newer, older, "{}", fixture.name);
    }
}

#[test]
fn the_logits_of_every_position_are_those_of_transformers() {
    for fixture in fixture::all() {
        for precision in precisions() {
            let worst = fixture.worst(&at_once(&fixture.decoder(precision), &fixture.tokens));
            println!("{}: {worst:.1e} apart, the reference's noise is {:.1e}", fixture.name, fixture.noise);
            assert!(worst <= fixture.tolerance, "{}: {worst:.1e} apart with {precision:?}", fixture.name);
        }
    }
}

#[test]
fn greedy_continuations_are_those_of_transformers() {
    for fixture in fixture::all() {
        for precision in precisions() {
            let got = greedy(&fixture, &fixture.decoder(precision));
            assert_eq!(got, fixture.greedy, "{} with {precision:?}", fixture.name);
        }
    }
}

/// The prompt in one step, then token by token.
fn greedy(fixture: &Fixture, decoder: &Decoder) -> Vec<u32> {
    let mut shelf = Shelf::new(decoder, 5, 32);
    let mut sequence = shelf.sequence(fixture.prompt + fixture.greedy.len());
    let mut logits = shelf.feed(&mut sequence, &fixture.tokens[..fixture.prompt], Rows::Last);
    let mut continuation = Vec::new();
    while continuation.len() < fixture.greedy.len() {
        let next = best(&logits);
        continuation.push(next);
        logits = shelf.feed(&mut sequence, &[next], Rows::Last);
    }
    continuation
}

#[test]
fn the_language_model_of_a_larger_one_is_found() {
    let fixture = fixture::named("gemma3");
    let larger = json!({
        "model_type": "gemma3", "torch_dtype": "bfloat16", "mm_tokens_per_image": 256, "image_token_index": 262144,
        "vision_config": {"model_type": "siglip_vision_model"}, "text_config": fixture.config_4,
    });
    let config = DecoderConfig::from_huggingface(&larger).unwrap();
    assert_eq!(config, fixture.decoder_config(&fixture.config));
    for (decoder, others) in
        [("language_model.model.", "language_model."), ("model.language_model.", ""), ("", "")]
    {
        let renamed = fixture.tensors().into_iter().map(|(name, tensor)| {
            let name = match name.strip_prefix("model.") {
                Some(rest) => format!("{decoder}{rest}"),
                None => format!("{others}{name}"),
            };
            (name, tensor)
        });
        let tensors: HashMap<String, candle_core::Tensor> = renamed.collect();
        let names: Vec<String> = tensors.keys().cloned().collect();
        let builder =
            candle_nn::VarBuilder::from_tensors(tensors, candle_core::DType::F32, &candle_core::Device::Cpu);
        let store = SafetensorsStore::new(builder).unwrap().with_names(names);
        let decoder = Decoder::load(config.clone(), &store, Precision::default()).unwrap();
        assert!(fixture.worst(&at_once(&decoder, &fixture.tokens)) <= fixture.tolerance);
    }
}
