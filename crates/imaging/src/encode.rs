//! From a picture to a file's bytes.

use std::io::Write;

use image::codecs::{jpeg::JpegEncoder, webp::WebPEncoder};
use image::{ExtendedColorType, ImageEncoder};

use crate::{Format, Image, ImagingError};

/// How a picture is written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// Without loss, with texts beside the pixels: keywords and what they say, such as `parameters`.
    Png {
        /// Keywords have 1 to 79 characters of Latin-1.
        texts: Vec<(String, String)>,
    },
    /// Baseline, every pixel with a colour of its own (4:4:4).
    Jpeg {
        /// From 1 to 100, as libjpeg counts.
        quality: u8,
    },
    /// Without loss.
    WebP,
}

/// The longest sides that the formats can say.
const LONGEST_JPEG: u32 = 65_535;
const LONGEST_WEBP: u32 = 16_383;

impl Encoding {
    /// What the file will be.
    pub fn format(&self) -> Format {
        match self {
            Self::Png { .. } => Format::Png,
            Self::Jpeg { .. } => Format::Jpeg,
            Self::WebP => Format::WebP,
        }
    }

    /// Whether a picture of this size can be written so.
    ///
    /// # Errors
    ///
    /// [`ImagingError::Encoding`], as [`encode`] would give it.
    pub fn check(&self, width: u32, height: u32) -> Result<(), ImagingError> {
        let wrong = |reason: String| Err(ImagingError::Encoding { format: self.format(), reason });
        let longest = match self {
            Self::Png { texts } => {
                let latin = |keyword: &str| {
                    keyword.chars().all(|char| (' '..='~').contains(&char) || ('¡'..='ÿ').contains(&char))
                };
                let fits =
                    |keyword: &str| (1..=79).contains(&keyword.chars().count()) && keyword.trim() == keyword;
                if let Some((keyword, _)) =
                    texts.iter().find(|(keyword, _)| !latin(keyword) || !fits(keyword))
                {
                    return wrong(format!(
                        "the keyword {keyword:?} of its text does not have 1 to 79 characters of Latin-1"
                    ));
                }
                return Ok(());
            }
            Self::Jpeg { quality } if !(1..=100).contains(quality) => {
                return wrong(format!("the quality is {quality}, it must be 1 to 100"));
            }
            Self::Jpeg { .. } => LONGEST_JPEG,
            Self::WebP => LONGEST_WEBP,
        };
        match width.max(height) <= longest {
            true => Ok(()),
            false => {
                wrong(format!("the picture is {width}x{height}, and no side may be longer than {longest}"))
            }
        }
    }
}

/// The picture as a file's bytes.
///
/// Heavy: tens of milliseconds for a picture of a megapixel, so it belongs on a compute lane.
///
/// # Errors
///
/// [`ImagingError::Encoding`] where the format cannot hold the picture or what is asked for.
///
/// ```
/// use imaging::{Encoding, Image, Limits};
///
/// let image = Image::new(2, 1, vec![0, 10, 20, 30, 40, 50])?;
/// let texts = vec![("parameters".to_owned(), "a red fox, steps 20".to_owned())];
/// let file = imaging::encode(&image, &Encoding::Png { texts })?;
/// assert_eq!(imaging::decode(&file, &Limits::default())?, image);
/// # Ok::<(), imaging::ImagingError>(())
/// ```
pub fn encode(image: &Image, encoding: &Encoding) -> Result<Vec<u8>, ImagingError> {
    encoding.check(image.width(), image.height())?;
    let told = |reason: String| ImagingError::Encoding { format: encoding.format(), reason };
    let (width, height, colour) = (image.width(), image.height(), ExtendedColorType::Rgb8);
    let mut file = Vec::new();
    match encoding {
        Encoding::Png { texts } => png(image, texts, &mut file).map_err(|error| told(error.to_string()))?,
        Encoding::Jpeg { quality } => JpegEncoder::new_with_quality(&mut file, *quality)
            .write_image(image.pixels(), width, height, colour)
            .map_err(|error| told(error.to_string()))?,
        Encoding::WebP => WebPEncoder::new_lossless(&mut file)
            .write_image(image.pixels(), width, height, colour)
            .map_err(|error| told(error.to_string()))?,
    }
    Ok(file)
}

fn png(image: &Image, texts: &[(String, String)], file: &mut impl Write) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(file, image.width(), image.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    for (keyword, text) in texts {
        // As Pillow chooses: every reader knows the chunk of Latin-1, and only that of UTF-8 can say the rest.
        let latin = text.chars().all(|char| u32::from(char) < 256 && char != '\0');
        match latin {
            true => encoder.add_text_chunk(keyword.clone(), text.clone())?,
            false => encoder.add_itxt_chunk(keyword.clone(), text.clone())?,
        }
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(image.pixels())?;
    writer.finish()
}
