//! The committed fixtures (`tests/fixtures/README.md`).

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use nn::{
    HiddenState, Pixels, TextTower, TextTowerConfig, TowerOutputs, TowerStore, VisionConfig,
    VisionTransformer,
};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(crate) struct Fixture {
    pub(crate) name: String,
    weights: String,
    pub(crate) config: Value,
    pub(crate) config_4: Value,
    pub(crate) tolerance: f64,
    pub(crate) noise: f64,
    grid: f32,
    pub(crate) pictures: Vec<Picture>,
    pub(crate) texts: Vec<Text>,
}

#[derive(Deserialize)]
pub(crate) struct Picture {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pixels: Vec<f32>,
    pub(crate) hidden: BTreeMap<String, Vec<Vec<f32>>>,
    pub(crate) embedding: Option<Vec<f32>>,
}

#[derive(Deserialize)]
pub(crate) struct Text {
    pub(crate) tokens: Vec<u32>,
    pub(crate) hidden: BTreeMap<String, Vec<Vec<f32>>>,
    pub(crate) embedding: Option<Vec<f32>>,
}

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", "towers"].iter().collect()
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
    let mut fixture: Fixture = serde_json::from_str(&text).unwrap();
    for picture in &mut fixture.pictures {
        picture.pixels.iter_mut().for_each(|pixel| *pixel /= fixture.grid);
    }
    fixture
}

impl Picture {
    pub(crate) fn pixels(&self) -> Pixels<'_> {
        Pixels { values: &self.pixels, height: self.height, width: self.width }
    }
}

impl Fixture {
    /// The stored tensors, widened to f32.
    pub(crate) fn tensors(&self) -> HashMap<String, Tensor> {
        let stored = candle_core::safetensors::load(folder().join(&self.weights), &Device::Cpu).unwrap();
        stored.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(DType::F32).unwrap())).collect()
    }

    pub(crate) fn vision_config(&self) -> VisionConfig {
        VisionConfig::from_huggingface(&self.config).unwrap()
    }

    pub(crate) fn text_config(&self) -> TextTowerConfig {
        TextTowerConfig::from_huggingface(&self.config).unwrap()
    }

    pub(crate) fn vision(&self, outputs: TowerOutputs) -> VisionTransformer {
        VisionTransformer::load(self.vision_config(), &vision_store(self.tensors()), outputs).unwrap()
    }

    pub(crate) fn text(&self, outputs: TowerOutputs) -> TextTower {
        TextTower::load(self.text_config(), &text_store(self.tensors()), outputs).unwrap()
    }

    /// Whether there is a vector of a picture or text.
    pub(crate) fn has_embedding(&self) -> bool {
        self.pictures.iter().all(|picture| picture.embedding.is_some())
    }
}

fn builder(tensors: HashMap<String, Tensor>) -> (VarBuilder<'static>, Vec<String>) {
    let names = tensors.keys().cloned().collect();
    (VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu), names)
}

pub(crate) fn vision_store(tensors: HashMap<String, Tensor>) -> TowerStore {
    let (builder, names) = builder(tensors);
    TowerStore::vision(builder).unwrap().with_names(names)
}

pub(crate) fn text_store(tensors: HashMap<String, Tensor>) -> TowerStore {
    let (builder, names) = builder(tensors);
    TowerStore::text(builder).unwrap().with_names(names)
}

/// The hidden states that a fixture has, by their names there.
pub(crate) fn states<'a>(names: impl Iterator<Item = &'a String>, layers: usize) -> Vec<HiddenState> {
    names
        .map(|name| match name.parse() {
            Ok(layer) => HiddenState { layer, normed: false },
            Err(_) => HiddenState { layer: layers, normed: true },
        })
        .collect()
}

/// The largest relative difference of a row.
pub(crate) fn worst(got: &[f32], wanted: &[Vec<f32>]) -> f64 {
    let width = wanted[0].len();
    assert_eq!(got.len(), width * wanted.len());
    let rows = got.chunks_exact(width).zip(wanted);
    rows.map(|(got, wanted)| crate::fixture::relative(got, wanted)).fold(0.0, f64::max)
}

pub(crate) fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}
