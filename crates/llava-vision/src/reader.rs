//! How a LLaVA model reads pictures, as its files say: everything but the weights.

use std::sync::Arc;

use imaging::{DECODING_WORKING_SET, Layout, PixelValues, Processor};
use language_model::{Error, RenderedSpecial, Vision, VisionFiles};
use model_source::{Gguf, LanguageTokenizer, ModelFiles, Weights};
use nn::{DecoderConfig, MlpConfig, NnError};
use pool_core::{Bytes, Footprint, ModelError};
use serde_json::{Map, Value, json};

use crate::Picture;
use crate::config::{Family, LlavaConfig, PINPOINTS};
use crate::grid::{Grid, Size};
use crate::mmproj::Mmproj;
use crate::tower::{self, Arrangement, PictureTower};
use crate::weights::StoredVision;

/// How a vocabulary without the configuration's token spells a picture's place.
const IMAGE_TOKEN: &str = "<image>";

/// How a LLaVA model reads pictures, as its files say.
#[derive(Debug)]
pub struct PictureReader {
    place: String,
    stored: StoredVision,
    config: LlavaConfig,
    projector: MlpConfig,
    processor: Processor,
    image_token: String,
}

/// Pictures that a processor is tried on before any comes: it must make tiles of all alike.
const SHAPES: [(u32, u32); 3] = [(100, 100), (1000, 10), (10, 1000)];

impl PictureReader {
    /// Of a checkpoint in Hugging Face layout.
    fn of_folder(files: &ModelFiles, context: &VisionFiles<'_>) -> Result<Self, Error> {
        let label = files.require("config.json")?.label().to_owned();
        let config = LlavaConfig::from_huggingface(&files.config()?).map_err(refused(&label))?;
        let Some(processor) = processor_config(files)? else {
            let reason =
                "there is no preprocessor_config.json, which says how pictures are resized; add the model's";
            return Err(Error::checkpoint(files.place(), reason));
        };
        // Looks at the headers of the weights.
        Weights::open(files)?;
        Self::new(label, StoredVision::Folder(files.clone()), config, processor, context)
    }

    /// Of an mmproj file; how pictures are resized may be said by a folder's files all the same.
    fn of_mmproj(file: Gguf, folders: [&ModelFiles; 2], context: &VisionFiles<'_>) -> Result<Self, Error> {
        let label = file.label().to_owned();
        let mmproj = Mmproj::new(file.metadata(), file.names());
        let config = mmproj.config().map_err(refused(&label))?;
        let mut config = LlavaConfig::from_huggingface(&config).map_err(refused(&label))?;
        config.image_token = None;
        let mut processor = None;
        for files in folders {
            if processor.is_none() {
                processor = processor_config(files)?;
            }
        }
        let processor = match processor {
            Some(processor) => processor,
            None => mmproj.processor().map_err(refused(&label))?,
        };
        Self::new(label, StoredVision::Mmproj(file), config, processor, context)
    }

    fn new(
        place: String,
        stored: StoredVision,
        config: LlavaConfig,
        processor: Value,
        context: &VisionFiles<'_>,
    ) -> Result<Self, Error> {
        check_pinpoints(&config.family, &processor).map_err(|reason| Error::checkpoint(&place, reason))?;
        let model_type = config.family.name();
        let processor =
            Processor::for_model(model_type, &processor).map_err(|error| Error::checkpoint(&place, error))?;
        let hidden_size = context.hidden_size;
        let projector = MlpConfig {
            inputs: config.vision.hidden_size.saturating_mul(config.layers.len()),
            inner: hidden_size,
            outputs: hidden_size,
            bias: config.projector_bias,
            activation: config.projector_activation,
        };
        let image_token = image_token(context, &config)?;
        let reader = Self { place, stored, config, projector, processor, image_token };
        for (width, height) in SHAPES {
            let arranged = reader.arrange(width, height);
            arranged.map_err(|error| Error::checkpoint(&reader.place, error))?;
        }
        Ok(reader)
    }

