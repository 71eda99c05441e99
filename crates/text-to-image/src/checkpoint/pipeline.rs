//! `model_index.json`: which pipeline a folder is, and of which components.

use model_source::{ModelFiles, SourceError};
use serde_json::{Map, Value};

use crate::error::Error;

/// The pipelines that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Stable Diffusion 1.x and 2.x: one text encoder, whose last hidden state is taken.
    StableDiffusion,
    /// SDXL: two text encoders, whose last hidden states but one are taken, and the second one's vector.
    StableDiffusionXl,
}

/// What `model_index.json` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pipeline {
    pub(crate) family: Family,
    /// Whether it is a latent consistency model's own pipeline, which takes configurations as they are.
    pub(crate) latent_consistency: bool,
    /// Whether an absent negative prompt is zeros, and not that of an empty text.
    pub(crate) zeros_for_absent_negative: bool,
}

const FILE: &str = "model_index.json";

/// Pipelines that draw, edit or fill in with the components of these families.
const PIPELINES: [(&str, Family); 8] = [
    ("LatentConsistencyModelImg2ImgPipeline", Family::StableDiffusion),
    ("LatentConsistencyModelPipeline", Family::StableDiffusion),
    ("StableDiffusionImg2ImgPipeline", Family::StableDiffusion),
    ("StableDiffusionInpaintPipeline", Family::StableDiffusion),
    ("StableDiffusionPipeline", Family::StableDiffusion),
    ("StableDiffusionXLImg2ImgPipeline", Family::StableDiffusionXl),
    ("StableDiffusionXLInpaintPipeline", Family::StableDiffusionXl),
    ("StableDiffusionXLPipeline", Family::StableDiffusionXl),
];

/// Components, and the classes of them that are understood. A scheduler's own file says what it is.
const COMPONENTS: [(&str, &[&str]); 4] = [
    ("unet", &["UNet2DConditionModel"]),
    ("vae", &["AutoencoderKL"]),
    ("text_encoder", &["CLIPTextModel", "CLIPTextModelWithProjection"]),
    ("tokenizer", &["CLIPTokenizer", "CLIPTokenizerFast"]),
];
const SECOND: [(&str, &[&str]); 2] = [
    ("text_encoder_2", &["CLIPTextModelWithProjection"]),
    ("tokenizer_2", &["CLIPTokenizer", "CLIPTokenizerFast"]),
];

/// What pipelines have besides, and what is drawn does not depend on: a checker of finished pictures, which is not run, and an
/// encoder for pictures as prompts, which are not taken.
const UNUSED: [&str; 3] = ["safety_checker", "feature_extractor", "image_encoder"];

impl Pipeline {
    /// Reads and checks the file. Blocks.
    pub(crate) fn read(files: &ModelFiles) -> Result<Self, Error> {
        let Some(file) = files.get(FILE) else {
            let alone = files.weight_files().next().is_some();
            return Err(Error::Source(SourceError::MissingFile {
                place: files.place().to_owned(),
                file: FILE.to_owned(),
                hint: match alone {
                    true => " beside it: a single file holds weights alone; put it into the folder of a pipeline of its \
                             kind in diffusers' layout, which has the configurations and tokenizers"
                        .to_owned(),
                    false => ", so it is no pipeline in diffusers' layout".to_owned(),
                },
            }));
        };
        let index: Map<String, Value> = files.json(FILE)?;
        let index = Index { fields: &index, place: file.label() };
        let (class, family) = index.family()?;
        let latent_consistency = class.starts_with("LatentConsistencyModel");
        let mut known: Vec<&str> = vec!["scheduler"];
        index.present("scheduler")?;
        let second = if family == Family::StableDiffusionXl { &SECOND[..] } else { &[] };
        for (name, classes) in COMPONENTS.iter().chain(second) {
            index.component(name, classes)?;
            known.push(name);
        }
        known.extend(UNUSED);
        // What a finished picture passes is no part of drawing it: neither checker nor watermark.
        known.extend(["requires_safety_checker", "add_watermarker"]);
        let mut zeros = false;
        if family == Family::StableDiffusionXl {
            zeros = index.flag("force_zeros_for_empty_prompt", true)?;
            known.push("force_zeros_for_empty_prompt");
        }
        index.refuse_others(&known)?;
        Ok(Self { family, latent_consistency, zeros_for_absent_negative: zeros })
    }
}

struct Index<'a> {
    fields: &'a Map<String, Value>,
    place: &'a str,
}

impl Index<'_> {
    fn family(&self) -> Result<(&str, Family), Error> {
        let Some(class) = self.fields.get("_class_name").and_then(Value::as_str) else {
            return Err(self.wrong("has no _class_name, so it is no pipeline of diffusers".to_owned()));
        };
        match PIPELINES.iter().find(|(name, _)| *name == class) {
            Some((_, family)) => Ok((class, *family)),
            None => Err(self.unsupported(
                format!("the pipeline {class}"),
                "Stable Diffusion 1.x, 2.x and XL are, their inpainting, turbo and LCM models too",
            )),
        }
    }

    /// The class of a component that must be there.
    fn present(&self, name: &str) -> Result<&str, Error> {
        let class = match self.fields.get(name) {
            Some(Value::Array(pair)) => pair.get(1).filter(|class| !class.is_null()),
            _ => None,
        };
        match class {
            Some(Value::String(class)) => Ok(class),
            Some(_) => Err(self.wrong(format!("names a {name} that is no [library, class]"))),
            None => Err(self.wrong(format!("names no {name}, without which nothing can be drawn"))),
        }
    }

    fn component(&self, name: &str, classes: &[&str]) -> Result<(), Error> {
        let class = self.present(name)?;
        match classes.contains(&class) {
            true => Ok(()),
            false => {
                Err(self.unsupported(format!("the {name} {class}"), &format!("{} is", classes.join(" or "))))
            }
        }
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, Error> {
        match self.fields.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.wrong(format!("has {name} {other}, it must be true or false"))),
        }
    }

    /// Refuses what else is there and not switched off.
    fn refuse_others(&self, known: &[&str]) -> Result<(), Error> {
        let off = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(items) => items.iter().all(Value::is_null),
            _ => false,
        };
        let other = self
            .fields
            .iter()
            .find(|(name, value)| !name.starts_with('_') && !known.contains(&name.as_str()) && !off(value));
        match other {
            None => Ok(()),
            Some((name, value)) => {
                let what = match value.as_array().and_then(|pair| pair.get(1)).and_then(Value::as_str) {
                    Some(class) => format!("the component {name} ({class})"),
                    None => format!("{name} {value}"),
                };
                Err(self.unsupported(what, "use a pipeline without it"))
            }
        }
    }

    fn unsupported(&self, what: String, supported: &str) -> Error {
        Error::Unsupported { place: self.place.to_owned(), what, supported: supported.to_owned() }
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Checkpoint { place: self.place.to_owned(), reason }
    }
}
