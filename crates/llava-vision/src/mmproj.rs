//! What llama.cpp calls mmproj: a GGUF file with the tower and the projector. Its metadata is told as the configuration that
//! transformers would have, and its tensors are found under transformers' names.
//!
//! Names and keys: `tools/mtmd/clip-impl.h` and `tools/mtmd/legacy-models/convert_image_encoder_to_gguf.py` of llama.cpp.

use std::collections::{BTreeSet, HashMap};

use candle_core::quantized::gguf_file;
use nn::NnError;
use serde_json::{Value, json};

/// The metadata of an mmproj file.
pub(crate) struct Mmproj<'a> {
    metadata: &'a HashMap<String, gguf_file::Value>,
    /// The names of the file's tensors.
    names: BTreeSet<&'a str>,
}

/// ggml's names for modules of a layer, but for the two of the feed-forward part.
const MODULES: [(&str, &str); 6] = [
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.out_proj", "attn_out"),
    ("layer_norm1", "ln1"),
    ("layer_norm2", "ln2"),
];

/// Keys of a vision tower that change nothing here: what the tower's width would be in a space shared with texts, other
/// names for what the projector's tensors say, and a size that llama.cpp no longer reads.
const INERT: [&str; 4] =
    ["projection_dim", "mm_projector_type", "image_crop_resolution", "image_split_resolution"];

impl<'a> Mmproj<'a> {
    pub(crate) fn new(
        metadata: &'a HashMap<String, gguf_file::Value>,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self { metadata, names: names.into_iter().collect() }
    }

    /// The content that a `config.json` of the same tower and projector would have, but for the tokens and the language
    /// model.
    ///
    /// # Errors
    /// [`NnError::Unsupported`] for another tower or projector than LLaVA's and for any key of the tower that is not
    /// understood, [`NnError::InvalidConfig`] for values that are no configuration.
    pub(crate) fn config(&self) -> Result<Value, NnError> {
        self.refuse()?;
        let blocks = self.size("block_count")?;
        let layers = match self.sizes("feature_layer")? {
            // The converter leaves out the layers behind the one to take.
            None => vec![blocks],
            Some(layers) => layers,
        };
        let mut config = json!({
            "model_type": "llava",
            "vision_config": {
                "model_type": "clip_vision_model",
                "hidden_size": self.size("embedding_length")?,
                "intermediate_size": self.size("feed_forward_length")?,
                "num_hidden_layers": blocks,
                "num_attention_heads": self.size("attention.head_count")?,
                "image_size": self.size("image_size")?,
                "patch_size": self.size("patch_size")?,
                "layer_norm_eps": self.number("attention.layer_norm_epsilon")?,
                "hidden_act": self.activation()?,
            },
            "vision_feature_layer": layers,
            // Without the class token, always.
            "vision_feature_select_strategy": "default",
            "multimodal_projector_bias": self.names.contains("mm.0.bias"),
            "projector_hidden_act": "gelu",
        });
        if self.is_tiled()? {
            config["model_type"] = "llava_next".into();
            if let Some(sides) = self.sizes("image_grid_pinpoints")? {
                if !sides.len().is_multiple_of(2) {
                    let reason =
                        format!("clip.vision.image_grid_pinpoints has {} numbers, no pairs", sides.len());
                    return Err(NnError::InvalidConfig(reason));
                }
                // As the configuration had them that the file was made from: height, then width.
                config["image_grid_pinpoints"] = sides.chunks_exact(2).collect::<Vec<_>>().into();
            }
        }
        Ok(config)
    }

    /// The content that a `preprocessor_config.json` of the same model would have. What llama.cpp does with a picture: padded
    /// to a square with the mean's colour, or cut into tiles.
    pub(crate) fn processor(&self) -> Result<Value, NnError> {
        let side = self.size("image_size")?;
        let mut processor = json!({
            "image_processor_type": "LlavaImageProcessor",
            "do_pad": true,
            "size": {"shortest_edge": side},
            "crop_size": {"height": side, "width": side},
            "image_mean": self.numbers("image_mean")?,
            "image_std": self.numbers("image_std")?,
        });
        if self.is_tiled()? {
            processor["image_processor_type"] = "LlavaNextImageProcessor".into();
            if let Some(pinpoints) = self.config()?.get("image_grid_pinpoints") {
                processor["image_grid_pinpoints"] = pinpoints.clone();
            }
        }
        Ok(processor)
    }

