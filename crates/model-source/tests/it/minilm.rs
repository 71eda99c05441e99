//! A real checkpoint, where it has been fetched.

use candle_core::{DType, Device};
use model_source::{HubOptions, Source, Wanted, Weights};

use crate::models::model;

#[tokio::test]
async fn minilm_resolves_and_its_tensors_fit_its_configuration() {
    let Some(folder) = model("all-MiniLM-L6-v2") else {
        return;
    };
    let source = Source::Folder(folder);
    let wanted = Wanted::model("text-embedding");
    let files = source.resolve(&wanted, &HubOptions::new("unused"), &()).await.unwrap();
    let config: serde_json::Value = files.config().unwrap();
    assert_eq!(config["hidden_size"], 384);
    let pooling: serde_json::Value = files.json("1_Pooling/config.json").unwrap();
    assert_eq!(pooling["pooling_mode_mean_tokens"], true);
    let ids = files.tokenizer().unwrap().encode("hello world", true).unwrap().get_ids().to_vec();
    assert_eq!(ids[..4], [101, 7592, 2088, 102]);
    let weights = Weights::open(&files).unwrap();
    let prefix = weights.prefix(&["", "bert."], "embeddings.word_embeddings.weight").unwrap();
    let builder = weights.var_builder(DType::F32, &Device::Cpu);
    let name = format!("{prefix}embeddings.word_embeddings.weight");
    assert_eq!(builder.get((30522, 384), &name).unwrap().dims(), [30522, 384]);
    let error = builder.get((30522, 768), &name).unwrap_err().to_string();
    assert!(error.contains("has shape [30522, 384], the configuration wants [30522, 768]"), "{error}");
}
