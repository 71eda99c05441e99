//! Folders that hold no model, a damaged one, or one of another kind: refused by name before anything is computed.

use std::fs;
use std::path::Path;

use image_embedding::{DeviceChoice, Dtype, Error, ImageEmbedding};
use serde_json::{Value, json};

use crate::fixture::{checkpoint, copy};

/// The line a load fails with.
async fn refusal(folder: &Path) -> String {
    let error = ImageEmbedding::load(folder).await.unwrap_err();
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message:?}");
    message
}

fn set(folder: &Path, file: &str, pointer: &str, value: Value) {
    let path = folder.join(file);
    let mut json: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    match pointer.rsplit_once('/') {
        Some((parent, field)) => json.pointer_mut(parent).unwrap()[field] = value,
        None => json[pointer] = value,
    }
    fs::write(path, json.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_named() {
    for file in ["config.json", "model.safetensors"] {
        let folder = copy("clip");
        fs::remove_file(folder.path().join(file)).unwrap();
        let message = refusal(folder.path()).await;
        assert!(message.contains(file) || message.contains("has no weights"), "{file}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_that_change_the_mathematics_are_refused_by_name() {
    let (config, processor) = ("config.json", "processor_config.json");
    let cases = [
        ("clip", config, "model_type", json!("chinese_clip"), "model_type \"chinese_clip\" is not supported"),
        ("clip", config, "/vision_config/hidden_act", json!("relu"), "vision_config.hidden_act \"relu\""),
        ("clip", config, "/text_config/hidden_act", json!("relu"), "text_config.hidden_act \"relu\""),
        ("clip", config, "/vision_config/rotary", json!(true), "vision_config.rotary true is not supported"),
        ("clip", config, "quantization_config", json!({"bits": 4}), "quantization_config is not supported"),
        ("clip", processor, "/image_processor/image_processor_type", json!("Mystery"), "Mystery"),
        (
            "clip",
            processor,
            "/image_processor/crop_size",
            json!({"height": 30, "width": 30}),
            "makes 30x30 pixels of a picture of 640x640: a picture of 30x30 pixels does not fit the tower, which sees 24x24",
        ),
        ("clip", processor, "/image_processor/do_center_crop", json!(false), "of a picture of 640x480: "),
        (
            "siglip",
            "tokenizer_config.json",
            "model_input_names",
            json!(["input_ids", "attention_mask"]),
            "attention_mask among model_input_names",
        ),
        ("siglip", "tokenizer_config.json", "pad_token", json!("<nothing>"), "no pad token is named"),
        (
            "clip",
            config,
            "/text_config/vocab_size",
            json!(100),
            "has 526 tokens, the model has embeddings for 100",
        ),
        ("siglip", config, "/vision_config/vision_use_head", json!(false), "vision_use_head false"),
        ("dinov2", config, "hidden_size", json!(32), "has the shape"),
    ];
    for (name, file, pointer, value, wanted) in cases {
        let folder = copy(name);
        set(folder.path(), file, pointer, value);
        let message = refusal(folder.path()).await;
        assert!(message.contains(wanted), "{file}, {pointer}: {message}");
        assert!(message.contains(&*folder.path().to_string_lossy()), "the place is missing: {message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_numbers_and_devices_are_refused() {
    let load = || ImageEmbedding::load(checkpoint("clip"));
    let error = load().dtype(Dtype::Int8).await.unwrap_err();
    assert!(
        matches!(error, Error::Unsupported { .. }) && error.to_string().contains("dtype int8"),
        "{error}"
    );
    let error = load().device("cuda:0".parse::<DeviceChoice>().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("use cpu"), "{error}");
    assert!(load().dtype(Dtype::F32).device(DeviceChoice::Cpu).await.is_ok());
}
