//! The committed fixtures (`tests/fixtures/README.md`).

use std::collections::HashMap;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use nn::{AddedConditions, ComponentStore, Unet, UnetConfig, UnetInput, UnetPass};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub(crate) struct Fixture {
    pub(crate) name: String,
    weights: String,
    pub(crate) config: Value,
    pub(crate) config_sparse: Value,
    pub(crate) tolerance: f64,
    pub(crate) noise: f64,
    grid: f32,
    pub(crate) samples: Vec<Sample>,
}

#[derive(Deserialize)]
pub(crate) struct Sample {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) timestep: f32,
    pub(crate) sample: Vec<f32>,
    pub(crate) context: Vec<f32>,
    pub(crate) pooled: Option<Vec<f32>>,
    pub(crate) time_ids: Option<Vec<f32>>,
    pub(crate) scale: Option<f32>,
    pub(crate) guidance: Option<Vec<f32>>,
    /// Channel by channel.
    pub(crate) output: Vec<Vec<f32>>,
}

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures", "unet"].iter().collect()
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
    for sample in &mut fixture.samples {
        let pooled = sample.pooled.iter_mut().flatten();
        let numbers = sample.sample.iter_mut().chain(&mut sample.context).chain(pooled);
        numbers.for_each(|number| *number /= fixture.grid);
    }
    fixture
}

impl Sample {
    pub(crate) fn input(&self) -> UnetInput<'_> {
        let added = self.pooled.as_deref().zip(self.time_ids.as_deref());
        UnetInput {
            sample: &self.sample,
            height: self.height,
            width: self.width,
            timestep: self.timestep,
            context: &self.context,
            added: added.map(|(pooled, time_ids)| AddedConditions { pooled, time_ids }),
            guidance: self.guidance.as_deref(),
        }
    }
}

impl Fixture {
    /// The stored tensors, widened to f32.
    pub(crate) fn tensors(&self) -> HashMap<String, Tensor> {
        let stored = candle_core::safetensors::load(folder().join(&self.weights), &Device::Cpu).unwrap();
        stored.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(DType::F32).unwrap())).collect()
    }

    pub(crate) fn config(&self) -> UnetConfig {
        UnetConfig::from_diffusers(&self.config).unwrap()
    }

    pub(crate) fn unet(&self) -> Unet {
        Unet::load(self.config(), &store(self.tensors())).unwrap()
    }
}

pub(crate) fn store(tensors: HashMap<String, Tensor>) -> ComponentStore {
    let names: Vec<String> = tensors.keys().cloned().collect();
    let builder = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    ComponentStore::new(builder).unwrap().with_names(names)
}

/// A pass of these inputs, without a pause.
pub(crate) fn pass(unet: &Unet, inputs: &[UnetInput<'_>]) -> UnetPass {
    let mut pass = unet.begin(inputs).unwrap();
    assert!(unet.advance(&mut pass, &mut || true));
    pass
}

pub(crate) fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}
