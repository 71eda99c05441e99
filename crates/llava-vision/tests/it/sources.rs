//! Models that cannot be loaded: what, why and what to do, in one line.

use llava_vision::{Error, LlavaVision};
use serde_json::json;

use crate::tiny::{Tiny, fixtures};

async fn refusal(tiny: &Tiny) -> String {
    told(tiny.load().await.unwrap_err())
}

fn told(error: Error) -> String {
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message:?}");
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_files_contradict_is_told() {
    for (file, field, value, wanted) in [
        (
            "config.json",
            "model_type",
            json!("llava_onevision"),
            "model_type \"llava_onevision\" is not supported",
        ),
        ("config.json", "image_token_index", json!(9999), "image_token_index is 9999, which is no token"),
        ("config.json", "vision_feature_layer", json!(-9), "vision_feature_layer has -9"),
        ("config.json", "multimodal_projector_bias", json!(false), "multimodal_projector_bias is false"),
        (
            "config.json",
            "vision_feature_layer",
            json!([1, 2]),
            "the tensor \"multi_modal_projector.linear_1.weight\"",
        ),
        (
            "processor_config.json",
            "image_processor",
            json!({
                "image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 14},
                "crop_size": {"height": 14, "width": 14},
            }),
            "the image processor makes tiles of 14x14 pixels, and the tower sees 28x28",
        ),
        (
            "processor_config.json",
            "image_processor",
            json!({
                "image_processor_type": "LlavaNextImageProcessor", "size": {"shortest_edge": 28},
                "crop_size": {"height": 28, "width": 28}, "image_grid_pinpoints": [[28, 56]],
            }),
            "the image processor cuts pictures into tiles, and the model is llava",
        ),
        ("processor_config.json", "image_processor", json!(null), "there is no preprocessor_config.json"),
    ] {
        let tiny = Tiny::new("llava-llama");
        tiny.edit(file, |content| content[field] = value.clone());
        let message = refusal(&tiny).await;
        assert!(message.contains(wanted), "{field} {value}: {message}");
    }
    let tiny = Tiny::new("next-llama");
    tiny.edit("processor_config.json", |content| {
        content["image_processor"]["image_grid_pinpoints"] = json!([[56, 28], [28, 56]]);
    });
    assert!(refusal(&tiny).await.contains("they must be equal"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_language_model_without_anything_that_reads_pictures_is_refused() {
    let tiny = Tiny::gguf("llava-llama");
    std::fs::remove_file(tiny.folder.path().join("mmproj-model-f16.gguf")).unwrap();
    let message = refusal(&tiny).await;
    assert!(message.contains("a GGUF file holds the language model alone"), "{message}");
    // Of two, nobody knows which.
    for name in ["mmproj-a.gguf", "mmproj-b.gguf"] {
        let file = fixtures().join("llava-llama/gguf/mmproj-model-f16.gguf");
        std::fs::copy(file, tiny.folder.path().join(name)).unwrap();
    }
    let message = refusal(&tiny).await;
    assert!(message.contains("a GGUF file holds the language model alone"), "{message}");
    let named = tiny.folder.path().join("mmproj-b.gguf");
    LlavaVision::load(tiny.folder.path()).vision(&*named).name("tiny").await.unwrap();
    // A language model is no mmproj.
    let model = tiny.folder.path().join("model.gguf");
    let message = told(LlavaVision::load(tiny.folder.path()).vision(&*model).name("tiny").await.unwrap_err());
    assert!(message.contains("the GGUF architecture \"llama\" is not supported"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tower_for_a_wider_language_model_is_refused() {
    let (tiny, wider) = (Tiny::new("llava-llama"), Tiny::gguf("llava-llama"));
    tiny.edit("config.json", |config| config["text_config"]["hidden_size"] = 48.into());
    let mmproj = wider.folder.path().join("mmproj-model-f16.gguf");
    let message = told(tiny.load().vision(&*mmproj).await.unwrap_err());
    assert!(message.contains("shape"), "{message}");
}
