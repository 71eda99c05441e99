//! Reads a processor's configuration, with the defaults of its class.

use std::sync::Arc;

use serde_json::Value;

use super::fields::Fields;
use super::frame::{Frame, Size};
use super::tiles::Tiles;
use super::{Processor, Shape, pixels};
use crate::{Filter, ImagingError};

const CLIP_MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
const CLIP_DEVIATION: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];
/// As (width, height).
const PINPOINTS: [(u32, u32); 5] = [(672, 336), (336, 672), (672, 672), (336, 1008), (1008, 336)];

/// The classes of transformers that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Clip,
    Siglip,
    Bit,
    Llava,
    LlavaNext,
}

impl Class {
    fn from_name(name: &str) -> Option<Self> {
        let name = name.strip_suffix("Fast").or_else(|| name.strip_suffix("Pil")).unwrap_or(name);
        let stem = name.strip_suffix("ImageProcessor").or_else(|| name.strip_suffix("FeatureExtractor"))?;
        match stem {
            "CLIP" => Some(Self::Clip),
            "Siglip" => Some(Self::Siglip),
            "Bit" => Some(Self::Bit),
            "Llava" => Some(Self::Llava),
            "LlavaNext" => Some(Self::LlavaNext),
            _ => None,
        }
    }

    /// What transformers loads for a model whose configuration names no class.
    fn of_model(model_type: &str) -> Option<Self> {
        match model_type {
            "clip" | "clip_vision_model" => Some(Self::Clip),
            "siglip" | "siglip_vision_model" => Some(Self::Siglip),
            "bit" | "dinov2" | "dinov2_with_registers" => Some(Self::Bit),
            "llava" => Some(Self::Llava),
            "llava_next" => Some(Self::LlavaNext),
            _ => None,
        }
    }
}

/// A configuration whose class is known.
#[derive(Debug)]
pub(super) struct Config<'v> {
    class: Class,
    fields: Fields<'v>,
}

impl<'v> Config<'v> {
    pub(super) fn read(config: &'v Value, model_type: Option<&str>) -> Result<Self, ImagingError> {
        let inner = config.get("image_processor").filter(|inner| inner.is_object()).unwrap_or(config);
        let object = inner.as_object().ok_or_else(|| ImagingError::Processor {
            field: "the configuration".into(),
            value: inner.to_string().chars().take(40).collect(),
            supported: "a JSON object is".into(),
        })?;
        let fields = Fields(object);
        let known = "CLIPImageProcessor, SiglipImageProcessor, BitImageProcessor, LlavaImageProcessor and \
                     LlavaNextImageProcessor are";
        let named = ["image_processor_type", "feature_extractor_type"]
            .into_iter()
            .find_map(|name| Some((name, fields.get(name)?.as_str()?)));
        let class = match (named, model_type) {
            (Some((name, class)), _) => Class::from_name(class).ok_or_else(|| fields.refuse(name, known))?,
            (None, Some(model_type)) => {
                Class::of_model(model_type).ok_or_else(|| ImagingError::Processor {
                    field: "model_type".into(),
                    value: format!("{model_type:?}"),
                    supported: format!(
                        "without an image_processor_type it must be of CLIP, SigLIP, DINOv2 or LLaVA; {known}"
                    ),
                })?
            }
            (None, None) => return Err(fields.refuse("image_processor_type", known)),
        };
        Ok(Self { class, fields })
    }

    pub(super) fn build(self) -> Result<Processor, ImagingError> {
        let fields = self.fields;
        self.refuse_what_is_not_done()?;
        let (default_size, default_crop) = match self.class {
            Class::Siglip => (Size::Exact { height: 224, width: 224 }, None),
            _ => (Size::ShortestEdge { edge: 224, longest: None }, Some((224, 224))),
        };
        // What is not used may be null, and is not read.
        let resizing = || Ok((fields.size(default_size)?, fields.filter(Filter::Bicubic)?));
        let crop = fields.crop(default_crop)?;
        let crops = fields.flag("do_center_crop", self.class != Class::Siglip)?;
        if crops && crop.is_none() {
            return Err(fields.refuse("crop_size", "with do_center_crop a size is needed"));
        }
        let frame = Frame {
            resize: if fields.flag("do_resize", true)? { Some(resizing()?) } else { None },
            crop: crop.filter(|_| crops),
        };
        let (mean, deviation) = match self.class {
            Class::Siglip => ([0.5; 3], [0.5; 3]),
            _ => (CLIP_MEAN, CLIP_DEVIATION),
        };
        let mean = || fields.channels("image_mean", mean);
        let shape = match self.class {
            Class::Llava if fields.flag("do_pad", false)? => Shape::Square(self.background(mean()?)?),
            Class::LlavaNext => Shape::Tiles(self.tiles(resizing()?, crop, &frame)?),
            _ => Shape::Whole,
        };
        let factor = match fields.flag("do_rescale", true)? {
            true => Some(fields.number("rescale_factor", 1.0 / 255.0)?),
            false => None,
        };
        let normalise = match fields.flag("do_normalize", true)? {
            true => Some((mean()?, fields.channels("image_std", deviation)?)),
            false => None,
        };
        if normalise.is_some_and(|(_, deviation)| deviation.iter().any(|deviation| *deviation as f32 == 0.0))
        {
            return Err(fields.refuse("image_std", "numbers other than 0 are"));
        }
        let table = Arc::new(pixels::table(factor, normalise));
        Ok(Processor { frame, shape, table })
    }

    /// Refuses what would change the numbers. Fields that neither the class nor this knows do nothing there, and nothing
    /// here.
    fn refuse_what_is_not_done(&self) -> Result<(), ImagingError> {
        let fields = self.fields;
        let pads_batches = matches!(self.class, Class::Clip | Class::Siglip | Class::Bit);
        if pads_batches && fields.flag("do_pad", false)? {
            return Err(fields.refuse(
                "do_pad",
                "false is: padding to a batch would make a picture depend on its neighbours",
            ));
        }
        if fields
            .get("data_format")
            .is_some_and(|format| !matches!(format.as_str(), Some("channels_first" | "FIRST")))
        {
            return Err(fields.refuse("data_format", "channels_first is"));
        }
        if fields.flag("use_square_size", false)? {
            return Err(fields.refuse("use_square_size", "size with height and width is"));
        }
        Ok(())
    }

    /// The mean colour, cut to whole levels.
    fn background(&self, mean: [f64; 3]) -> Result<[u8; 3], ImagingError> {
        if mean.iter().any(|mean| !(0.0..=1.0).contains(mean)) {
            return Err(self.fields.refuse("image_mean", "with do_pad three numbers from 0 to 1 are"));
        }
        Ok(mean.map(|mean| (mean * 255.0) as u8))
    }

    fn tiles(
        &self,
        (size, filter): (Size, Filter),
        crop: Option<(u32, u32)>,
        frame: &Frame,
    ) -> Result<Tiles, ImagingError> {
        let (base, side) = match size {
            Size::Exact { height, width } => ((width, height), height),
            Size::ShortestEdge { edge, .. } => ((edge, edge), edge),
            Size::Within { .. } => {
                return Err(self.fields.refuse("size", "with tiles height and width, or shortest_edge, are"));
            }
        };
        let side = crop.map_or(side, |(_, height)| height);
        let resolutions = self.fields.resolutions(&PINPOINTS)?;
        Tiles::new(resolutions, base, side, filter, frame).ok_or_else(|| {
            self.fields.refuse("image_grid_pinpoints", "resolutions whose tiles all have one size are")
        })
    }
}
