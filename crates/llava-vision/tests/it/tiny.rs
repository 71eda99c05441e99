//! The fixtures' checkpoints, put together as folders of models.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use llava_vision::{LlavaVision, Load, Message, Picture};
use safetensors::{SafeTensors, serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A tiny checkpoint in a folder of its own, and what the reference says of it.
pub(crate) struct Tiny {
    pub(crate) folder: TempDir,
    pub(crate) case: Value,
}

/// How a folder spells what a checkpoint has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Spelling {
    /// As transformers 5 saves it.
    Newer,
    /// As transformers 4 did: configurations without defaults, a processor's file, the template in the tokenizer's.
    Older,
    /// With the names that transformers' classes have: `model.language_model.`, `model.vision_tower.`
    Whole,
}

pub(crate) const SPELLINGS: [Spelling; 3] = [Spelling::Newer, Spelling::Older, Spelling::Whole];

pub(crate) const CASES: [&str; 6] =
    ["llava-llama", "llava-mistral", "llava-siglip", "next-llama", "next-mistral", "next-qwen2"];

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../llava-vision/tests/fixtures/llava")
}

pub(crate) fn picture(name: &str) -> Picture {
    Picture::from(std::fs::read(fixtures().join("pictures").join(name).with_extension("png")).unwrap())
}

impl Tiny {
    pub(crate) fn new(name: &str) -> Self {
        Self::spelled(name, Spelling::Newer)
    }

    pub(crate) fn spelled(name: &str, spelling: Spelling) -> Self {
        let tiny = Self::empty(name);
        let from = fixtures().join(name);
        let configs = if spelling == Spelling::Older { from.join("older") } else { from.clone() };
        for file in ["config.json", "processor_config.json", "preprocessor_config.json"] {
            if configs.join(file).exists() {
                tiny.copy(&configs.join(file));
            }
        }
        tiny.copy(&fixtures().join("tokenizer/tokenizer.json"));
        let mut tokenizer = json(&fixtures().join("tokenizer/tokenizer_config.json"));
        match spelling {
            Spelling::Older => {
                let template =
                    std::fs::read_to_string(fixtures().join("tokenizer/chat_template.jinja")).unwrap();
                tokenizer["chat_template"] = template.into();
            }
            _ => tiny.copy(&fixtures().join("tokenizer/chat_template.jinja")),
        }
        tiny.write("tokenizer_config.json", &tokenizer);
        tiny.copy(&from.join("model.safetensors"));
        tiny.keep_tensors(|name| Some(spelling.tensor(name)));
        tiny
    }

    /// The language model and what reads pictures, each in a GGUF file.
    pub(crate) fn gguf(name: &str) -> Self {
        let tiny = Self::empty(name);
        for file in ["model.gguf", "mmproj-model-f16.gguf"] {
            tiny.copy(&fixtures().join(name).join("gguf").join(file));
        }
        tiny
    }

    fn empty(name: &str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), case: json(&fixtures().join(name).join("case.json")) }
    }

    pub(crate) fn copy(&self, file: &Path) {
        std::fs::copy(file, self.folder.path().join(file.file_name().unwrap())).unwrap();
    }

    pub(crate) fn write(&self, name: &str, content: &Value) {
        std::fs::write(self.folder.path().join(name), content.to_string()).unwrap();
    }

    /// Gives the checkpoint's tensors other names, or leaves them out.
    pub(crate) fn keep_tensors(&self, rename: impl Fn(&str) -> Option<String>) {
        let path = self.folder.path().join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let tensors: BTreeMap<String, _> =
            tensors.iter().filter_map(|(name, tensor)| Some((rename(name)?, tensor))).collect();
        std::fs::write(path, serialize(tensors, None).unwrap()).unwrap();
    }

    /// Changes a field of one of the folder's files.
    pub(crate) fn edit(&self, file: &str, edit: impl FnOnce(&mut Value)) {
        let mut content = json(&self.folder.path().join(file));
        edit(&mut content);
        self.write(file, &content);
    }

    pub(crate) fn load(&self) -> Load {
        LlavaVision::load(self.folder.path()).name("tiny")
    }

    pub(crate) fn conversations(&self) -> Vec<Conversation> {
        let conversations = self.case["conversations"].as_array().unwrap();
        conversations.iter().map(|conversation| Conversation(conversation.clone())).collect()
    }
}

impl Spelling {
    fn tensor(self, name: &str) -> String {
        match self {
            Self::Newer => name.to_owned(),
            Self::Older => name.replace("vision_tower.", "vision_tower.vision_model."),
            Self::Whole => match name.strip_prefix("language_model.") {
                Some("lm_head.weight") => "lm_head.weight".to_owned(),
                Some(rest) => format!("model.language_model.{}", rest.trim_start_matches("model.")),
                None => format!("model.{name}"),
            },
        }
    }
}

/// A conversation of a fixture.
pub(crate) struct Conversation(Value);

impl Conversation {
    pub(crate) fn messages(&self) -> Vec<Message> {
        let message =
            |message: &Value| Message::new(message["role"].as_str().unwrap(), message["content"].clone());
        self.0["messages"].as_array().unwrap().iter().map(message).collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        serde_json::from_value(self.0["pictures"].clone()).unwrap()
    }

    pub(crate) fn pictures(&self) -> Vec<Picture> {
        self.names().iter().map(|name| picture(name)).collect()
    }

    pub(crate) fn ids(&self, field: &str) -> Vec<u32> {
        serde_json::from_value(self.0[field].clone()).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        self.0["text"].as_str().unwrap()
    }
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A message with this many pictures and a text.
pub(crate) fn about(pictures: usize, text: &str) -> Message {
    let mut parts = vec![json!({"type": "image"}); pictures];
    parts.push(json!({"type": "text", "text": text}));
    Message::user(parts)
}

pub(crate) fn tokens(generation: &llava_vision::Generation) -> Vec<u32> {
    generation.choices[0].tokens.iter().map(|written| written.token).collect()
}
