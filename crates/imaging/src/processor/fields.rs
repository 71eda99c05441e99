//! Fields of a processor's configuration, read with their names at hand for refusals.

use serde_json::Value;

use super::frame::Size;
use crate::{Filter, ImagingError};

/// The longest side that a configuration may ask for.
const LONGEST: u64 = 16_384;

/// The fields of one processor. An absent one has its class's default. To the reference null is no default but nothing: a
/// flag that is not set, a value that must not be needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'v>(pub(super) &'v serde_json::Map<String, Value>);

impl<'v> Fields<'v> {
    pub(super) fn get(self, name: &str) -> Option<&'v Value> {
        self.0.get(name)
    }

    pub(super) fn refuse(self, name: &str, supported: impl Into<String>) -> ImagingError {
        let value = self.0.get(name).unwrap_or(&Value::Null).to_string();
        ImagingError::Processor { field: name.into(), value, supported: supported.into() }
    }

    pub(super) fn flag(self, name: &str, default: bool) -> Result<bool, ImagingError> {
        match self.get(name) {
            None => Ok(default),
            Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.refuse(name, "true or false is")),
        }
    }

    pub(super) fn number(self, name: &str, default: f64) -> Result<f64, ImagingError> {
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        let number = value.as_f64().filter(|number| number.is_finite());
        number.ok_or_else(|| self.refuse(name, "a number is"))
    }

    /// One number for all channels, or one for each.
    pub(super) fn channels(self, name: &str, default: [f64; 3]) -> Result<[f64; 3], ImagingError> {
        let wrong = || self.refuse(name, "a number or a list of three is");
        let finite = |value: &Value| value.as_f64().filter(|number| (*number as f32).is_finite());
        match self.get(name) {
            None => Ok(default),
            Some(Value::Array(values)) => {
                let numbers: Option<Vec<f64>> = values.iter().map(finite).collect();
                numbers.and_then(|numbers| numbers.try_into().ok()).ok_or_else(wrong)
            }
            Some(value) => finite(value).map(|number| [number; 3]).ok_or_else(wrong),
        }
    }

    /// Pillow's number of a filter.
    pub(super) fn filter(self, default: Filter) -> Result<Filter, ImagingError> {
        const FILTERS: [Filter; 6] = [
            Filter::Nearest,
            Filter::Lanczos3,
            Filter::Bilinear,
            Filter::Bicubic,
            Filter::Box,
            Filter::Hamming,
        ];
        let Some(value) = self.get("resample") else {
            return Ok(default);
        };
        let filter = value.as_u64().and_then(|number| FILTERS.get(usize::try_from(number).ok()?));
        filter.copied().ok_or_else(|| self.refuse("resample", "0 to 5 are"))
    }

    /// `size`: a number, a pair of height and width, or an object in one of three forms.
    pub(super) fn size(self, default: Size) -> Result<Size, ImagingError> {
        let wrong = || {
            let forms = "a number, height and width, shortest_edge with or without longest_edge, or max_height and max_width";
            self.refuse("size", format!("{forms}, each from 1 to {LONGEST}, are"))
        };
        let Some(value) = self.get("size") else {
            return Ok(default);
        };
        if let Value::Number(_) = value {
            let edge = side(value).ok_or_else(wrong)?;
            let square = self.flag("default_to_square", false)?;
            return Ok(if square {
                Size::Exact { height: edge, width: edge }
            } else {
                Size::ShortestEdge { edge, longest: None }
            });
        }
        if let Value::Array(_) = value {
            let (height, width) = pair(value).ok_or_else(wrong)?;
            return Ok(Size::Exact { height, width });
        }
        let object = value.as_object().ok_or_else(wrong)?;
        let present: Vec<_> = object.iter().filter(|(_, value)| !value.is_null()).collect();
        let sides: Option<Vec<(&str, u32)>> =
            present.iter().map(|(name, value)| Some((name.as_str(), side(value)?))).collect();
        let mut sides = sides.ok_or_else(wrong)?;
        sides.sort_unstable();
        match sides[..] {
            [("height", height), ("width", width)] => Ok(Size::Exact { height, width }),
            [("shortest_edge", edge)] => Ok(Size::ShortestEdge { edge, longest: None }),
            [("longest_edge", longest), ("shortest_edge", edge)] => {
                Ok(Size::ShortestEdge { edge, longest: Some(longest) })
            }
            [("max_height", height), ("max_width", width)] => Ok(Size::Within { height, width }),
            _ => Err(wrong()),
        }
    }

    /// `crop_size` as width and height: a number means a square. `None` where there is none.
    pub(super) fn crop(self, default: Option<(u32, u32)>) -> Result<Option<(u32, u32)>, ImagingError> {
        let Some(value) = self.get("crop_size") else {
            return Ok(default);
        };
        let crop = match value {
            Value::Null => return Ok(None),
            Value::Number(_) => side(value).map(|side| (side, side)),
            Value::Array(_) => pair(value).map(|(height, width)| (width, height)),
            Value::Object(object) => {
                let get = |name| object.get(name).and_then(side);
                get("width").zip(get("height")).filter(|_| object.len() == 2)
            }
            _ => None,
        };
        let forms = format!("a number, or height and width, each from 1 to {LONGEST}, are");
        crop.map(Some).ok_or_else(|| self.refuse("crop_size", forms))
    }

    /// Pinpoints as (width, height).
    pub(super) fn resolutions(self, default: &[(u32, u32)]) -> Result<Vec<(u32, u32)>, ImagingError> {
        let name = "image_grid_pinpoints";
        let Some(value) = self.get(name) else {
            return Ok(default.to_vec());
        };
        let pairs = value.as_array().filter(|pairs| !pairs.is_empty());
        let pairs: Option<Vec<_>> = pairs.and_then(|pairs| {
            pairs.iter().map(|value| pair(value).map(|(height, width)| (width, height))).collect()
        });
        pairs.ok_or_else(|| self.refuse(name, format!("pairs of height and width from 1 to {LONGEST} are")))
    }
}

fn side(value: &Value) -> Option<u32> {
    value.as_u64().filter(|side| (1..=LONGEST).contains(side)).map(|side| side as u32)
}

/// Height and width.
fn pair(value: &Value) -> Option<(u32, u32)> {
    match value.as_array().map(Vec::as_slice) {
        Some([height, width]) => side(height).zip(side(width)),
        _ => None,
    }
}