    /// What becomes of a picture of this size.
    fn arrange(&self, width: u32, height: u32) -> Result<Arrangement, ModelError> {
        let layout =
            self.processor.layout(width, height).map_err(|error| ModelError::invalid(error.to_string()))?;
        self.config.arrange(&layout).map_err(ModelError::invalid)
    }
}

impl Family {
    /// As configurations call it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Llava => "llava",
            Self::LlavaNext { .. } => "llava_next",
        }
    }
}

impl LlavaConfig {
    /// How the tower's rows of a picture become the language model's; why not, if the processor's tiles are not the tower's.
    pub(crate) fn arrange(&self, layout: &Layout) -> Result<Arrangement, String> {
        let side = self.vision.image_size;
        let tile = (layout.tile_height as usize, layout.tile_width as usize);
        if tile != (side, side) {
            let (height, width) = tile;
            return Err(format!(
                "the image processor makes tiles of {width}x{height} pixels, and the tower sees {side}x{side}"
            ));
        }
        match (&self.family, layout.best_resolution) {
            (Family::Llava, None) if layout.tiles == 1 => Ok(Arrangement::Whole { rows: self.tile_rows() }),
            (Family::LlavaNext { .. }, Some((height, width))) => {
                let tiles = Size { height: height as usize / side, width: width as usize / side };
                if layout.tiles != 1 + tiles.height * tiles.width {
                    let found = layout.tiles;
                    return Err(format!(
                        "the image processor makes {found} tiles of {width}x{height} pixels"
                    ));
                }
                let (width, height) = layout.picture;
                let picture = Size { height: height as usize, width: width as usize };
                Ok(Arrangement::Tiled(Grid::new(picture, tiles, self.side)))
            }
            (family, _) => Err(format!(
                "the image processor {} pictures into tiles, and the model is {}",
                if layout.best_resolution.is_some() { "cuts" } else { "does not cut" },
                family.name()
            )),
        }
    }

    /// The most rows that a picture takes, and the most tiles.
    pub(crate) fn most(&self) -> (usize, usize) {
        let Family::LlavaNext { pinpoints } = &self.family else {
            return (self.tile_rows(), 1);
        };
        let tiles_along = |length: usize| length / self.vision.image_size;
        let patches_along = |length: usize| tiles_along(length).saturating_mul(self.side);
        let rows = |size: &Size| {
            patches_along(size.height).saturating_mul(patches_along(size.width).saturating_add(1))
        };
        let tiles = |size: &Size| tiles_along(size.height).saturating_mul(tiles_along(size.width));
        let rows = pinpoints.iter().map(rows).max().unwrap_or_default();
        let tiles = pinpoints.iter().map(tiles).max().unwrap_or_default();
        (self.tile_rows().saturating_add(rows), tiles.saturating_add(1))
    }
}

impl Vision for PictureReader {
    type Picture = Picture;
    type Pixels = Arc<PixelValues>;
    type Tower = PictureTower;

    fn language_config(config: Value, place: &str) -> Result<Value, Error> {
        match LlavaConfig::from_huggingface(&config) {
            Ok(found) => Ok(found.text),
            // A language model by itself, whose tower comes from elsewhere.
            Err(_) if DecoderConfig::from_huggingface(&config).is_ok() => Ok(config),
            Err(error) => Err(refused(place)(error)),
        }
    }

    fn read(files: &VisionFiles<'_>) -> Result<Option<Self>, Error> {
        let source = files.vision.unwrap_or(files.language);
        // One beside a language model counts; a GGUF file that was named for this is one itself.
        let named = || files.vision.and_then(ModelFiles::gguf_file);
        let file = source.projector_file().or_else(named);
        if let Some(file) = file {
            return Self::of_mmproj(Gguf::open(file)?, [source, files.language], files).map(Some);
        }
        if source.gguf_file().is_some() {
            let reason = "a GGUF file holds the language model alone; name what reads pictures, an mmproj file or the \
                          model's folder, with it, or put one file *mmproj*.gguf beside it";
            return Err(Error::checkpoint(source.place(), reason));
        }
        Self::of_folder(source, files).map(Some)
    }

    fn architecture(&self) -> &str {
        self.config.family.name()
    }

    fn image_token(&self) -> &str {
        &self.image_token
    }

