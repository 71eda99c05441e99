//! Against the fixtures of the reference (`tests/fixtures/README.md`): rows out of the tower, logits of every position.

mod logits;
mod tower;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use imaging::{PixelValues, Processor};
use language_model::VisionTower as _;
use model_source::{HubOptions, IntoSource as _, ModelFiles, Wanted};
use nn::{MlpConfig, NnError};
use safetensors::tensor::TensorView;
use safetensors::{SafeTensors, serialize};
use serde_json::Value;

use crate::Picture;
use crate::config::LlavaConfig;
use crate::tower::PictureTower;
use crate::weights::StoredVision;

const CASES: [&str; 6] =
    ["llava-llama", "llava-mistral", "llava-siglip", "next-llama", "next-mistral", "next-qwen2"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llava")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

async fn files(folder: &Path) -> ModelFiles {
    let source = folder.into_source().unwrap();
    source.resolve(&Wanted::model("llava-vision"), &HubOptions::new(""), &()).await.unwrap()
}

fn config(name: &str) -> LlavaConfig {
    LlavaConfig::from_huggingface(&json(&fixtures().join(name).join("config.json"))).unwrap()
}

fn projector(config: &LlavaConfig) -> MlpConfig {
    MlpConfig {
        inputs: config.vision.hidden_size * config.layers.len(),
        inner: 40,
        outputs: 40,
        bias: config.projector_bias,
        activation: config.projector_activation,
    }
}

fn load(config: LlavaConfig, stored: &StoredVision) -> Result<PictureTower, NnError> {
    let projector = projector(&config);
    PictureTower::load(config, projector, &*stored.open()?)
}

fn pixels(name: &str, picture: &str) -> Arc<PixelValues> {
    let config = json(&fixtures().join(name).join("processor_config.json"));
    let path = match picture.ends_with(".jpg") {
        true => fixtures().join("../../../../image-embedding/tests/fixtures/pictures").join(picture),
        false => fixtures().join("pictures").join(picture).with_extension("png"),
    };
    let encoded = std::fs::read(path).unwrap();
    let image = Picture::new(encoded).decode().unwrap();
    Arc::new(Processor::from_config(&config["image_processor"]).unwrap().process(&image).unwrap())
}

/// The picture's rows, with a pause after every so many pieces, and how often it paused.
fn rows(tower: &PictureTower, pixels: &Arc<PixelValues>, pieces: usize) -> (Vec<f32>, usize) {
    let (mut pass, mut pauses) = (tower.begin(pixels).unwrap(), 0);
    loop {
        let mut left = pieces;
        let mut go_on = || {
            left -= 1;
            left > 0
        };
        match tower.advance(&mut pass, &mut go_on).unwrap() {
            Some(rows) => return (rows.flatten_all().unwrap().to_vec1().unwrap(), pauses),
            None => pauses += 1,
        }
    }
}

/// The first picture of a case, what the reference made of it, and how far it may be away.
fn reference(name: &str) -> (Arc<PixelValues>, Vec<Vec<f32>>, f64) {
    let case = json(&fixtures().join(name).join("case.json"));
    let picture = case["conversations"][0]["pictures"][0].as_str().unwrap().to_owned();
    let rows = serde_json::from_value(case["image_rows"].clone()).unwrap();
    (pixels(name, &picture), rows, case["tolerance"].as_f64().unwrap())
}

/// The norm of the difference over the norm of the reference, the worst row's.
fn worst(found: &[f32], wanted: &[Vec<f32>]) -> f64 {
    assert_eq!(found.len(), wanted.iter().map(Vec::len).sum::<usize>());
    let norm =
        |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|number| number * number).sum::<f64>().sqrt();
    let rows = found.chunks_exact(wanted[0].len()).zip(wanted);
    rows.map(|(found, wanted)| {
        let both = found.iter().zip(wanted);
        let difference = norm(&mut both.map(|(found, wanted)| f64::from(*found) - f64::from(*wanted)));
        difference / norm(&mut wanted.iter().map(|number| f64::from(*number)))
    })
    .fold(0.0, f64::max)
}

/// A folder with a case's checkpoint whose tensors have other names, or are left out.
fn renamed(name: &str, rename: impl Fn(&str) -> Option<String>) -> tempfile::TempDir {
    let (from, to) = (fixtures().join(name), tempfile::tempdir().unwrap());
    for file in ["config.json", "processor_config.json"] {
        std::fs::copy(from.join(file), to.path().join(file)).unwrap();
    }
    let bytes = std::fs::read(from.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensors: BTreeMap<String, TensorView<'_>> =
        tensors.iter().filter_map(|(name, tensor)| Some((rename(name)?, tensor))).collect();
    std::fs::write(to.path().join("model.safetensors"), serialize(tensors, None).unwrap()).unwrap();
    to
}
