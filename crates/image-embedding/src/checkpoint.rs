//! What a model's folder says it is: configuration read and checked, processor and tokenizer made ready, weights' headers
//! looked at.
//!
//! Every field that changes the mathematics is obeyed or refused by name. Blocks; runs in the io lane.

mod scale;
mod text;

use candle_core::{DType, Device};
use imaging::{DECODING_WORKING_SET, EncodedImage, Layout, PixelValues, Processor};
use model_source::{DeviceChoice, Dtype, ModelFiles, Weights};
use nn::{NnError, TextTower, TowerOutputs, TowerStore, VisionArchitecture, VisionConfig, VisionTransformer};
use pool_core::{Bytes, Footprint, ModelId};
use serde_json::{Value, json};

pub(crate) use self::scale::Scale;
pub(crate) use self::text::TextSide;
use crate::error::Error;
use crate::info::{Architecture, ModelInfo};
use crate::load::Numbers;

/// Patches of a picture, at most: beyond it, attention alone takes many seconds, and its rows hundreds of megabytes.
const MOST_TOKENS: usize = 8192;

/// Tokens of pictures and texts whose activations the model's working set has room for.
pub(crate) const WORKING_TOKENS: usize = 1024;

/// A model's folder, read and checked; its weights can be loaded any number of times.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    files: ModelFiles,
    vision: VisionConfig,
    processor: Processor,
    /// Why not, where it reads no texts.
    text: Result<TextSide, String>,
    scale: Option<Scale>,
}

/// A model in memory.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) vision: VisionTransformer,
    pub(crate) text: Option<TextTower>,
}

impl Checkpoint {
    /// Reads everything but the weights' data.
    pub(crate) fn read(files: ModelFiles, numbers: Numbers) -> Result<Self, Error> {
        refuse_others(&files, numbers)?;
        let config: Value = files.json("config.json")?;
        let place = files.require("config.json")?.label().to_owned();
        let vision = VisionConfig::from_huggingface(&config).map_err(at(&place))?;
        let processor = processor(&files, &config, &vision)?;
        let text = TextSide::read(&files, &config, &place)?;
        let scale = Scale::read(&files, vision.architecture)?;
        Ok(Self { files, vision, processor, text, scale })
    }

    /// Loads the weights.
    pub(crate) fn load(&self) -> Result<Loaded, Error> {
        let weights = Weights::open(&self.files)?;
        let place = self.files.place();
        let builder = || weights.var_builder(DType::F32, &Device::Cpu);
        let store = TowerStore::vision(builder()).map_err(at(place))?.with_names(weights.names());
        let vision = VisionTransformer::load(self.vision.clone(), &store, TowerOutputs::embedding());
        let text = match &self.text {
            Err(_) => None,
            Ok(side) => {
                let store = TowerStore::text(builder()).map_err(at(place))?.with_names(weights.names());
                let tower = TextTower::load(side.config.clone(), &store, TowerOutputs::embedding());
                Some(tower.map_err(at(place))?)
            }
        };
        Ok(Loaded { vision: vision.map_err(at(place))?, text })
    }

    /// What the weights take, and what a step takes besides.
    pub(crate) fn footprint(&self) -> Footprint {
        let text = self.text.as_ref().map_or(0, |side| side.config.parameters(side.config.layers));
        let weights = self.vision.parameters(self.vision.layers).saturating_add(text);
        let working_set =
            self.vision.activation_bytes(WORKING_TOKENS, 0).saturating_add(DECODING_WORKING_SET);
        Footprint { weights: Bytes(weights.saturating_mul(4)), working_set: Bytes(working_set) }
    }

    /// How a picture is cut up, and how many tokens it has.
    pub(crate) fn layout(&self, image: &EncodedImage) -> Result<(Layout, usize), Error> {
        let header = image.header().map_err(|error| Error::invalid(error.to_string()))?;
        let layout = self.processor.layout(header.width, header.height);
        let layout = layout.map_err(|error| Error::invalid(error.to_string()))?;
        let (height, width) = (layout.tile_height as usize, layout.tile_width as usize);
        let tokens = self.vision.tokens(height, width).map_err(|error| Error::invalid(error.to_string()))?;
        match tokens <= MOST_TOKENS {
            true => Ok((layout, tokens)),
            false => Err(Error::invalid(format!(
                "the picture becomes {width}x{height} pixels, {tokens} tokens, and at most {MOST_TOKENS} are taken: \
                 make it smaller"
            ))),
        }
    }