    fn rendered_special(&self) -> RenderedSpecial {
        RenderedSpecial::UnlessWritten
    }

    fn tokens(&self, picture: &Picture) -> Result<usize, ModelError> {
        let (width, height) = picture.size()?;
        Ok(self.arrange(width, height)?.rows())
    }

    fn most_tokens(&self) -> usize {
        self.config.most().0
    }

    fn preparing_bytes(&self, picture: &Picture) -> u64 {
        picture.charged_bytes()
    }

    fn prepare(&self, picture: &Picture) -> Result<Arc<PixelValues>, ModelError> {
        let pixels = picture.decode().and_then(|image| self.processor.process(&image));
        pixels.map(Arc::new).map_err(|error| ModelError::invalid(error.to_string()))
    }

    fn pixel_bytes(&self, pixels: &Arc<PixelValues>) -> usize {
        pixels.bytes()
    }

    fn footprint(&self) -> Footprint {
        let (rows, tiles) = self.config.most();
        let tower = tower::footprint(&self.config, self.projector, rows, tiles);
        Footprint { working_set: tower.working_set + Bytes(DECODING_WORKING_SET), ..tower }
    }

    fn load(&self) -> Result<PictureTower, Error> {
        let weights = self.stored.open().map_err(refused(&self.place))?;
        PictureTower::load(self.config.clone(), self.projector, &*weights).map_err(refused(&self.place))
    }
}

/// How pictures are resized: what `processor_config.json` has inside it, else `preprocessor_config.json`.
fn processor_config(files: &ModelFiles) -> Result<Option<Value>, Error> {
    let whole: Option<Map<String, Value>> = files.json_if_any("processor_config.json")?;
    let inside = whole.and_then(|mut whole| whole.remove("image_processor")).filter(Value::is_object);
    match inside {
        Some(inside) => Ok(Some(inside)),
        None => Ok(files.json_if_any("preprocessor_config.json")?),
    }
}

/// Refuses a processor that chooses among other resolutions than the model expects.
fn check_pinpoints(family: &Family, processor: &Value) -> Result<(), String> {
    let Family::LlavaNext { pinpoints } = family else {
        return Ok(());
    };
    let given = processor.get("image_grid_pinpoints").filter(|given| !given.is_null());
    let given = given.cloned().unwrap_or_else(|| json!(PINPOINTS));
    let expected: Value =
        pinpoints.iter().map(|size| vec![size.height, size.width]).collect::<Vec<_>>().into();
    match given == expected {
        true => Ok(()),
        false => Err(format!(
            "the image processor's image_grid_pinpoints are {given}, and the model's are {expected}; they must be equal"
        )),
    }
}

/// How the prompt spells a picture's place.
fn image_token(files: &VisionFiles<'_>, config: &LlavaConfig) -> Result<String, Error> {
    // The token's number is one of the tokenizer beside the configuration.
    if files.language.gguf_file().is_some() {
        return Ok(IMAGE_TOKEN.to_owned());
    }
    let id = match config.image_token {
        Some(id) => Some(id),
        // An mmproj file knows no tokens; the language model's own configuration may.
        None => LlavaConfig::from_huggingface(&files.language.config()?)
            .ok()
            .and_then(|config| config.image_token),
    };
    let Some(id) = id else {
        return Ok(IMAGE_TOKEN.to_owned());
    };
    spelled(files.tokenizer, id).ok_or_else(|| {
        let reason = format!("image_token_index is {id}, which is no token of the tokenizer");
        Error::checkpoint(files.language.place(), reason)
    })
}

fn spelled(tokenizer: &LanguageTokenizer, id: u32) -> Option<String> {
    let bytes = tokenizer.token_bytes(id).filter(|bytes| !bytes.is_empty())?;
    String::from_utf8(bytes.to_vec()).ok()
}

/// What is wrong with a configuration or with weights, and where it stands.
fn refused(place: &str) -> impl FnOnce(NnError) -> Error + '_ {
    move |error| match error {
        NnError::Unsupported { what, supported } => Error::unsupported(place, what, supported),
        error => Error::checkpoint(place, error),
    }
}