    fn refuse(&self) -> Result<(), NnError> {
        match self.text("general.architecture")? {
            Some("clip") => {}
            other => {
                let what = format!("the GGUF architecture {:?}", other.unwrap_or_default());
                return Err(unsupported(what, "an mmproj file says clip"));
            }
        }
        if self.flag("clip.has_vision_encoder")? == Some(false) {
            return Err(unsupported("clip.has_vision_encoder false", "an mmproj file has a vision tower"));
        }
        let kind = match self.text("clip.projector_type")? {
            None => self.text("clip.vision.projector_type")?,
            kind => kind,
        };
        if let Some(kind) = kind.filter(|kind| *kind != "mlp") {
            return Err(unsupported(format!("clip.projector_type {kind:?}"), "mlp is, LLaVA's own"));
        }
        for (name, wanted) in [
            ("v.class_embd", "towers with a class token, CLIP's, are"),
            ("mm.2.weight", "a projector of two maps, mm.0 and mm.2, is"),
        ] {
            if !self.names.contains(name) {
                return Err(unsupported(format!("an mmproj file without the tensor {name:?}"), wanted));
            }
        }
        let is_known = |name: &&&str| {
            let place = name
                .strip_prefix("mm.")
                .map(|rest| ["0.weight", "0.bias", "2.weight", "2.bias"].contains(&rest));
            place.unwrap_or(!name.starts_with("v.post_ln."))
        };
        if let Some(name) = self.names.iter().find(|name| !is_known(name)) {
            return Err(unsupported(format!("the tensor {name:?}"), "LLaVA is computed without it"));
        }
        self.refuse_unknown()
    }

    /// A key of the tower that nobody reads means another model than the one computed.
    fn refuse_unknown(&self) -> Result<(), NnError> {
        const READ: [&str; 15] = [
            "block_count",
            "feature_layer",
            "embedding_length",
            "feed_forward_length",
            "attention.head_count",
            "attention.layer_norm_epsilon",
            "image_size",
            "patch_size",
            "image_mean",
            "image_std",
            "image_grid_pinpoints",
            "mm_patch_merge_type",
            "image_aspect_ratio",
            "projector_type",
            "projector.scale_factor",
        ];
        let keys = self.metadata.keys().filter_map(|key| key.strip_prefix("clip.vision."));
        let unknown = keys.filter(|key| !READ.contains(key) && !INERT.contains(key)).min();
        match unknown {
            Some(key) => Err(unsupported(format!("clip.vision.{key}"), "what LLaVA's converter writes is")),
            None => Ok(()),
        }
    }

