use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use imaging::Processor;
use model_source::{Gguf, HubOptions, IntoSource as _, ModelFiles, Wanted};
use safetensors::tensor::TensorView;
use safetensors::{SafeTensors, serialize};
use serde_json::Value;

use super::*;
use crate::Picture;
use crate::mmproj::Mmproj;
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

fn load(config: LlavaConfig, stored: &StoredVision) -> Result<PictureTower, NnError> {
    let projector = MlpConfig {
        inputs: config.vision.hidden_size * config.layers.len(),
        inner: 40,
        outputs: 40,
        bias: config.projector_bias,
        activation: config.projector_activation,
    };
    PictureTower::load(config, projector, &*stored.open()?)
}

fn pixels(name: &str, picture: &str) -> Arc<PixelValues> {
    let config = json(&fixtures().join(name).join("processor_config.json"));
    let encoded = std::fs::read(fixtures().join("pictures").join(picture).with_extension("png")).unwrap();
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

#[tokio::test]
async fn rows_are_the_references_wherever_it_pauses() {
    for name in CASES {
        let (pixels, wanted, tolerance) = reference(name);
        let tower = load(config(name), &StoredVision::Folder(files(&fixtures().join(name)).await)).unwrap();
        let (found, pauses) = rows(&tower, &pixels, usize::MAX);
        assert_eq!(pauses, 0);
        let apart = worst(&found, &wanted);
        assert!(apart < tolerance, "{name}: {apart:e} apart");
        let (paused, pauses) = rows(&tower, &pixels, 1);
        assert_eq!(paused, found, "{name}");
        // Patches, two halves of each layer and the projector, for each tile; the last piece ends it.
        let layers = config(name).layers.into_iter().max().unwrap();
        assert_eq!(pauses + 1, pixels.layout().tiles * (2 * layers + 2), "{name}");
    }
}

#[tokio::test]
async fn an_mmproj_file_gives_the_rows_of_the_checkpoint() {
    for name in ["llava-llama", "next-llama"] {
        let (pixels, wanted, _) = reference(name);
        let file = Gguf::open_path(&fixtures().join(name).join("gguf/mmproj-model-f16.gguf")).unwrap();
        let config = Mmproj::new(file.metadata(), file.names()).config().unwrap();
        let config = LlavaConfig::from_huggingface(&config).unwrap();
        let tower = load(config, &StoredVision::Mmproj(file)).unwrap();
        let (found, _) = rows(&tower, &pixels, usize::MAX);
        assert!(worst(&found, &wanted) < 2e-4);
        let whole =
            load(self::config(name), &StoredVision::Folder(files(&fixtures().join(name)).await)).unwrap();
        let apart =
            worst(&found, &rows(&whole, &pixels, 1).0.chunks(40).map(<[f32]>::to_vec).collect::<Vec<_>>());
        // bf16 weights near zero are rounded to f16's grid.
        assert!(apart < if name == "llava-llama" { 1e-9 } else { 1e-6 }, "{name}: {apart:e} apart");
    }
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

#[tokio::test]
async fn every_generation_of_names_is_read() {
    let (pixels, wanted, tolerance) = reference("next-llama");
    let older = |name: &str| Some(name.replace("vision_tower.", "vision_tower.vision_model."));
    let newer = |name: &str| {
        let rest =
            name.strip_prefix("language_model.model.").map(|rest| format!("model.language_model.{rest}"));
        Some(rest.unwrap_or_else(|| match name {
            "language_model.lm_head.weight" => "lm_head.weight".to_owned(),
            other => format!("model.{other}"),
        }))
    };
    let both = |name: &str| newer(&older(name)?);
    let renamings: [&dyn Fn(&str) -> Option<String>; 3] = [&older, &newer, &both];
    for rename in renamings {
        let folder = renamed("next-llama", rename);
        let stored = StoredVision::Folder(files(folder.path()).await);
        let tower = load(config("next-llama"), &stored).unwrap();
        let apart = worst(&rows(&tower, &pixels, 1).0, &wanted);
        assert!(apart < tolerance, "{apart:e} apart");
    }
}

#[tokio::test]
async fn layers_behind_the_last_one_used_are_not_even_read() {
    let (pixels, wanted, tolerance) = reference("llava-llama");
    let unused = ["encoder.layers.3.", "post_layernorm."];
    let folder = renamed("llava-llama", |name| {
        (!unused.iter().any(|part| name.contains(part))).then(|| name.to_owned())
    });
    let tower = load(config("llava-llama"), &StoredVision::Folder(files(folder.path()).await)).unwrap();
    assert!(worst(&rows(&tower, &pixels, 1).0, &wanted) < tolerance);
}

#[tokio::test]
async fn weights_that_are_missing_or_not_computed_with_are_refused_by_name() {
    let load_renamed = async |rename: &dyn Fn(&str) -> Option<String>| {
        let folder = renamed("next-llama", rename);
        load(config("next-llama"), &StoredVision::Folder(files(folder.path()).await)).unwrap_err().to_string()
    };
    let error = load_renamed(&|name| (name != "image_newline").then(|| name.to_owned())).await;
    assert!(error.contains("no tensor \"image_newline\""), "{error}");
    let error = load_renamed(&|name| Some(name.replace("linear_2.bias", "layer_norm.bias"))).await;
    assert!(error.contains("\"multi_modal_projector.layer_norm.bias\""), "{error}");
    let error =
        load_renamed(&|name| Some(name.replace("layers.1.layer_norm1.bias", "layers.1.norm3.bias"))).await;
    assert!(error.contains("layers.1.layer_norm1.bias") || error.contains("norm3"), "{error}");
    // A bias that the configuration denies.
    let folder = renamed("llava-llama", |name| Some(name.to_owned()));
    let denied = LlavaConfig { projector_bias: false, ..config("llava-llama") };
    let error = load(denied, &StoredVision::Folder(files(folder.path()).await)).unwrap_err().to_string();
    assert!(error.contains("multimodal_projector_bias is false"), "{error}");
}
