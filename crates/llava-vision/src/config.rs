//! What is computed, as `config.json` says it in the spellings of transformers 4 and 5.

use nn::{NnError, TowerActivation, VisionArchitecture, VisionConfig};
use serde_json::{Map, Value, json};

use crate::grid::Size;

/// Which of the two ways of laying out a picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    /// LLaVA 1.5: the picture as a whole.
    Llava,
    /// LLaVA-NeXT: the whole, and tiles of one of these resolutions.
    LlavaNext {
        /// The resolutions, each in whole tiles.
        pinpoints: Vec<Size>,
    },
}

/// A LLaVA model, without what only its tower and its language model know.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct LlavaConfig {
    pub(crate) family: Family,
    /// The tower's configuration.
    pub(crate) vision: VisionConfig,
    /// The language model's, for nn to read.
    pub(crate) text: Value,
    /// The token that stands for a picture. `None`: the configuration knows no tokens.
    pub(crate) image_token: Option<u32>,
    /// Which of the tower's hidden states are taken side by side: 0 is what goes into its first layer.
    pub(crate) layers: Vec<usize>,
    /// Whether the first row of the tower is left out: the class token, where there is one.
    pub(crate) drop_first: bool,
    /// Patches along a side of a tile.
    pub(crate) side: usize,
    /// The activation between the projector's two maps.
    pub(crate) projector_activation: TowerActivation,
    pub(crate) projector_bias: bool,
}

/// What the classes take where no tower is described at all; where one is, the tower's own class has the defaults.
fn default_tower() -> Value {
    json!({
        "model_type": "clip_vision_model", "intermediate_size": 4096, "hidden_size": 1024, "patch_size": 14,
        "image_size": 336, "num_hidden_layers": 24, "num_attention_heads": 16, "projection_dim": 768,
    })
}

/// The resolutions that LLaVA-NeXT's classes, the model's and the processor's, take where none are said.
pub(crate) const PINPOINTS: [[u64; 2]; 5] = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]];

/// Pixels along a side of a resolution: as many as image processors make.
const LONGEST: usize = 1 << 14;

/// Fields of the top that are about other things than the mathematics, though their names have a part of [`SUSPECT`].
/// Whether there is a newline is one that the class has never asked: there is.
const HARMLESS: [&str; 4] =
    ["image_seq_length", "use_image_newline_parameter", "vision_config", "text_config"];

/// Parts of names that fields which change what becomes of a picture have.
const SUSPECT: [&str; 9] =
    ["vision", "image", "projector", "multimodal", "mm_", "spatial", "patch", "downsampl", "pool"];

const SUPPORTED: &str = "llava and llava_next in transformers' layout are";

impl LlavaConfig {
    /// Reads the content of a `config.json`.
    ///
    /// # Errors
    /// [`NnError::Unsupported`] for another architecture and for what changes the mathematics and is not computed here,
    /// [`NnError::InvalidConfig`] for fields that are no configuration.
    pub(crate) fn from_huggingface(config: &Value) -> Result<Self, NnError> {
        let object = config
            .as_object()
            .ok_or_else(|| NnError::InvalidConfig("the configuration is no JSON object".to_owned()))?;
        Reader { object, known: Vec::new() }.read()
    }

    /// Rows that the tower gives for one tile.
    pub(crate) fn tile_rows(&self) -> usize {
        self.side * self.side + self.vision.leading_tokens() - usize::from(self.drop_first)
    }
}