    fn activation(&self) -> Result<&'static str, NnError> {
        let gelu = self.flag("clip.use_gelu")?.unwrap_or(false);
        let silu = self.flag("clip.use_silu")?.unwrap_or(false);
        match (gelu, silu) {
            (true, true) => {
                Err(NnError::InvalidConfig("clip.use_gelu and clip.use_silu are both true".to_owned()))
            }
            (true, false) => Ok("gelu"),
            (false, true) => Ok("silu"),
            (false, false) => Ok("quick_gelu"),
        }
    }

    /// Whether pictures are cut into tiles: LLaVA-NeXT.
    fn is_tiled(&self) -> Result<bool, NnError> {
        match self.text("clip.vision.mm_patch_merge_type")? {
            None | Some("flat") => Ok(false),
            Some("spatial_unpad") => Ok(true),
            Some(other) => Err(unsupported(
                format!("clip.vision.mm_patch_merge_type {other:?}"),
                "\"flat\" and \"spatial_unpad\" are",
            )),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&'a str>, NnError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(gguf_file::Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(NnError::InvalidConfig(format!("the metadata's {key} is no text"))),
        }
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, NnError> {
        match self.metadata.get(key) {
            None => Ok(None),
            Some(gguf_file::Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(NnError::InvalidConfig(format!("the metadata's {key} is no flag"))),
        }
    }

    fn size(&self, key: &str) -> Result<usize, NnError> {
        let key = format!("clip.vision.{key}");
        let value = self.metadata.get(&key).ok_or_else(|| missing(&key))?;
        count(value).ok_or_else(|| NnError::InvalidConfig(format!("the metadata's {key} is no count")))
    }

    fn sizes(&self, key: &str) -> Result<Option<Vec<usize>>, NnError> {
        let key = format!("clip.vision.{key}");
        match self.metadata.get(&key) {
            None => Ok(None),
            Some(gguf_file::Value::Array(values)) => {
                values.iter().map(count).collect::<Option<Vec<_>>>().map(Some).ok_or_else(|| {
                    NnError::InvalidConfig(format!("the metadata's {key} is no list of counts"))
                })
            }
            Some(_) => Err(NnError::InvalidConfig(format!("the metadata's {key} is no list"))),
        }
    }

    fn number(&self, key: &str) -> Result<f32, NnError> {
        let key = format!("clip.vision.{key}");
        let value = self.metadata.get(&key).ok_or_else(|| missing(&key))?;
        number(value).ok_or_else(|| NnError::InvalidConfig(format!("the metadata's {key} is no number")))
    }

    fn numbers(&self, key: &str) -> Result<Vec<f32>, NnError> {
        let key = format!("clip.vision.{key}");
        let numbers = match self.metadata.get(&key).ok_or_else(|| missing(&key))? {
            gguf_file::Value::Array(values) => values.iter().map(number).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        match numbers {
            Some(numbers) if numbers.len() == 3 => Ok(numbers),
            _ => Err(NnError::InvalidConfig(format!("the metadata's {key} is no list of three numbers"))),
        }
    }
}

/// The file's name for a tensor that transformers calls `name`: of the tower without any beginning, of the others with that of
/// transformers 4.
///
/// `exchanged`: the two maps of the feed-forward part have each other's names, as LLaVA's converter has always called them.
pub(crate) fn stored_name(name: &str, exchanged: bool) -> String {
    let top = [("image_newline", "model.image_newline"), ("embeddings.class_embedding", "v.class_embd")];
    if let Some((_, stored)) = top.iter().find(|(given, _)| *given == name) {
        return (*stored).to_owned();
    }
    for (module, stored) in [
        ("multi_modal_projector.linear_1.", "mm.0."),
        ("multi_modal_projector.linear_2.", "mm.2."),
        ("embeddings.patch_embedding.", "v.patch_embd."),
        ("embeddings.position_embedding.", "v.position_embd."),
        ("pre_layrnorm.", "v.pre_ln."),
        ("post_layernorm.", "v.post_ln."),
    ] {
        if let Some(kind) = name.strip_prefix(module) {
            return format!("{stored}{kind}");
        }
    }
    let layer = || {
        let (layer, part) = name.strip_prefix("encoder.layers.")?.split_once('.')?;
        let (module, kind) = part.rsplit_once('.')?;
        let stored = match (module, exchanged) {
            ("mlp.fc1", false) | ("mlp.fc2", true) => "ffn_up",
            ("mlp.fc1", true) | ("mlp.fc2", false) => "ffn_down",
            _ => MODULES.iter().find(|(given, _)| *given == module)?.1,
        };
        Some(format!("v.blk.{layer}.{stored}.{kind}"))
    };
    layer().unwrap_or_else(|| name.to_owned())
}

fn missing(key: &str) -> NnError {
    NnError::InvalidConfig(format!("the metadata has no {key}"))
}

fn unsupported(what: impl Into<String>, supported: &str) -> NnError {
    NnError::Unsupported { what: what.into(), supported: supported.to_owned() }
}

fn count(value: &gguf_file::Value) -> Option<usize> {
    let signed = match value {
        gguf_file::Value::U8(number) => i64::from(*number),
        gguf_file::Value::I8(number) => i64::from(*number),
        gguf_file::Value::U16(number) => i64::from(*number),
        gguf_file::Value::I16(number) => i64::from(*number),
        gguf_file::Value::U32(number) => i64::from(*number),
        gguf_file::Value::I32(number) => i64::from(*number),
        gguf_file::Value::U64(number) => i64::try_from(*number).ok()?,
        gguf_file::Value::I64(number) => *number,
        _ => return None,
    };
    // Sizes beyond this are no model's, and products of two of them fit.
    usize::try_from(signed).ok().filter(|count| *count <= 1 << 24)
}

fn number(value: &gguf_file::Value) -> Option<f32> {
    match value {
        gguf_file::Value::F32(number) => Some(*number),
        gguf_file::Value::F64(number) => Some(*number as f32),
        _ => None,
    }
    .filter(|number| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Family, LlavaConfig};

    fn open(name: &str) -> model_source::Gguf {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llava");
        model_source::Gguf::open_path(&folder.join(name).join("gguf/mmproj-model-f16.gguf")).unwrap()
    }

    /// What transformers' configuration of the same model says.
    fn transformers(name: &str) -> LlavaConfig {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llava");
        let config = std::fs::read(folder.join(name).join("config.json")).unwrap();
        LlavaConfig::from_huggingface(&serde_json::from_slice(&config).unwrap()).unwrap()
    }

    #[test]
    fn the_metadata_says_what_the_configuration_does() {
        for name in ["llava-llama", "next-llama"] {
            let file = open(name);
            let mmproj = Mmproj::new(file.metadata(), file.names());
            let found = LlavaConfig::from_huggingface(&mmproj.config().unwrap()).unwrap();
            let wanted = transformers(name);
            let is_next = matches!(found.family, Family::LlavaNext { .. });
            assert_eq!(is_next, name == "next-llama");
            // The layers behind the last one used are not in the file.
            assert_eq!(found.vision.layers, 3);
            let rest = |config: LlavaConfig| LlavaConfig {
                vision: nn::VisionConfig { layers: 3, ..config.vision },
                text: Value::Null,
                image_token: None,
                ..config
            };
            assert_eq!(rest(found), rest(wanted));
            let processor = mmproj.processor().unwrap();
            assert_eq!(processor["crop_size"]["height"], 28);
            assert_eq!(processor["image_grid_pinpoints"].is_array(), is_next);
        }
    }

    #[test]
    fn every_tensor_of_a_file_has_a_name_of_transformers() {
        for (file, exchanged) in [("llava-llama", true), ("next-llama", false)] {
            let file = open(file);
            let mut wanted: Vec<String> = Vec::new();
            for layer in 0..3 {
                let parts = MODULES.iter().map(|(given, _)| *given).chain(["mlp.fc1", "mlp.fc2"]);
                for part in parts.flat_map(|part| [format!("{part}.weight"), format!("{part}.bias")]) {
                    wanted.push(format!("encoder.layers.{layer}.{part}"));
                }
            }
            for part in ["1.weight", "1.bias", "2.weight", "2.bias"] {
                wanted.push(format!("multi_modal_projector.linear_{part}"));
            }
            for part in ["patch_embedding.weight", "position_embedding.weight", "class_embedding"] {
                wanted.push(format!("embeddings.{part}"));
            }
            wanted.extend(["pre_layrnorm.weight".to_owned(), "pre_layrnorm.bias".to_owned()]);
            if file.contains("model.image_newline") {
                wanted.push("image_newline".to_owned());
            }
            let mut wanted: Vec<String> = wanted.iter().map(|name| stored_name(name, exchanged)).collect();
            let mut names: Vec<&str> = file.names().collect();
            wanted.sort();
            names.sort_unstable();
            assert_eq!(names, wanted);
            let up = file.tensor(&stored_name("encoder.layers.0.mlp.fc1.weight", exchanged)).unwrap();
            assert_eq!(up.shape, [48, 32]);
        }
    }

    #[test]
    fn what_is_no_llava_is_refused_by_name() {
        let file = open("llava-llama");
        let spoiled = |key: &str, value: gguf_file::Value| {
            let mut metadata = file.metadata().clone();
            metadata.insert(key.to_owned(), value);
            Mmproj::new(&metadata, file.names()).config().unwrap_err().to_string()
        };
        let text = |text: &str| gguf_file::Value::String(text.to_owned());
        for (key, value, named) in [
            ("general.architecture", text("llama"), "the GGUF architecture \"llama\""),
            ("clip.projector_type", text("ldp"), "clip.projector_type \"ldp\""),
            ("clip.vision.mm_patch_merge_type", text("spatial"), "mm_patch_merge_type \"spatial\""),
            ("clip.vision.spatial_merge_size", gguf_file::Value::U32(2), "clip.vision.spatial_merge_size"),
            ("clip.vision.image_size", text("28"), "clip.vision.image_size is no count"),
            ("clip.has_vision_encoder", gguf_file::Value::Bool(false), "clip.has_vision_encoder false"),
            ("clip.use_silu", gguf_file::Value::F32(1.0), "clip.use_silu is no flag"),
        ] {
            let error = spoiled(key, value);
            assert!(error.contains(named), "{key}: {error}");
        }
        let without = file.names().filter(|name| *name != "v.class_embd");
        let error = Mmproj::new(file.metadata(), without).config().unwrap_err().to_string();
        assert!(error.contains("without the tensor \"v.class_embd\""), "{error}");
        for surplus in ["v.post_ln.weight", "mm.1.weight", "mm.model.peg.0.weight"] {
            let error = Mmproj::new(file.metadata(), file.names().chain([surplus])).config().unwrap_err();
            let wanted = format!("the tensor {surplus:?} is not supported: LLaVA is computed without it");
            assert_eq!(error.to_string(), wanted);
        }
    }
}
