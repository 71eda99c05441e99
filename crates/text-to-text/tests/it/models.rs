//! Where tests find models: tiny ones among nn's fixtures, trained ones under `target/models`.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use text_to_text::{Bytes, Load, TextToText};

/// A tiny decoder with random weights, in the layout of Hugging Face; and what its reference says.
pub(crate) struct Tiny {
    pub(crate) folder: TempDir,
    pub(crate) fixture: Value,
}

/// Letters, digits and punctuation: what the tokens of a tiny decoder spell, one each.
pub(crate) const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!";

/// A small conversation's template.
pub(crate) const TEMPLATE: &str = "{% for message in messages %}{{ message.role }}:{{ message.content }};{% endfor %}\
     {% if add_generation_prompt %}assistant:{% endif %}";

impl Tiny {
    /// One of nn's fixtures. Its tokens are letters, and none of them ends a text.
    pub(crate) fn new(name: &str) -> Self {
        let decoders = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nn/tests/fixtures/decoders");
        let fixture = std::fs::read(decoders.join(format!("{name}.json"))).unwrap();
        let fixture: Value = serde_json::from_slice(&fixture).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let weights = decoders.join(fixture["weights"].as_str().unwrap());
        std::fs::copy(weights, folder.path().join("model.safetensors")).unwrap();
        let tiny = Self { folder, fixture };
        tiny.write("config.json", &tiny.fixture["config"]);
        assert_eq!(tiny.fixture["config"]["vocab_size"], LETTERS.len());
        let vocabulary: Map<String, Value> =
            LETTERS.chars().enumerate().map(|(id, letter)| (letter.to_string(), id.into())).collect();
        tiny.write(
            "tokenizer.json",
            &json!({
                "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
                "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
                "post_processor": null,
                "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
                "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
            }),
        );
        tiny.write("tokenizer_config.json", &json!({"chat_template": TEMPLATE}));
        tiny
    }

    pub(crate) fn write(&self, name: &str, content: &Value) {
        std::fs::write(self.folder.path().join(name), content.to_string()).unwrap();
    }

    pub(crate) fn load(&self) -> Load {
        TextToText::load(self.folder.path()).name("tiny")
    }

    pub(crate) fn ids(&self, field: &str) -> Vec<u32> {
        self.fixture[field].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    }

    /// What the reference was given, and what it wrote.
    pub(crate) fn greedy(&self) -> (Vec<u32>, Vec<u32>) {
        let prompt = self.fixture["prompt"].as_u64().unwrap() as usize;
        (self.ids("tokens")[..prompt].to_vec(), self.ids("greedy"))
    }
}

/// A trained model, if it has been fetched. Where `CANDLEPOOL_REQUIRE_MODELS` is 1 it must have been.
pub(crate) fn trained(name: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    let folder = target.join("models").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    let required = std::env::var("CANDLEPOOL_REQUIRE_MODELS").is_ok_and(|value| value == "1");
    assert!(!required, "{} is not there; run cargo xtask models", folder.display());
    // Not eprintln: the test harness would keep it to itself.
    let _ = writeln!(std::io::stderr(), "skipped: {name} is not there; run cargo xtask models");
    None
}

/// The one chat model among them, with a cache that tests have room for.
pub(crate) fn smollm() -> Option<Load> {
    let folder = trained("SmolLM2-135M-Instruct")?;
    Some(TextToText::load(folder).name("smollm").kv_cache(Bytes(96 << 20)))
}
