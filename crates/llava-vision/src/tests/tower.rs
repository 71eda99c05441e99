//! Rows out of the tower and the projector.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use imaging::Processor;
use language_model::VisionTower as _;
use model_source::Gguf;
use nn::{NnError, StoredMatrix, TensorStore};

use super::{CASES, config, files, fixtures, load, projector, reference, renamed, rows, worst};
use crate::config::LlavaConfig;
use crate::mmproj::Mmproj;
use crate::tower::PictureTower;
use crate::weights::StoredVision;

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
async fn a_pass_keeps_no_more_rows_than_its_footprint_counts() {
    let (pixels, wanted, _) = reference("next-llama");
    let stored = StoredVision::Folder(files(&fixtures().join("next-llama")).await);
    let tower = load(config("next-llama"), &stored).unwrap();
    let counted = pixels.layout().tiles * config("next-llama").tile_rows() * wanted[0].len();
    let mut pass = tower.begin(&pixels).unwrap();
    let mut pauses = 0;
    while tower.advance(&mut pass, &mut || false).unwrap().is_none() {
        assert_eq!(pass.projected.capacity(), counted);
        pauses += 1;
    }
    assert!(pauses > pixels.layout().tiles);
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
            load(super::config(name), &StoredVision::Folder(files(&fixtures().join(name)).await)).unwrap();
        let apart =
            worst(&found, &rows(&whole, &pixels, 1).0.chunks(40).map(<[f32]>::to_vec).collect::<Vec<_>>());
        // bf16 weights near zero are rounded to f16's grid.
        assert!(apart < if name == "llava-llama" { 1e-9 } else { 1e-6 }, "{name}: {apart:e} apart");
    }
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
    for folder in [renamed("next-llama", older), renamed("next-llama", newer), renamed("next-llama", both)] {
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

/// Zeros of any name and shape.
struct Zeros;

impl TensorStore for Zeros {
    fn contains(&self, _: &str) -> bool {
        false
    }

    fn vector(&self, _: &str, length: usize) -> Result<Vec<f32>, NnError> {
        Ok(vec![0.0; length])
    }

    fn matrix(&self, _: &str, shape: (usize, usize)) -> Result<StoredMatrix, NnError> {
        Ok(StoredMatrix::Dense(Tensor::zeros(shape, DType::F32, &Device::Cpu)?))
    }
}

#[test]
fn a_piece_is_a_small_part_of_a_tile_however_large_tiles_are() {
    let vision = serde_json::json!({"image_size": 336, "patch_size": 14, "num_hidden_layers": 3, "hidden_size": 8,
        "intermediate_size": 16, "num_attention_heads": 1});
    let config = serde_json::json!({"model_type": "llava_next", "vision_config": vision});
    let config = LlavaConfig::from_huggingface(&config).unwrap();
    let tower = PictureTower::load(config.clone(), projector(&config), &Zeros).unwrap();
    let processor = serde_json::json!({"image_processor_type": "LlavaNextImageProcessor",
        "size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}});
    let processor = Processor::from_config(&processor).unwrap();
    let image = imaging::Image::new(700, 700, vec![90; 700 * 700 * 3]).unwrap();
    let pixels = Arc::new(processor.process(&image).unwrap());
    assert_eq!(pixels.layout().tiles, 5);
    let (found, pauses) = rows(&tower, &pixels, 1);
    assert_eq!(found.len(), (576 + 48 * 49) * 40);
    // Of 577 rows, two layers in halves and a projector: none of them all rows at once.
    assert!(pauses >= 5 * (2 * 2 * 2 + 576 / 128), "{pauses} pauses");
}

#[test]
fn the_footprint_counts_the_weights_that_are_loaded() {
    for name in ["llava-llama", "next-llama"] {
        let file = Gguf::open_path(&fixtures().join(name).join("gguf/mmproj-model-f16.gguf")).unwrap();
        // An mmproj file has what is computed with and nothing else.
        let numbers: usize =
            file.names().map(|name| file.tensor(name).unwrap().shape.iter().product::<usize>()).sum();
        let config = config(name);
        let (rows, tiles) = config.most();
        assert_eq!((rows, tiles), if name == "llava-llama" { (16, 1) } else { (16 + 8 * 9, 5) });
        let footprint = crate::tower::footprint(&config, projector(&config), rows, tiles);
        let (weights, stored) = (footprint.weights.get(), 4 * numbers as u64);
        assert!((stored..stored + stored / 20).contains(&weights), "{name}: {weights} for {stored}");
        // At least a tile's numbers and all rows, twice.
        let least = 4 * (3 * 28 * 28 + 2 * rows * 40) as u64;
        assert!((least..40 * least).contains(&footprint.working_set.get()), "{name}: {footprint:?}");
    }
}