    /// Decodes a picture and makes it what the tower sees.
    pub(crate) fn pixels(&self, image: &EncodedImage) -> Result<PixelValues, imaging::ImagingError> {
        self.processor.process(&image.decode()?)
    }

    /// Bytes that pictures or texts of so many tokens take on their way, beyond the working set.
    pub(crate) fn excess_bytes(&self, tokens: usize) -> u64 {
        self.vision.activation_bytes(tokens.saturating_sub(WORKING_TOKENS), 0)
    }

    /// The side that reads texts, or an error that says why there is none.
    pub(crate) fn reads_texts(&self) -> Result<&TextSide, Error> {
        self.text.as_ref().map_err(|reason| Error::invalid(reason.clone()))
    }

    /// How a cosine becomes a score. `None`: the checkpoint does not say.
    pub(crate) fn scale(&self) -> Option<Scale> {
        self.scale
    }

    /// What callers are told.
    pub(crate) fn info(&self, model: &ModelId) -> ModelInfo {
        ModelInfo {
            model: model.clone(),
            source: self.files.source().clone(),
            revision: self.files.revision().to_owned(),
            architecture: match self.vision.architecture {
                VisionArchitecture::Clip => Architecture::Clip,
                VisionArchitecture::Siglip => Architecture::Siglip,
                VisionArchitecture::Dinov2 | VisionArchitecture::Dinov2WithRegisters => Architecture::Dinov2,
            },
            dimensions: self.vision.embedding_size(),
            texts: self.text.is_ok(),
            max_tokens: self.text.as_ref().ok().map(|side| side.config.positions),
        }
    }
}

/// Refuses what is not computed with or on.
fn refuse_others(files: &ModelFiles, numbers: Numbers) -> Result<(), Error> {
    let refused = |place: String, what: String, supported: &str| {
        Err(Error::Unsupported { place, what, supported: supported.to_owned() })
    };
    if let Some(path) = files.gguf() {
        return refused(
            path.display().to_string(),
            "GGUF for image embedding".to_owned(),
            "use a safetensors checkpoint",
        );
    }
    if !matches!(numbers.dtype, Dtype::Auto | Dtype::F32) {
        let what = format!("dtype {} for image embedding", numbers.dtype);
        return refused(files.place().to_owned(), what, "it computes in f32: use auto");
    }
    if !matches!(numbers.device, DeviceChoice::Auto | DeviceChoice::Cpu) {
        let what = format!("device {} for image embedding", numbers.device);
        return refused(files.place().to_owned(), what, "use cpu");
    }
    Ok(())
}

/// The image processor, checked to make what the tower sees.
fn processor(files: &ModelFiles, config: &Value, vision: &VisionConfig) -> Result<Processor, Error> {
    let model_type = config["model_type"].as_str().unwrap_or_default();
    let mut place = files.place().to_owned();
    let mut settings = json!({});
    for name in ["preprocessor_config.json", "processor_config.json"] {
        if let Some(found) = files.json_if_any(name)? {
            place = files.require(name)?.label().to_owned();
            settings = found;
            break;
        }
    }
    let wrong = |reason: String| Error::Checkpoint { place: place.clone(), reason };
    let processor = Processor::for_model(model_type, &settings).map_err(|error| wrong(error.to_string()))?;
    // A square and others: of towers that see one size, all must become that.
    for (width, height) in [(640, 640), (640, 480), (300, 900)] {
        let layout = processor.layout(width, height).map_err(|error| wrong(error.to_string()))?;
        if layout.tiles != 1 {
            let reason = format!("cuts pictures into {} tiles, an embedding is of one", layout.tiles);
            return Err(wrong(reason));
        }
        let made = vision.patches(layout.tile_height as usize, layout.tile_width as usize);
        made.map_err(|error| {
            wrong(format!(
                "makes {}x{} pixels of a picture of {width}x{height}: {error}",
                layout.tile_width, layout.tile_height
            ))
        })?;
    }
    Ok(processor)
}

/// What nn says of a file.
pub(crate) fn at(place: &str) -> impl Fn(NnError) -> Error {
    move |error| match error {
        NnError::Unsupported { what, supported } => {
            Error::Unsupported { place: place.to_owned(), what, supported }
        }
        other => Error::Checkpoint { place: place.to_owned(), reason: other.to_string() },
    }
}