struct Reader<'a> {
    object: &'a Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    fn read(mut self) -> Result<LlavaConfig, NnError> {
        let is_next = match self.text("model_type")? {
            Some("llava") => false,
            Some("llava_next") => true,
            Some(other) => return Err(unsupported(format!("model_type {other:?}"), SUPPORTED)),
            None => {
                return Err(invalid("the configuration has no model_type, so the architecture is unknown"));
            }
        };
        if let Some(quantization) = self.get("quantization_config") {
            return Err(unsupported(
                format!("quantization_config {quantization}"),
                "weights in f32, f16 or bf16 are, and GGUF files",
            ));
        }
        let vision = self.tower()?;
        let found = LlavaConfig {
            family: if is_next {
                Family::LlavaNext { pinpoints: self.pinpoints(vision.image_size)? }
            } else {
                Family::Llava
            },
            text: self.language_model(is_next)?,
            image_token: Some(self.image_token()?),
            layers: self.layers(&vision)?,
            drop_first: self.drops_first()?,
            side: vision.image_size / vision.patch_size,
            projector_activation: self.activation()?,
            projector_bias: self.flag("multimodal_projector_bias", true)?,
            vision,
        };
        self.refuse_unknown()?;
        if is_next && found.tile_rows() != found.side * found.side {
            let strategy = if found.drop_first { "default" } else { "full" };
            return Err(unsupported(
                format!("vision_feature_select_strategy {strategy:?} with this tower in llava_next"),
                "a row for each patch is: \"default\" where the tower has a class token, \"full\" where it has none",
            ));
        }
        Ok(found)
    }

    /// A configuration in this one, with the model type that it has where it does not say.
    fn part(&mut self, name: &'static str, model_type: &str) -> Result<Option<Value>, NnError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(fields)) => {
                let mut fields = fields.clone();
                fields.entry("model_type").or_insert_with(|| model_type.into());
                Ok(Some(Value::Object(fields)))
            }
            Some(other) => Err(wrong(name, other, "an object")),
        }
    }

    fn tower(&mut self) -> Result<VisionConfig, NnError> {
        let vision = self.part("vision_config", "clip_vision_model")?.unwrap_or_else(default_tower);
        let read = VisionConfig::from_huggingface(&vision)?;
        match read.architecture {
            VisionArchitecture::Clip | VisionArchitecture::Siglip => Ok(read),
            _ => {
                let what = format!("vision_config.model_type {}", vision["model_type"]);
                Err(unsupported(what, "clip_vision_model and siglip_vision_model are"))
            }
        }
    }

    fn activation(&mut self) -> Result<TowerActivation, NnError> {
        let field = "projector_hidden_act";
        TowerActivation::named(field, self.text(field)?.unwrap_or("gelu"))
    }

    fn language_model(&mut self, is_next: bool) -> Result<Value, NnError> {
        let mut text = self.part("text_config", "llama")?.unwrap_or_else(|| json!({"model_type": "llama"}));
        match text["model_type"].as_str() {
            Some("llama" | "mistral" | "qwen2") => {}
            _ => {
                let what = format!("text_config.model_type {}", text["model_type"]);
                return Err(unsupported(what, "llama, mistral and qwen2 are"));
            }
        }
        // LlavaConfig ties if either level says so, LlavaNextConfig if the upper one does.
        let ties = self.flag("tie_word_embeddings", false)?;
        if ties || is_next {
            text["tie_word_embeddings"] = ties.into();
        }
        Ok(text)
    }

    fn image_token(&mut self) -> Result<u32, NnError> {
        // Newer configurations may have both, and the same in them.
        let newer = self.count("image_token_id")?;
        let token = self.count("image_token_index")?.or(newer).unwrap_or(32_000);
        u32::try_from(token)
            .map_err(|_| invalid(format!("image_token_index is {token}, which is no token's id")))
    }

    /// The hidden states to take, counted from the first.
    fn layers(&mut self, vision: &VisionConfig) -> Result<Vec<usize>, NnError> {
        let name = "vision_feature_layer";
        let default = json!(-2);
        let value = self.get(name).unwrap_or(&default);
        let asked = match value {
            Value::Array(several) => several.iter().map(Value::as_i64).collect(),
            one => one.as_i64().map(|one| vec![one]),
        };
        let asked: Vec<i64> = asked
            .filter(|asked: &Vec<i64>| !asked.is_empty())
            .ok_or_else(|| wrong(name, value, "an integer or a list of integers"))?;
        let hidden = |layer: &i64| match vision.hidden_layer(*layer) {
            Err(NnError::InvalidConfig(reason)) => Err(invalid(format!("{name} has {layer}: {reason}"))),
            found => found,
        };
        asked.iter().map(hidden).collect()
    }

    fn drops_first(&mut self) -> Result<bool, NnError> {
        match self.text("vision_feature_select_strategy")?.unwrap_or("default") {
            "default" => Ok(true),
            "full" => Ok(false),
            other => Err(unsupported(
                format!("vision_feature_select_strategy {other:?}"),
                "\"default\" and \"full\" are",
            )),
        }
    }

    fn pinpoints(&mut self, image_size: usize) -> Result<Vec<Size>, NnError> {
        let name = "image_grid_pinpoints";
        let default = json!(PINPOINTS);
        let value = self.get(name).unwrap_or(&default);
        let pair = |value: &Value| match value.as_array().map(Vec::as_slice) {
            Some([height, width]) => Some((height.as_u64()? as usize, width.as_u64()? as usize)),
            _ => None,
        };
        let pairs: Option<Vec<(usize, usize)>> =
            value.as_array().and_then(|pairs| pairs.iter().map(pair).collect());
        let pairs = pairs
            .filter(|pairs| !pairs.is_empty())
            .ok_or_else(|| wrong(name, value, "a list of pairs of height and width"))?;
        let whole = |side: usize| side > 0 && side.is_multiple_of(image_size);
        if let Some((height, width)) = pairs.iter().find(|(height, width)| !whole(*height) || !whole(*width))
        {
            return Err(unsupported(
                format!("{name} with [{height}, {width}]"),
                &format!("multiples of the tower's image_size, {image_size}, are"),
            ));
        }
        if let Some((height, width)) = pairs.iter().find(|(height, width)| *height.max(width) > LONGEST) {
            return Err(unsupported(
                format!("{name} with [{height}, {width}]"),
                &format!("sides of up to {LONGEST} pixels are"),
            ));
        }
        Ok(pairs.into_iter().map(|(height, width)| Size { height, width }).collect())
    }

    fn refuse_unknown(&self) -> Result<(), NnError> {
        let unknown = self.object.iter().find(|(name, value)| {
            let is_known = self.known.contains(&name.as_str()) || HARMLESS.contains(&name.as_str());
            let is_off = value.is_null() || **value == Value::Bool(false);
            !is_known && !is_off && SUSPECT.iter().any(|part| name.contains(part))
        });
        match unknown {
            Some((name, value)) => Err(unsupported(
                format!("{name} {value}"),
                "what transformers' LlavaConfig and LlavaNextConfig read is",
            )),
            None => Ok(()),
        }
    }

    /// A field that is there and not null.
    fn get(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &'static str) -> Result<Option<&'a str>, NnError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(|| wrong(name, value, "a string")),
        }
    }

    fn flag(&mut self, name: &'static str, default: bool) -> Result<bool, NnError> {
        match self.get(name) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| wrong(name, value, "true or false")),
        }
    }

    fn count(&mut self, name: &'static str) -> Result<Option<u64>, NnError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| wrong(name, value, "a count")),
        }
    }
}

