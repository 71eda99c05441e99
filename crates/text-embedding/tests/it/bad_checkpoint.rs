//! Folders that hold no model, a damaged one, or one of another kind: refused by name before anything is computed.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use text_embedding::{DeviceChoice, Dtype, Error, Reranker, TextEmbedding};

use crate::models::{checkpoint, copy};

/// The line a load fails with.
async fn refusal(folder: &Path) -> String {
    let error = TextEmbedding::load(folder).await.unwrap_err();
    one_line(&error)
}

fn one_line(error: &Error) -> String {
    let message = error.to_string();
    assert!(!message.contains('\n'), "{message:?}");
    message
}

fn set(folder: &Path, file: &str, field: &str, value: Value) {
    let path = folder.join(file);
    let mut json: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    json[field] = value;
    fs::write(path, json.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_no_model_is_refused() {
    let missing = refusal(Path::new("/no/such/folder")).await;
    assert!(missing.starts_with("/no/such/folder does not exist"), "{missing}");
    let empty = tempfile::tempdir().unwrap();
    let message = refusal(empty.path()).await;
    assert!(message.contains("has no weights"), "{message}");

    for file in ["model.safetensors", "tokenizer.json", "config.json", "1_Pooling/config.json"] {
        let folder = copy("normalize");
        fs::remove_file(folder.path().join(file)).unwrap();
        let message = refusal(folder.path()).await;
        let named = if file == "model.safetensors" { "weights" } else { file.rsplit('/').next().unwrap() };
        assert!(message.contains(&format!("has no {named}")), "{file}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_files_are_refused() {
    let folder = copy("normalize");
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    for keep in [0, 4, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..keep]).unwrap();
        let message = refusal(folder.path()).await;
        assert!(
            message.contains("model.safetensors") && message.contains("download it again"),
            "{keep}: {message}"
        );
    }
    for file in
        ["config.json", "tokenizer.json", "modules.json", "tokenizer_config.json", "1_Pooling/config.json"]
    {
        let folder = copy("normalize");
        fs::write(folder.path().join(file), "{\"a\": ").unwrap();
        let message = refusal(folder.path()).await;
        assert!(message.contains(file), "{file}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_sizes_are_refused() {
    for (field, value, expected) in [
        ("hidden_size", json!(27), "hidden_size is 27"),
        ("hidden_size", json!(25), "not a multiple of num_attention_heads 3"),
        ("intermediate_size", json!(38), "has shape [37, 24], the configuration wants [38, 24]"),
        ("vocab_size", json!(155), "the configuration wants [155, 24]"),
        ("num_hidden_layers", json!(3), "have no tensor \"encoder.layer.2."),
        ("num_attention_heads", json!(0), "num_attention_heads is 0"),
        ("max_position_embeddings", json!(64), "the configuration wants [64, 24]"),
        ("hidden_size", json!("wide"), "hidden_size: invalid type"),
    ] {
        let folder = copy("normalize");
        set(folder.path(), "config.json", field, value.clone());
        let message = refusal(folder.path()).await;
        assert!(message.contains(expected), "{field} {value}: {message}");
    }
    let folder = copy("dense");
    set(folder.path(), "2_Dense/config.json", "in_features", json!(23));
    let message = refusal(folder.path()).await;
    assert!(message.contains("in_features is 23, the module before gives 24"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_change_the_numbers_is_refused_by_name() {
    for (file, field, value, expected) in [
        ("config.json", "model_type", json!("mpnet"), "model_type \"mpnet\" is not supported"),
        (
            "config.json",
            "position_embedding_type",
            json!("relative_key"),
            "position_embedding_type \"relative_key\"",
        ),
        ("config.json", "hidden_act", json!("gelu_10"), "hidden_act \"gelu_10\""),
        ("config.json", "is_decoder", json!(true), "is_decoder true"),
        ("config.json", "quantization_config", json!({"bits": 4}), "quantization_config"),
        ("config.json", "pruned_heads", json!({"0": [1]}), "pruned_heads"),
        ("1_Pooling/config.json", "pooling_mode", json!("attention"), "pooling mode \"attention\""),
        (
            "sentence_bert_config.json",
            "transformer_task",
            json!("fill-mask"),
            "transformer_task \"fill-mask\"",
        ),
        ("sentence_bert_config.json", "query_length", json!(32), "query_length"),
        (
            "config_sentence_transformers.json",
            "similarity_fn_name",
            json!("angle"),
            "similarity_fn_name \"angle\"",
        ),
        (
            "config_sentence_transformers.json",
            "default_prompt_name",
            json!("none"),
            "default_prompt_name \"none\"",
        ),
        (
            "config_sentence_transformers.json",
            "model_type",
            json!("SparseEncoder"),
            "model_type \"SparseEncoder\"",
        ),
        ("tokenizer_config.json", "truncation_side", json!("middle"), "truncation_side \"middle\""),
    ] {
        let folder = copy("normalize");
        set(folder.path(), file, field, value);
        let message = refusal(folder.path()).await;
        assert!(message.contains(expected), "{field}: {message}");
    }
    for (field, value, expected) in [
        ("activation_function", json!("my.own.Activation"), "activation_function \"my.own.Activation\""),
        ("module_input_name", json!("token_embeddings"), "module_input_name \"token_embeddings\""),
        ("use_residual", json!(true), "use_residual true"),
    ] {
        let folder = copy("dense");
        set(folder.path(), "2_Dense/config.json", field, value);
        let message = refusal(folder.path()).await;
        assert!(message.contains(expected), "{field}: {message}");
    }
    for (kind, expected) in [
        ("sentence_transformers.models.LSTM", "module type \"sentence_transformers.models.LSTM\""),
        ("custom_st.Transformer", "module type \"custom_st.Transformer\""),
    ] {
        let folder = copy("legacy");
        let modules = json!([{"idx": 0, "name": "0", "path": "", "type": kind}]);
        fs::write(folder.path().join("modules.json"), modules.to_string()).unwrap();
        let message = refusal(folder.path()).await;
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wrong_pool_says_which_is_right() {
    let message = refusal(&checkpoint("rerank-1")).await;
    assert!(
        message.contains("embedding with a cross-encoder is not supported; use it to rerank"),
        "{message}"
    );
    let error = Reranker::load(checkpoint("bare")).await.unwrap_err();
    let message = one_line(&error);
    assert!(message.contains("without a classifier is not supported"), "{message}");
    let error = Reranker::load(checkpoint("static")).await.unwrap_err();
    assert!(one_line(&error).contains("embedding models rerank by likeness"), "{error}");
    let folder = copy("rerank-legacy");
    set(folder.path(), "config.json", "sbert_ce_default_activation_function", json!("torch.nn.Softmax"));
    let error = Reranker::load(folder.path()).await.unwrap_err();
    assert!(one_line(&error).contains("activation_fn \"torch.nn.Softmax\""), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_and_devices_that_are_not_there_are_refused() {
    let load = || TextEmbedding::load(checkpoint("normalize"));
    let error = load().dtype(Dtype::Int8).await.unwrap_err();
    assert!(one_line(&error).starts_with("dtype int8 is not available"), "{error}");
    assert!(load().dtype(Dtype::F32).await.is_ok());
    let error = load().device(DeviceChoice::Cuda(99)).await.unwrap_err();
    assert!(one_line(&error).starts_with("device cuda:99 is not available"), "{error}");
    let error = TextEmbedding::load(checkpoint("static")).dtype(Dtype::Int8).await.unwrap_err();
    assert!(one_line(&error).contains("use auto"), "{error}");
    assert!(TextEmbedding::load(checkpoint("model2vec-int8")).dtype(Dtype::Int8).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapping_out_of_range_is_refused() {
    let folder = copy("model2vec-mapping");
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let json: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let start = 8 + header + json["mapping"]["data_offsets"][0].as_u64().unwrap() as usize;
    bytes[start..start + 8].copy_from_slice(&50_i64.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let message = refusal(folder.path()).await;
    assert!(message.contains("its table of 50 rows does not have"), "{message}");
}
