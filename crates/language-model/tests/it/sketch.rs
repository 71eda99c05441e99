//! A modality whose pictures are of letters: the row of a letter is its token's own embedding, so a prompt with a picture
//! must be answered as the text is that the picture shows.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Tensor};
use language_model::{
    Error, LanguageModel, Load, Modality, Picture, ReadsPictures, RenderedSpecial, TowerError, Vision,
    VisionFiles, VisionTower,
};
use pool_core::{Bytes, Footprint, ModelError};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

#[derive(Clone, Debug)]
pub(crate) enum Sketch {}

impl Modality for Sketch {
    const NAME: &'static str = "sketch";
    type Vision = Reader;
}

impl ReadsPictures for Sketch {}

/// A picture of a text. `?` in it cannot be decoded, `~` cannot be computed, `#` crashes, a space has no size.
#[derive(Clone, Debug)]
pub(crate) struct Letters(pub(crate) String);

impl From<&str> for Letters {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl Picture for Letters {
    fn encoded(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[derive(Debug)]
pub(crate) struct Reader {
    place: String,
    embeddings: Tensor,
    image_token: String,
    special: RenderedSpecial,
}

#[derive(Debug)]
pub(crate) struct Copier {
    place: String,
    embeddings: Tensor,
}

/// The letters of a picture, and how many of them are done.
#[derive(Debug)]
pub(crate) struct Pass {
    letters: Vec<u32>,
    rows: Vec<Tensor>,
}

/// How many pictures were begun with, by the place of the model's files.
static BEGUN: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());

impl Vision for Reader {
    type Picture = Letters;
    type Pixels = Vec<u32>;
    type Tower = Copier;

    fn read(files: &VisionFiles<'_>) -> Result<Option<Self>, Error> {
        let found = files.vision.unwrap_or(files.language);
        let Some(config) = found.json_if_any::<Map<String, Value>>("preprocessor_config.json")? else {
            return Ok(None);
        };
        let weights = found.weight_files().next().unwrap();
        let weights = candle_core::safetensors::load_buffer(&weights.read()?, &Device::Cpu).unwrap();
        let embeddings = weights["model.embed_tokens.weight"].to_dtype(DType::F32).unwrap();
        assert_eq!(embeddings.dims()[1], files.hidden_size);
        let special = config.get("special").and_then(Value::as_bool).unwrap_or_default();
        Ok(Some(Self {
            place: files.language.place().to_owned(),
            embeddings,
            image_token: config["image_token"].as_str().unwrap().to_owned(),
            special: if special { RenderedSpecial::UnlessWritten } else { RenderedSpecial::Never },
        }))
    }

    fn architecture(&self) -> &str {
        "sketch"
    }

    fn image_token(&self) -> &str {
        &self.image_token
    }

    fn rendered_special(&self) -> RenderedSpecial {
        self.special
    }

    fn tokens(&self, picture: &Letters) -> Result<usize, ModelError> {
        match picture.0.contains(' ') {
            true => Err(ModelError::invalid("it has no size")),
            false => Ok(picture.0.len()),
        }
    }

    fn most_tokens(&self) -> usize {
        40
    }

    fn preparing_bytes(&self, picture: &Letters) -> u64 {
        1000 * picture.0.len() as u64
    }

    fn prepare(&self, picture: &Letters) -> Result<Vec<u32>, ModelError> {
        if picture.0.contains('?') {
            return Err(ModelError::invalid("the picture is damaged: it ends in its middle"));
        }
        let id = |letter: char| match letter {
            '#' => CRASH,
            letter => LETTERS.find(letter).map_or(u32::MAX, |at| at as u32),
        };
        Ok(picture.0.chars().map(id).collect())
    }

    fn pixel_bytes(&self, pixels: &Vec<u32>) -> usize {
        size_of_val(pixels.as_slice())
    }

    fn footprint(&self) -> Footprint {
        Footprint { weights: Bytes(1 << 20), working_set: Bytes(1 << 10) }
    }

    fn load(&self) -> Result<Copier, Error> {
        Ok(Copier { place: self.place.clone(), embeddings: self.embeddings.clone() })
    }
}

impl VisionTower for Copier {
    type Pixels = Vec<u32>;
    type Pass = Pass;

    fn begin(&self, pixels: &Vec<u32>) -> Result<Pass, TowerError> {
        *BEGUN.lock().unwrap_or_else(PoisonError::into_inner).entry(self.place.clone()).or_default() += 1;
        Ok(Pass { letters: pixels.clone(), rows: Vec::new() })
    }

    fn advance(
        &self,
        pass: &mut Pass,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Tensor>, TowerError> {
        assert!(!pass.letters.contains(&CRASH), "told to");
        while let Some(&letter) = pass.letters.get(pass.rows.len()) {
            if letter == u32::MAX {
                return Err("it shows what is no letter".into());
            }
            pass.rows.push(self.embeddings.narrow(0, letter as usize, 1)?);
            if !go_on() {
                break;
            }
        }
        if pass.rows.len() < pass.letters.len() {
            return Ok(None);
        }
        Ok(Some(Tensor::cat(&pass.rows, 0)?))
    }
}

/// Stands for what crashes the tower.
const CRASH: u32 = u32::MAX - 1;

/// What the tokens of a tiny decoder spell, one each.
pub(crate) const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!";

/// A template that knows parts.
pub(crate) const PARTS: &str = "{% for message in messages %}{{ message.role }}:{% if message.content is string %}{{ message.content }}\
     {% else %}{% for part in message.content %}{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}\
     {% endfor %}{% endif %};{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";

/// A tiny decoder with random weights, in the layout of Hugging Face.
pub(crate) struct Tiny {
    pub(crate) folder: TempDir,
}

impl Tiny {
    pub(crate) fn new() -> Self {
        let decoders = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nn/tests/fixtures/decoders");
        let fixture: Value =
            serde_json::from_slice(&std::fs::read(decoders.join("smollm2.json")).unwrap()).unwrap();
        let tiny = Self { folder: tempfile::tempdir().unwrap() };
        let weights = decoders.join(fixture["weights"].as_str().unwrap());
        std::fs::copy(weights, tiny.folder.path().join("model.safetensors")).unwrap();
        tiny.write("config.json", &fixture["config"]);
        tiny.tokenizer(&json!(null));
        tiny.write("tokenizer_config.json", &json!({"chat_template": PARTS}));
        tiny.write("preprocessor_config.json", &json!({"image_token": "<image>"}));
        tiny
    }

    /// A tokenizer of letters, with what puts tokens around a text.
    pub(crate) fn tokenizer(&self, post_processor: &Value) {
        let vocabulary: Map<String, Value> =
            LETTERS.chars().enumerate().map(|(id, letter)| (letter.to_string(), id.into())).collect();
        self.write(
            "tokenizer.json",
            &json!({
                "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
                "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
                "post_processor": post_processor,
                "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
                "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
            }),
        );
    }

    pub(crate) fn write(&self, name: &str, content: &Value) {
        std::fs::write(self.folder.path().join(name), content.to_string()).unwrap();
    }

    pub(crate) fn load(&self) -> Load<Sketch> {
        LanguageModel::load(self.folder.path()).name("tiny").deterministic(true)
    }

    /// How many pictures its tower has begun with.
    pub(crate) fn begun(&self) -> usize {
        let begun = BEGUN.lock().unwrap_or_else(PoisonError::into_inner);
        let place = self.folder.path().display().to_string();
        begun.get(&place).copied().unwrap_or_default()
    }
}