fn unsupported(what: impl Into<String>, supported: &str) -> NnError {
    NnError::Unsupported { what: what.into(), supported: supported.to_owned() }
}

fn invalid(reason: impl Into<String>) -> NnError {
    NnError::InvalidConfig(reason.into())
}

fn wrong(name: &str, value: &Value, wanted: &str) -> NnError {
    invalid(format!("{name} is {value}, it must be {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: Value) -> Result<LlavaConfig, String> {
        LlavaConfig::from_huggingface(&config).map_err(|error| error.to_string())
    }

    fn fixture(name: &str) -> Value {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llava");
        serde_json::from_slice(&std::fs::read(folder.join(name).join("config.json")).unwrap()).unwrap()
    }

    #[test]
    fn both_spellings_say_the_same() {
        for name in
            ["llava-llama", "llava-mistral", "llava-siglip", "next-llama", "next-mistral", "next-qwen2"]
        {
            let (newer, older) =
                (read(fixture(name)).unwrap(), read(fixture(&format!("{name}/older"))).unwrap());
            let parts = |config: &LlavaConfig| nn::DecoderConfig::from_huggingface(&config.text).unwrap();
            assert_eq!(parts(&newer), parts(&older), "{name}");
            assert_eq!(newer.image_token, Some(3));
            assert_eq!(
                LlavaConfig { text: Value::Null, ..newer },
                LlavaConfig { text: Value::Null, ..older }
            );
        }
    }

    #[test]
    fn what_is_absent_has_the_classes_defaults() {
        let llava = read(json!({"model_type": "llava"})).unwrap();
        assert_eq!(
            (llava.side, llava.vision.image_size, llava.layers.as_slice()),
            (24, 336, [23].as_slice())
        );
        assert_eq!((llava.tile_rows(), llava.image_token, llava.drop_first), (576, Some(32_000), true));
        assert_eq!((llava.projector_activation, llava.projector_bias), (TowerActivation::Gelu, true));
        assert_eq!(llava.text, json!({"model_type": "llama"}));
        // A tower that is described has its own class's defaults.
        let named =
            read(json!({"model_type": "llava_next", "vision_config": {"image_size": 336, "patch_size": 14}}));
        let named = named.unwrap();
        assert_eq!((named.side, named.layers.as_slice()), (24, [11].as_slice()));
        let Family::LlavaNext { pinpoints } = named.family else { panic!("{:?}", named.family) };
        assert_eq!(pinpoints.len(), 5);
        assert_eq!(pinpoints[0], Size { height: 336, width: 672 });
    }

    /// All that transformers 4 once wrote into each part of a configuration, whatever it was for.
    fn dumped(mut part: Value) -> Value {
        let leftovers = r#"{ "_name_or_path": "", "add_cross_attention": false, "architectures": ["X"], "bad_words_ids": null,
            "begin_suppress_tokens": null, "chunk_size_feed_forward": 0, "cross_attention_hidden_size": null,
            "decoder_start_token_id": null, "diversity_penalty": 0.0, "do_sample": false, "dropout": 0.0,
            "early_stopping": false, "encoder_no_repeat_ngram_size": 0, "exponential_decay_length_penalty":
            null, "finetuning_task": null, "id2label": {"0": "LABEL_0"}, "initializer_factor": 1.0,
            "is_decoder": false, "is_encoder_decoder": false, "label2id": {"LABEL_0": 0}, "length_penalty": 1.0,
            "max_length": 20, "num_beam_groups": 1, "num_beams": 1, "num_return_sequences": 1,
            "output_attentions": false, "output_hidden_states": false, "prefix": null, "problem_type": null,
            "pruned_heads": {}, "remove_invalid_values": false, "return_dict": true, "sep_token_id": null,
            "temperature": 1.0, "tie_encoder_decoder": false, "tie_word_embeddings": true, "tokenizer_class":
            null, "top_k": 50, "torch_dtype": null, "torchscript": false, "typical_p": 1.0, "use_bfloat16":
            false, "vocab_size": 32064}"#;
        let leftovers: Value = serde_json::from_str(leftovers).unwrap();
        for (name, value) in leftovers.as_object().unwrap() {
            let fields = part.as_object_mut().unwrap();
            fields.entry(name.as_str()).or_insert_with(|| value.clone());
        }
        part
    }

    #[test]
    fn configurations_of_published_models_are_read() {
        let tower = json!({"model_type": "clip_vision_model", "hidden_size": 1024, "image_size": 336,
            "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14,
            "projection_dim": 768});
        let vicuna = read(json!({
            "architectures": ["LlavaForConditionalGeneration"], "ignore_index": -100, "image_token_index": 32000,
            "model_type": "llava", "pad_token_id": 32001, "projector_hidden_act": "gelu", "image_seq_length": 576,
            "text_config": {"_name_or_path": "lmsys/vicuna-7b-v1.5", "architectures": ["LlamaForCausalLM"],
                "max_position_embeddings": 4096, "model_type": "llama", "rms_norm_eps": 1e-05,
                "torch_dtype": "float16", "vocab_size": 32064},
            "tie_word_embeddings": false, "torch_dtype": "float16", "transformers_version": "4.36.0.dev0",
            "vision_config": tower, "vision_feature_layer": -2, "vision_feature_select_strategy": "default",
            "vocab_size": 32064,
        }));
        let vicuna = vicuna.unwrap();
        assert_eq!((vicuna.tile_rows(), vicuna.layers.as_slice()), (576, [23].as_slice()));
        let language = nn::DecoderConfig::from_huggingface(&vicuna.text).unwrap();
        assert_eq!((language.hidden_size, language.output), (4096, nn::OutputHead::Separate));
        let mistral = read(json!({
            "architectures": ["LlavaNextForConditionalGeneration"], "ignore_index": -100, "image_token_index": 32000,
            "image_grid_pinpoints": [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]],
            "model_type": "llava_next", "projector_hidden_act": "gelu", "use_image_newline_parameter": true,
            "text_config": dumped(json!({"model_type": "mistral", "intermediate_size": 14336,
                "max_position_embeddings": 32768, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
                "rope_theta": 1_000_000.0, "sliding_window": null, "tie_word_embeddings": false})),
            "vision_config": dumped(tower), "vision_feature_layer": -2, "vision_feature_select_strategy": "default",
            "torch_dtype": "float16", "vocab_size": 32064,
        }));
        let mistral = mistral.unwrap();
        assert_eq!(mistral.most(), (576 + 48 * 49, 5));
        let language = nn::DecoderConfig::from_huggingface(&mistral.text).unwrap();
        assert!(language.layers.iter().all(|layer| layer.window.is_none()));
    }

    #[test]
    fn the_head_is_tied_where_the_class_says_so() {
        for (model_type, whole, text, wanted) in [
            ("llava", false, false, nn::OutputHead::Separate),
            ("llava", false, true, nn::OutputHead::Tied),
            ("llava", true, false, nn::OutputHead::Tied),
            ("llava_next", false, false, nn::OutputHead::Separate),
            ("llava_next", false, true, nn::OutputHead::Separate),
            ("llava_next", true, false, nn::OutputHead::Tied),
        ] {
            let text = json!({"model_type": "qwen2", "tie_word_embeddings": text});
            let config = json!({"model_type": model_type, "tie_word_embeddings": whole, "text_config": text});
            let language = nn::DecoderConfig::from_huggingface(&read(config).unwrap().text).unwrap();
            assert_eq!(language.output, wanted, "{model_type}, {whole}, {text}");
        }
    }

    #[test]
    fn layers_are_counted_from_either_end() {
        let tower = json!({"num_hidden_layers": 4});
        let layers = |layers: Value| {
            let config =
                json!({"model_type": "llava", "vision_config": tower, "vision_feature_layer": layers});
            read(config).map(|config| config.layers)
        };
        assert_eq!(layers(json!(-1)).unwrap(), [4]);
        assert_eq!(layers(json!(-5)).unwrap(), [0]);
        assert_eq!(layers(json!([-3, 1, 4])).unwrap(), [2, 1, 4]);
        let error = layers(json!(-6)).unwrap_err();
        assert!(error.starts_with("vision_feature_layer has -6: there is no hidden state -6"), "{error}");
        assert!(layers(json!(5)).unwrap_err().contains("has 5"));
        assert!(layers(json!([])).unwrap_err().contains("an integer or a list of integers"));
        assert!(layers(json!("last")).unwrap_err().contains("an integer or a list of integers"));
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        for (field, value, named) in [
            ("model_type", json!("llava_onevision"), "model_type \"llava_onevision\""),
            ("vision_feature_select_strategy", json!("cls"), "vision_feature_select_strategy \"cls\""),
            ("text_config", json!({"model_type": "phi"}), "text_config.model_type \"phi\""),
            ("vision_config", json!({"model_type": "pixtral"}), "model_type \"pixtral\""),
            ("vision_config", json!({"model_type": "dinov2"}), "vision_config.model_type \"dinov2\""),
            ("projector_hidden_act", json!("relu"), "projector_hidden_act \"relu\""),
            ("vision_config", json!({"patch_size": 999}), "image_size 224 is smaller than patch_size 999"),
            ("vision_config", json!({"patch_size": 0}), "patch_size"),
            ("vision_config", json!(7), "vision_config is 7"),
            ("quantization_config", json!({"bits": 4}), "quantization_config {\"bits\":4}"),
            ("mm_patch_merge_type", json!("flat"), "mm_patch_merge_type \"flat\""),
            ("spatial_merge_size", json!(2), "spatial_merge_size 2"),
            ("image_token_index", json!(-200), "image_token_index is -200"),
        ] {
            let mut config = json!({"model_type": "llava"});
            config[field] = value;
            let error = read(config).unwrap_err();
            assert!(error.contains(named), "{field}: {error}");
        }
        let next = |field: &str, value: Value| {
            let mut config = json!({"model_type": "llava_next"});
            config[field] = value;
            read(config)
        };
        let error = next("image_grid_pinpoints", json!([[336, 600]])).unwrap_err();
        assert!(error.starts_with("image_grid_pinpoints with [336, 600] is not supported"), "{error}");
        assert!(next("image_grid_pinpoints", json!([])).unwrap_err().contains("a list of pairs"));
        let tiles = |most: u64| {
            json!({"model_type": "llava_next", "vision_config": {"image_size": 256},
                "image_grid_pinpoints": [[256, 512], [256, most]]})
        };
        assert_eq!(read(tiles(16_384)).unwrap().most().1, 1 + 64);
        for most in [16_640, (u64::MAX >> 9) << 9] {
            let error = read(tiles(most)).unwrap_err();
            let wanted = format!(
                "image_grid_pinpoints with [256, {most}] is not supported: sides of up to 16384 pixels are"
            );
            assert_eq!(error, wanted);
        }
        let error = next("vision_feature_select_strategy", json!("full")).unwrap_err();
        assert!(error.contains("\"full\" with this tower in llava_next"), "{error}");
    }
}
