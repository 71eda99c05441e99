//! Folders and single files.

use std::path::Path;

use model_source::{HubOptions, ModelFiles, Source, SourceError, Wanted, Weights};
use serde::Deserialize;
use tempfile::TempDir;

use crate::safetensors_files::{TOKENIZER, safetensors};

#[derive(Debug, Deserialize)]
struct Config {
    hidden_size: usize,
}

async fn resolve(path: &Path) -> Result<ModelFiles, SourceError> {
    let source: Source = path.to_str().unwrap().parse()?;
    source.resolve(&Wanted::model("text-to-text"), &HubOptions::new("unused"), &()).await
}

async fn refusal(path: &Path) -> String {
    let error = resolve(path).await.unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

#[tokio::test]
async fn a_folder_gives_its_files_by_name() {
    let weights = safetensors(&[("w", &[2, 2])]);
    let modules = br#"[{"path":""},{"path":"1_Pooling"},{"path":"2_Normalize"}]"#;
    let folder = folder(&[
        ("config.json", br#"{"hidden_size":384}"#),
        ("tokenizer.json", TOKENIZER.as_bytes()),
        ("modules.json", modules),
        ("1_Pooling/config.json", br#"{"pooling_mode_mean_tokens":true}"#),
        ("onnx/config.json", b"{}"),
        ("README.md", b"hello"),
        ("model.safetensors", &weights),
        ("pytorch_model.bin", b"pickle"),
    ]);
    let files = resolve(folder.path()).await.unwrap();
    let expected =
        ["1_Pooling/config.json", "config.json", "model.safetensors", "modules.json", "tokenizer.json"];
    assert_eq!(files.names().collect::<Vec<_>>(), expected);
    assert_eq!(files.config::<Config>().unwrap().hidden_size, 384);
    assert_eq!(files.weight_bytes(), weights.len() as u64);
    assert_eq!(files.tokenizer().unwrap().encode("hello world", false).unwrap().get_ids(), [1, 2]);
    assert!(files.json_if_any::<serde_json::Value>("generation_config.json").unwrap().is_none());
    assert!(files.text_if_any("chat_template.jinja").unwrap().is_none());
    let pooling: serde_json::Value = files.folder("1_Pooling").config().unwrap();
    assert_eq!(pooling["pooling_mode_mean_tokens"], true);
    assert_eq!(Weights::open(&files).unwrap().names().collect::<Vec<_>>(), ["w"]);
}

#[tokio::test]
async fn the_revision_changes_with_a_file() {
    let folder = folder(&[("config.json", b"{}"), ("model.safetensors", &safetensors(&[("w", &[1])]))]);
    let first = resolve(folder.path()).await.unwrap();
    let again = resolve(folder.path()).await.unwrap();
    assert_eq!(first.revision(), again.revision());
    std::fs::write(folder.path().join("config.json"), b"{ }").unwrap();
    let changed = resolve(folder.path()).await.unwrap();
    assert_ne!(first.revision(), changed.revision());
}

#[tokio::test]
async fn shards_must_all_be_there() {
    let index =
        br#"{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#;
    let a = safetensors(&[("a", &[2])]);
    let b = safetensors(&[("b", &[3])]);
    let folder = folder(&[
        ("model.safetensors.index.json", index),
        ("model-00001-of-00002.safetensors", &a),
        ("model-00002-of-00002.safetensors", &b),
    ]);
    let files = resolve(folder.path()).await.unwrap();
    let weights = Weights::open(&files).unwrap();
    assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(weights.total_bytes(), 20);
    std::fs::remove_file(folder.path().join("model-00002-of-00002.safetensors")).unwrap();
    let files = resolve(folder.path()).await.unwrap();
    let error = Weights::open(&files).unwrap_err().to_string();
    assert!(error.contains("has no model-00002-of-00002.safetensors, which "), "{error}");
}

#[tokio::test]
async fn one_file_is_a_model_with_its_companions() {
    let folder = folder(&[
        ("config.json", br#"{"hidden_size":8}"#),
        ("other.safetensors", &safetensors(&[("o", &[1])])),
        ("model.safetensors", &safetensors(&[("w", &[1])])),
    ]);
    let files = resolve(&folder.path().join("other.safetensors")).await.unwrap();
    assert_eq!(files.config::<Config>().unwrap().hidden_size, 8);
    assert!(Weights::open(&files).unwrap().contains("o"));
}

#[tokio::test]
async fn a_gguf_alone_is_a_model() {
    let folder = folder(&[("tiny.Q4_0.gguf", b"GGUF")]);
    for path in [folder.path().to_owned(), folder.path().join("tiny.Q4_0.gguf")] {
        let files = resolve(&path).await.unwrap();
        assert_eq!(files.gguf(), Some(folder.path().join("tiny.Q4_0.gguf").as_path()));
    }
}

#[tokio::test]
async fn what_is_not_there_is_refused_with_what_to_write() {
    let error = refusal(Path::new("sentence-transformers/no-such-folder")).await;
    let advice = " does not exist; for the hub's model write hf:sentence-transformers/no-such-folder";
    assert!(error.ends_with(advice), "{error}");
    let error = refusal(Path::new("/no/such/folder")).await;
    assert!(error.starts_with("/no/such/folder does not exist; a source is hf:"), "{error}");
    let error = refusal(Path::new("~/models/x")).await;
    assert!(error.contains("write the whole path"), "{error}");
    let error = refusal(Path::new("no/such.gguf")).await;
    assert!(error.starts_with("no/such.gguf does not exist"), "{error}");
    let folder = folder(&[("config.json", b"{}"), ("x.gguf/y", b"")]);
    let error = refusal(&folder.path().join("config.json")).await;
    assert!(error.ends_with("is neither a folder nor a .safetensors file"), "{error}");
    let error = refusal(&folder.path().join("x.gguf")).await;
    assert!(error.ends_with("x.gguf is not a file"), "{error}");
    let error = refusal(&folder.path().join("config.json/below")).await;
    assert!(error.contains("does not exist"), "{error}");
}

#[tokio::test]
async fn a_folder_without_usable_weights_is_refused() {
    let empty = folder(&[("config.json", b"{}")]);
    let error = refusal(empty.path()).await;
    assert!(error.contains(" has no weights (model.safetensors, "), "{error}");
    let pickled = folder(&[("config.json", b"{}"), ("pytorch_model.bin", b"pickle")]);
    let error = refusal(pickled.path()).await;
    assert!(
        error.ends_with("(pytorch_model.bin), which is never read; convert them to safetensors"),
        "{error}"
    );
    let source: Source = pickled.path().to_str().unwrap().parse().unwrap();
    let wanted = Wanted::without_weights("text-embedding");
    let files = source.resolve(&wanted, &HubOptions::new("unused"), &()).await.unwrap();
    assert_eq!(files.names().collect::<Vec<_>>(), ["config.json"]);
    let error = Weights::open(&files).unwrap_err().to_string();
    assert!(error.ends_with("has no weights"), "{error}");
}

#[tokio::test]
async fn a_configuration_that_does_not_fit_is_refused_by_its_field() {
    for (config, expected) in [
        (r#"{"hidden_size":"big"}"#, "config.json is not valid: hidden_size: invalid type: string \"big\""),
        (r#"{"hidden_size":-1}"#, "config.json is not valid: hidden_size: invalid value: integer `-1`"),
        (r#"{}"#, "config.json is not valid: missing field `hidden_size`"),
        (r#"{"hidden_size":1"#, "config.json is not valid: EOF while parsing"),
        (r#"{"hidden_size":1} x"#, "config.json is not valid: trailing characters"),
        ("\u{feff}[]", "config.json is not valid: "),
    ] {
        let folder = folder(&[("config.json", config.as_bytes()), ("model.safetensors", b"")]);
        let files = resolve(folder.path()).await.unwrap();
        let error = files.config::<Config>().unwrap_err().to_string();
        assert!(error.contains(expected) && error.lines().count() == 1, "{expected}: {error}");
    }
    let folder = folder(&[("model.safetensors", b""), ("tokenizer.json", b"{}")]);
    let files = resolve(folder.path()).await.unwrap();
    let error = files.config::<Config>().unwrap_err().to_string();
    assert!(error.ends_with(" has no config.json, so the model's architecture is unknown"), "{error}");
    let error = files.tokenizer().unwrap_err().to_string();
    assert!(error.contains("tokenizer.json is no tokenizer: "), "{error}");
    let error = resolve(&folder.path().join("model.safetensors")).await.unwrap();
    std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let error = error.tokenizer().unwrap_err().to_string();
    assert!(error.starts_with("cannot read "), "{error}");
}

#[tokio::test]
async fn a_manifest_cannot_lead_out_of_the_folder() {
    let folder = folder(&[("modules.json", br#"[{"path":"../secrets"}]"#), ("model.safetensors", b"")]);
    let error = refusal(folder.path()).await;
    assert!(error.contains("leads out of the model's folder"), "{error}");
    std::fs::write(folder.path().join("modules.json"), b"{").unwrap();
    let error = refusal(folder.path()).await;
    assert!(error.contains("modules.json is not valid: "), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn what_may_not_be_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder(&[("config.json", b"{}"), ("model.safetensors", &safetensors(&[("w", &[1])]))]);
    let weights = folder.path().join("model.safetensors");
    std::fs::set_permissions(&weights, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&weights).is_ok() {
        // The superuser may read everything: a file that vanishes after it was found stands in.
        let files = resolve(folder.path()).await.unwrap();
        std::fs::remove_file(&weights).unwrap();
        let error = Weights::open(&files).unwrap_err().to_string();
        assert!(error.starts_with("cannot read "), "{error}");
        return;
    }
    let files = resolve(folder.path()).await.unwrap();
    let error = Weights::open(&files).unwrap_err().to_string();
    assert!(error.contains("model.safetensors: Permission denied"), "{error}");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o000)).unwrap();
    let error = refusal(folder.path()).await;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(error.starts_with("cannot read ") && error.contains("Permission denied"), "{error}");
}

#[tokio::test]
async fn a_built_in_model_that_is_not_there_is_refused_by_name() {
    let source: Source = "builtin:no-such-model".parse().unwrap();
    let wanted = Wanted::model("text-embedding");
    let error = source.resolve(&wanted, &HubOptions::new("unused"), &()).await.unwrap_err().to_string();
    assert!(error.starts_with("there is no built-in model \"no-such-model\"; there "), "{error}");
    let source: Source = "builtin".parse().unwrap();
    let wanted = Wanted::model("no-such-modality");
    let error = source.resolve(&wanted, &HubOptions::new("unused"), &()).await.unwrap_err().to_string();
    assert!(error.starts_with("there is no built-in model for no-such-modality; there "), "{error}");
}
