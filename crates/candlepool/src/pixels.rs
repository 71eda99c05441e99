//! The size of a picture as people write it: `512x768`.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// Pixels a row, and rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String", expecting = "a size such as \"512x512\"")]
pub(crate) struct Pixels {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl fmt::Display for Pixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FromStr for Pixels {
    type Err = String;

    /// Which sizes a model can draw is the model's to say; what is no size is told here.
    fn from_str(text: &str) -> Result<Self, String> {
        // Digits alone: `parse` takes a sign, too.
        let side = |side: &str| side.bytes().all(|byte| byte.is_ascii_digit()).then(|| side.parse().ok())?;
        let sides = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
        match sides {
            Some((width, height)) if width > 0 && height > 0 => Ok(Self { width, height }),
            _ => Err(format!("{text:?} is no size; write WIDTHxHEIGHT in pixels, such as 512x512")),
        }
    }
}

impl TryFrom<String> for Pixels {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_two_numbers_with_an_x() {
        for (text, width, height) in [("512x768", 512, 768), ("1x1", 1, 1), ("7x4294967295", 7, u32::MAX)] {
            let size: Pixels = text.parse().unwrap();
            assert_eq!((size.width, size.height, size.to_string().as_str()), (width, height, text));
        }
        for wrong in
            ["", "512", "512x", "x512", "0x8", "8x0", "+8x8", "8x-8", "8 x 8", "8X8", "8x8x8", "8x4294967296"]
        {
            assert!(wrong.parse::<Pixels>().unwrap_err().contains("is no size"), "{wrong}");
        }
    }
}
