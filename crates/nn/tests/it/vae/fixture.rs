//! The committed fixtures (`tests/fixtures/README.md`).

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use nn::{ComponentStore, NnError, Vae, VaeConfig, VaeParts, VaePass};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(crate) struct Fixture {
    pub(crate) name: String,
    weights: String,
    pub(crate) config: Value,
    pub(crate) tolerance: f64,
    pub(crate) noise: f64,
    grid: f32,
    /// What goes in and comes out of each way.
    pub(crate) ways: BTreeMap<String, Vec<Sample>>,
}

#[derive(Clone, Deserialize)]
pub(crate) struct Sample {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) given: Vec<f32>,
    pub(crate) output_height: usize,
    pub(crate) output_width: usize,
    /// Channel by channel.
    pub(crate) output: Vec<Vec<f32>>,
}

pub(crate) const NAMES: [&str; 4] = ["three-blocks", "four-blocks", "without", "one-block"];

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", "vae"].iter().collect()
}

pub(crate) fn named(name: &str) -> Fixture {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    let mut fixture: Fixture = serde_json::from_str(&text).unwrap();
    for sample in fixture.ways.values_mut().flatten() {
        sample.given.iter_mut().for_each(|number| *number /= fixture.grid);
    }
    fixture
}

impl Fixture {
    /// The stored tensors, widened to f32.
    pub(crate) fn tensors(&self) -> HashMap<String, Tensor> {
        let stored = candle_core::safetensors::load(folder().join(&self.weights), &Device::Cpu).unwrap();
        stored.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(DType::F32).unwrap())).collect()
    }

    pub(crate) fn config(&self) -> VaeConfig {
        VaeConfig::from_diffusers(&self.config).unwrap()
    }

    pub(crate) fn vae(&self) -> Vae {
        Vae::load(self.config(), &store(self.tensors()), VaeParts::Both).unwrap()
    }

    pub(crate) fn samples(&self) -> impl Iterator<Item = (&str, &Sample)> {
        self.ways.iter().flat_map(|(way, samples)| samples.iter().map(move |sample| (&**way, sample)))
    }
}

pub(crate) fn store(tensors: HashMap<String, Tensor>) -> ComponentStore {
    let names: Vec<String> = tensors.keys().cloned().collect();
    ComponentStore::new(VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu))
        .unwrap()
        .with_names(names)
}

pub(crate) fn begin(vae: &Vae, way: &str, sample: &Sample) -> Result<VaePass, NnError> {
    let Sample { given, height, width, .. } = sample;
    match way {
        "decode" => vae.begin_decode(given, *height, *width),
        "decode_tiled" => vae.begin_decode_tiled(given, *height, *width),
        "encode" => vae.begin_encode(given, *height, *width),
        "encode_tiled" => vae.begin_encode_tiled(given, *height, *width),
        other => panic!("{other}"),
    }
}

pub(crate) fn computed(vae: &Vae, way: &str, sample: &Sample) -> VaePass {
    let mut pass = begin(vae, way, sample).unwrap();
    assert!(vae.advance(&mut pass, &mut || true) && pass.is_done());
    pass
}

/// The largest relative difference of a position.
pub(crate) fn worst(pass: &VaePass, sample: &Sample) -> f64 {
    assert_eq!(pass.size(), (sample.output_height, sample.output_width));
    let positions = sample.output_height * sample.output_width;
    assert_eq!(pass.output().len(), sample.output.len() * positions);
    let position = |at: usize| {
        let got: Vec<f32> = pass.output()[at..].iter().step_by(positions).copied().collect();
        let wanted: Vec<f32> = sample.output.iter().map(|channel| channel[at]).collect();
        crate::fixture::relative(&got, &wanted)
    };
    (0..positions).map(position).fold(0.0, f64::max)
}

pub(crate) fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}
