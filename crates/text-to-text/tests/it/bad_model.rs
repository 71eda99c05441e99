//! Models that cannot be loaded, or not so: one line each that says what, why and what to do.

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};
use text_to_text::{Bytes, DeviceChoice, Dtype, Load, TextToText};

use crate::models::{Tiny, trained};

async fn refused(load: Load) -> String {
    let message = load.await.unwrap_err().to_string();
    assert!(!message.contains('\n') && !message.is_empty(), "{message:?}");
    message
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_it_is_to_be_loaded_must_fit() {
    let tiny = Tiny::new("smollm2");
    let place = tiny.folder.path().display().to_string();
    for (load, expected) in [
        (tiny.load().dtype(Dtype::F16), "dtype f16 is not supported; use auto or f32"),
        (
            tiny.load().device(DeviceChoice::Cuda(1)),
            "device cuda:1 is not supported; language models run on cpu so far",
        ),
        (tiny.load().context(193), "context is 193; the model was made for 1 to 192 tokens"),
        (tiny.load().context(0), "context is 0; the model was made for 1 to 192 tokens"),
        (tiny.load().sequences(0), "sequences is 0, so nothing would ever be computed; set 1 or more"),
    ] {
        assert_eq!(refused(load).await, format!("{place}: {expected}"));
    }
    // Keys and values of 2 heads of 6 numbers, in 3 layers and 16 positions.
    let error = refused(tiny.load().kv_cache(Bytes(4607))).await;
    assert!(error.starts_with(&format!("{place}: kv_cache is ")), "{error}");
    assert!(error.contains("for 16 tokens; give it more"), "{error}");
    let pool = tiny.load().kv_cache(Bytes(2 * 3 * 2 * 6 * 4 * 16)).await.unwrap();
    assert_eq!((pool.info().cache_tokens, pool.info().context), (16, 192));
    let error = pool.complete("a".repeat(40)).await.unwrap_err().to_string();
    assert!(
        error.starts_with("the prompt has 40 tokens; the memory of the model's cache takes 16"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_is_not_understood_is_refused_by_name() {
    let tiny = Tiny::new("smollm2");
    let with = |field: &str, value: Value| {
        let mut config = tiny.fixture["config"].clone();
        config[field] = value;
        tiny.write("config.json", &config);
        tiny.load()
    };
    let error = refused(with("model_type", json!("mamba"))).await;
    assert!(
        error.contains("config.json: ") && error.contains("mamba") && error.contains("is not supported; "),
        "{error}"
    );
    let error = refused(with("hidden_act", json!("relu"))).await;
    assert!(error.contains("hidden_act") && error.contains("relu"), "{error}");
    let error = refused(with("num_hidden_layers", json!(1_000_000_000_000_000_u64))).await;
    assert!(error.contains("num_hidden_layers is 1000000000000000, it must be at most 4096"), "{error}");
    let error = refused(with("vocab_size", json!(68))).await;
    assert!(error.contains("embed_tokens") && error.contains("68"), "{error}");
    tiny.write("config.json", &tiny.fixture["config"]);
    tiny.write("generation_config.json", &json!({"num_beams": 4}));
    let error = refused(tiny.load()).await;
    assert!(error.contains("generation_config.json: num_beams = 4 is not supported"), "{error}");
    tiny.write("generation_config.json", &json!({"do_sample": true, "top_p": 0.5, "eos_token_id": 5}));
    let defaults = tiny.load().await.unwrap().info().defaults.clone();
    assert_eq!((defaults.temperature, defaults.top_k, defaults.top_p), (1.0, Some(50), 0.5));
    std::fs::remove_file(tiny.folder.path().join("tokenizer.json")).unwrap();
    let error = refused(tiny.load()).await;
    assert!(error.contains("has no tokenizer.json"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tensor_that_would_be_ignored_is_refused_by_name() {
    let tiny = Tiny::new("smollm2");
    let file = tiny.folder.path().join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
    let name = "model.layers.1.self_attn.q_norm.weight";
    tensors.insert(name.to_owned(), Tensor::ones(6, DType::F32, &Device::Cpu).unwrap());
    candle_core::safetensors::save(&tensors, &file).unwrap();
    let error = refused(tiny.load()).await;
    assert!(error.contains(&format!("the tensor {name:?} is not supported: ")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_file_is_refused() {
    let Some(folder) = trained("SmolLM2-135M-Instruct") else { return };
    let whole = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let content = std::fs::read(whole).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cut.gguf");
    for length in [0, 3, 20, 5000, 2_000_000, content.len() - 1] {
        std::fs::write(&file, &content[..length]).unwrap();
        let error = refused(TextToText::load(file.as_path())).await;
        assert!(error.contains("cut.gguf"), "{length}: {error}");
    }
    let mut other = content;
    let at = other.windows(5).position(|bytes| bytes == b"llama").unwrap();
    other[at..at + 5].copy_from_slice(b"rwkv7");
    std::fs::write(&file, &other).unwrap();
    let error = refused(TextToText::load(file.as_path())).await;
    assert!(error.contains("the GGUF architecture \"rwkv7\" is not supported; "), "{error}");
}
