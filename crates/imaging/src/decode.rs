//! From a file's bytes to a picture.
//!
//! What is computed, beside Pillow, which the reference processors read files with:
//!
//! - Alpha, also a palette's or a key colour's, is composited on white by Pillow's arithmetic, as the processors of
//!   transformers 5 do with an RGBA picture. (Their loader of URLs drops it before they see it.)
//! - Of 16-bit samples the high byte is taken. Pillow does so for colour; 16-bit grey it clips at 255, which makes nearly
//!   every such picture white, and is not followed.
//! - CMYK becomes RGB without a colour profile, as in Pillow. Profiles and gamma are not applied, as in Pillow.
//! - Of an animation the first frame is read, on a transparent canvas.

mod jpeg;
mod rgb;

use std::io::Cursor;

use image::codecs::{
    bmp::BmpDecoder, gif::GifDecoder, png::PngDecoder, tiff::TiffDecoder, webp::WebPDecoder,
};
use image::{ColorType, ImageDecoder, ImageError, ImageResult};

use crate::header::Header;
use crate::{Format, Image, ImagingError, Limits, header};

/// What a decoder may take that does not grow with the picture.
pub(crate) const SLACK: u64 = 1 << 20;

/// The picture in these bytes, the right way up.
///
/// Heavy: tens of milliseconds for a photograph, so it belongs on a compute lane. Memory is at most
/// [`Header::decoding_bytes`].
///
/// # Errors
///
/// As [`header`](crate::header()), before anything is decoded; [`ImagingError::Damaged`] where the file is cut off or
/// broken, [`ImagingError::Unsupported`] where it is of a rare form that is not read.
///
/// ```
/// let bitmap = [
///     b"BM".as_slice(), &[0; 8], &26_u32.to_le_bytes(),
///     // Two pixels, one row, 24 bits a pixel: blue, green, red.
///     &12_u32.to_le_bytes(), &[2, 0, 1, 0, 1, 0, 24, 0], &[30, 20, 10, 60, 50, 40, 0, 0],
/// ].concat();
/// let image = imaging::decode(&bitmap, &imaging::Limits::default())?;
/// assert_eq!((image.width(), image.height()), (2, 1));
/// assert_eq!(image.pixels(), [10, 20, 30, 40, 50, 60]);
/// # Ok::<(), imaging::ImagingError>(())
/// ```
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Image, ImagingError> {
    decode_as(bytes, limits, rgb::from_samples)
}

/// The mask in these bytes, the right way up: white where a picture is to be drawn anew.
///
/// Of a picture with transparent pixels those are white and opaque ones black, as OpenAI's clients send masks; any other is
/// read as it is, white meaning white. Like [`decode`] otherwise.
///
/// # Errors
///
/// As [`decode`].
pub fn decode_mask(bytes: &[u8], limits: &Limits) -> Result<Image, ImagingError> {
    decode_as(bytes, limits, |colour, samples| match rgb::transparency(colour, &samples) {
        Some(mask) => Some(mask),
        None => rgb::from_samples(colour, samples),
    })
}

/// Three samples a pixel from a decoder's; `None` where there is no way.
type ToRgb = fn(ColorType, Vec<u8>) -> Option<Vec<u8>>;

fn decode_as(bytes: &[u8], limits: &Limits, to_rgb: ToRgb) -> Result<Image, ImagingError> {
    let header = header(bytes, limits)?;
    let reader = Cursor::new(bytes);
    let stored = match header.format {
        Format::Jpeg => jpeg::decode(bytes, &header)?,
        Format::Png => read(&header, PngDecoder::with_limits(reader, allowance(&header)), to_rgb)?,
        Format::WebP => read(&header, WebPDecoder::new(reader), to_rgb)?,
        Format::Gif => read(&header, GifDecoder::new(reader), to_rgb)?,
        Format::Bmp => read(&header, BmpDecoder::new(reader), to_rgb)?,
        Format::Tiff => read(&header, TiffDecoder::new(reader), to_rgb)?,
    };
    Ok(header.orientation.apply(stored))
}

/// What one of the library's decoders may allocate.
fn allowance(header: &Header) -> image::Limits {
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(header.decoding_bytes());
    limits
}

fn read<D: ImageDecoder>(
    header: &Header,
    decoder: ImageResult<D>,
    to_rgb: ToRgb,
) -> Result<Image, ImagingError> {
    let (width, height) = header.stored();
    let (colour, samples) = decoder
        .and_then(|mut decoder| {
            decoder.set_limits(allowance(header))?;
            let colour = decoder.color_type();
            if decoder.dimensions() != (width, height) {
                return Ok((colour, None));
            }
            // The limits are checked, and they fit in memory.
            let mut samples = vec![0; decoder.total_bytes() as usize];
            decoder.read_image(&mut samples)?;
            Ok((colour, Some(samples)))
        })
        .map_err(|error| told(header.format, error))?;
    let Some(samples) = samples else {
        return Err(ImagingError::damaged(header.format, "it gives two different sizes"));
    };
    let Some(pixels) = to_rgb(colour, samples) else {
        return Err(ImagingError::unsupported(header.format, format!("its samples are {colour:?}")));
    };
    Image::new(width, height, pixels)
}

fn told(format: Format, error: ImageError) -> ImagingError {
    match error {
        ImageError::Unsupported(error) => ImagingError::unsupported(format, error.to_string()),
        ImageError::Limits(_) => {
            ImagingError::damaged(format, "it needs far more memory than its size explains")
        }
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImagingError::damaged(format, "the file ends too early")
        }
        error => ImagingError::damaged(format, error.to_string()),
    }
}
