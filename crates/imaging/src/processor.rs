//! Image processors, as transformers 5 computes them with its PIL backend.
//!
//! A processor is a row of steps on 8-bit pictures (pad, resize, crop) and one function of a sample's level and channel
//! at the end. That function has 768 values; they are computed once, in the reference's order and precision, and tiles
//! are kept as bytes until somebody asks for their numbers.

mod config;
mod fields;
mod frame;
mod pixels;
mod tiles;

pub use pixels::PixelValues;

use config::Config;
use frame::Frame;
use serde_json::Value;
use tiles::Tiles;

use crate::resize::Canvas;
use crate::{Image, ImagingError};

/// An image processor with the configuration of a checkpoint.
///
/// Of transformers' classes these are known, also with the endings `Fast` and `Pil` and under the name of
/// `...FeatureExtractor`: `CLIPImageProcessor`, `SiglipImageProcessor`, `BitImageProcessor` (which DINOv2 uses),
/// `LlavaImageProcessor` and `LlavaNextImageProcessor`. A field that is absent has its class's default; one that
/// would change what is computed and is not honoured is refused by name.
///
/// `do_convert_rgb` makes no difference: a picture is RGB before it gets here.
#[derive(Debug, Clone)]
pub struct Processor {
    frame: Frame,
    shape: Shape,
    table: std::sync::Arc<pixels::Table>,
}

/// What surrounds the common steps.
#[derive(Debug, Clone)]
enum Shape {
    /// The picture is one tile.
    Whole,
    /// It is put on a square of this colour first.
    Square([u8; 3]),
    /// It is one tile as a whole, and then cut into some of a higher resolution.
    Tiles(Tiles),
}

/// What a picture of a certain size becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layout {
    /// Rows of each tile.
    pub tile_height: u32,
    /// Columns of each tile.
    pub tile_width: u32,
    /// How many tiles; with `best_resolution`, the first is the whole picture.
    pub tiles: usize,
    /// Width and height of the picture, as it was handed in.
    pub picture: (u32, u32),
    /// With tiles of a higher resolution: the (height, width) that was chosen for the picture and its padding.
    pub best_resolution: Option<(u32, u32)>,
}

impl Processor {
    /// From `preprocessor_config.json` of transformers 4 or 5, from `processor_config.json`, or from the `image_processor`
    /// in it.
    ///
    /// # Errors
    ///
    /// [`ImagingError::Processor`] where the class is unknown or not named, or a field is not supported or makes no sense.
    pub fn from_config(config: &Value) -> Result<Self, ImagingError> {
        Config::read(config, None)?.build()
    }

    /// As [`from_config`](Self::from_config), for a model of this `model_type`: its usual processor where the configuration
    /// names none, as very old ones do not.
    ///
    /// # Errors
    ///
    /// As [`from_config`](Self::from_config).
    pub fn for_model(model_type: &str, config: &Value) -> Result<Self, ImagingError> {
        Config::read(config, Some(model_type))?.build()
    }

    /// What a picture of this size becomes, without its pixels. Cheap.
    ///
    /// # Errors
    ///
    /// [`ImagingError::Size`] where the picture has no pixels, or would become none or more than 16 Mi: only processors
    /// that keep the picture's proportions and crop nothing can do that.
    pub fn layout(&self, width: u32, height: u32) -> Result<Layout, ImagingError> {
        if width == 0 || height == 0 {
            let reason = "a picture has at least one pixel";
            return Err(ImagingError::Size { width: width.into(), height: height.into(), reason });
        }
        let (tile, tiles, best_resolution) = match &self.shape {
            Shape::Whole => (self.frame.size(width, height)?, 1, None),
            Shape::Square(_) => (self.frame.size(width.max(height), width.max(height))?, 1, None),
            Shape::Tiles(tiles) => {
                let best = tiles.best_resolution(width, height);
                (tiles.tile(), tiles.count(best), Some((best.1, best.0)))
            }
        };
        let (tile_width, tile_height) = tile;
        Ok(Layout { tile_height, tile_width, tiles, picture: (width, height), best_resolution })
    }

    /// The tiles of a picture. Heavy: milliseconds for a photograph, so it belongs on a compute lane.
    ///
    /// # Errors
    ///
    /// As [`layout`](Self::layout).
    pub fn process(&self, image: &Image) -> Result<PixelValues, ImagingError> {
        let layout = self.layout(image.width(), image.height())?;
        let tiles = match &self.shape {
            Shape::Whole => vec![self.frame.apply(&Canvas::of(image))?],
            Shape::Square(colour) => vec![self.frame.apply(&Canvas::squared(image, *colour))?],
            Shape::Tiles(tiles) => tiles.apply(image, &self.frame)?,
        };
        Ok(PixelValues::new(layout, tiles, self.table.clone()))
    }
}
