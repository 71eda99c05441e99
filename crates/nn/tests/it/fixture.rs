//! The committed fixtures (`tests/fixtures/README.md`).

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use nn::{Decoder, DecoderConfig, Precision, SafetensorsStore};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(crate) struct Fixture {
    pub(crate) name: String,
    weights: String,
    pub(crate) config: Value,
    pub(crate) config_4: Value,
    context: Option<usize>,
    pub(crate) tolerance: f64,
    pub(crate) noise: f64,
    pub(crate) tokens: Vec<u32>,
    pub(crate) logits: Vec<Vec<f32>>,
    pub(crate) prompt: usize,
    pub(crate) greedy: Vec<u32>,
}

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", "decoders"].iter().collect()
}

/// All of them, by name.
pub(crate) fn all() -> Vec<Fixture> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".json").map(str::to_owned))
        .collect();
    names.sort_unstable();
    names.iter().map(|name| named(name)).collect()
}

pub(crate) fn named(name: &str) -> Fixture {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

impl Fixture {
    pub(crate) fn decoder_config(&self, config: &Value) -> DecoderConfig {
        let mut config = DecoderConfig::from_huggingface(config).unwrap();
        config.context = self.context.unwrap_or(config.context);
        config
    }

    /// The stored tensors, widened to f32.
    pub(crate) fn tensors(&self) -> HashMap<String, Tensor> {
        let stored = candle_core::safetensors::load(folder().join(&self.weights), &Device::Cpu).unwrap();
        stored.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(DType::F32).unwrap())).collect()
    }

    pub(crate) fn builder(&self) -> VarBuilder<'static> {
        let bytes = std::fs::read(folder().join(&self.weights)).unwrap();
        VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu).unwrap()
    }

    pub(crate) fn decoder(&self, precision: Precision) -> Decoder {
        let store = SafetensorsStore::new(self.builder()).unwrap().with_names(self.tensors().into_keys());
        Decoder::load(self.decoder_config(&self.config), &store, precision).unwrap()
    }

    /// The largest relative difference of a position's logits from the reference's.
    pub(crate) fn worst(&self, logits: &[f32]) -> f64 {
        assert_eq!(logits.len(), self.logits.len() * self.logits[0].len(), "{}", self.name);
        let rows = logits.chunks_exact(self.logits[0].len()).zip(&self.logits);
        rows.map(|(got, wanted)| relative(got, wanted)).fold(0.0, f64::max)
    }
}

/// The norm of the difference over the norm of the reference.
pub(crate) fn relative(got: &[f32], wanted: &[f32]) -> f64 {
    let norm =
        |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|number| number * number).sum::<f64>().sqrt();
    let difference =
        norm(&mut got.iter().zip(wanted).map(|(got, wanted)| f64::from(*got) - f64::from(*wanted)));
    let relative = difference / norm(&mut wanted.iter().map(|wanted| f64::from(*wanted)));
    // Not a number is no agreement.
    if relative.is_nan() { f64::INFINITY } else { relative }
}
