//! Reads what a file says of its picture, before anything is decoded or allocated.
//!
//! Formats are told by their first bytes, never by a name. The walk over a file's segments reads a few bytes of each
//! and skips the rest. It is made of a bounded number of reads, so it costs microseconds for what cameras and programs
//! write, and at most a few milliseconds whatever the bytes are and however many.

mod bytes;
mod exif;
mod jpeg;
mod png;
mod sniff;
mod tiff;
mod webp;

use bytes::{Endian, Reader, Steps};
pub(crate) use exif::Orientation;

use crate::{ImagingError, Limits};

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Baseline and progressive, grey, colour and CMYK.
    Jpeg,
    /// All bit depths; of an animated one the first frame.
    Png,
    /// Lossy and lossless; of an animated one the first frame.
    WebP,
    /// The first frame.
    Gif,
    /// Windows bitmaps.
    Bmp,
    /// The first picture of the file.
    Tiff,
}

impl std::fmt::Display for Format {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
        })
    }
}

/// What a file says of its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// The file's format.
    pub format: Format,
    /// Pixels in a row, as the picture is to be looked at: EXIF orientation is applied.
    pub width: u32,
    /// Rows, likewise.
    pub height: u32,
    pub(crate) orientation: Orientation,
}

impl Header {
    /// The number of pixels.
    pub fn pixels(&self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// Memory that [`decode`](crate::decode) takes at most besides the file itself, what it returns included.
    pub fn decoding_bytes(&self) -> u64 {
        // The costliest form of each format, in bytes a pixel: progressive CMYK with its coefficients, 16-bit RGBA in
        // the decoder's buffer, in ours and as RGB, or only in ours and as RGB.
        let pixel = match self.format {
            Format::Jpeg | Format::WebP => 17,
            Format::Tiff => 19,
            Format::Png | Format::Gif | Format::Bmp => 11,
        };
        // Lossy formats are decoded in whole blocks, of up to 32 pixels a side: a line of pixels is a band to them.
        let whole = |side: u32| match self.format {
            Format::Jpeg | Format::WebP => u64::from(side).next_multiple_of(32),
            _ => u64::from(side),
        };
        // Rows, tables and what else does not grow with the picture.
        whole(self.width) * whole(self.height) * pixel + crate::decode::SLACK
    }

    /// Width and height as they are stored, before the orientation is applied.
    pub(crate) fn stored(&self) -> (u32, u32) {
        if self.orientation.swaps_sides() { (self.height, self.width) } else { (self.width, self.height) }
    }
}

/// Format and size of the picture in these bytes, from its header alone. Nothing is decoded, and nothing allocated.
///
/// # Errors
///
/// [`ImagingError::Unrecognised`] where the bytes are no such picture, [`ImagingError::TooLarge`] where it claims more
/// than the limits, [`ImagingError::Damaged`] where the header is cut off, contradicts itself or claims no pixels,
/// [`ImagingError::Unsupported`] where the file is made of more pieces than any program writes.
pub fn header(bytes: &[u8], limits: &Limits) -> Result<Header, ImagingError> {
    let format = sniff::format(bytes)?;
    let steps = Steps::new();
    let claim = match format {
        Format::Jpeg => Ok(jpeg::claim(bytes, &steps)),
        Format::Png => Ok(png::claim(bytes, &steps)),
        Format::WebP => webp::claim(bytes, limits, &steps),
        Format::Gif => Ok(gif(bytes, &steps)),
        Format::Bmp => Ok(bmp(bytes, &steps)),
        Format::Tiff => Ok(tiff::claim(bytes, &steps)),
    };
    // Where the walk was stopped, what it found before may be half of the truth.
    if steps.are_used_up() {
        let most = Steps::MOST;
        return Err(ImagingError::unsupported(
            format,
            format!("its header goes on for more than {most} fields"),
        ));
    }
    let claim = claim?.ok_or_else(|| ImagingError::damaged(format, "its header is incomplete"))?;
    limits.check(claim.width, claim.height)?;
    if claim.width == 0 || claim.height == 0 {
        return Err(ImagingError::damaged(
            format,
            format!("it claims to be {}x{}", claim.width, claim.height),
        ));
    }
    // The limits are checked, and a side is a u32 there.
    let (mut width, mut height) = (claim.width as u32, claim.height as u32);
    if claim.orientation.swaps_sides() {
        (width, height) = (height, width);
    }
    Ok(Header { format, width, height, orientation: claim.orientation })
}

/// What a header says, unchecked.
struct Claim {
    width: u64,
    height: u64,
    orientation: Orientation,
}

impl Claim {
    fn upright(width: u64, height: u64) -> Self {
        Self { width, height, orientation: Orientation::default() }
    }
}

/// The logical screen. <https://www.w3.org/Graphics/GIF/spec-gif89a.txt>
fn gif(bytes: &[u8], steps: &Steps) -> Option<Claim> {
    let mut reader = Reader::new(bytes, Endian::Little, steps).at(6)?;
    Some(Claim::upright(reader.u16()?.into(), reader.u16()?.into()))
}

/// The old and the new bitmap header; a negative height means that rows go from the top down.
/// <https://learn.microsoft.com/windows/win32/api/wingdi/ns-wingdi-bitmapinfoheader>
fn bmp(bytes: &[u8], steps: &Steps) -> Option<Claim> {
    let mut reader = Reader::new(bytes, Endian::Little, steps).at(14)?;
    if reader.u32()? == 12 {
        return Some(Claim::upright(reader.u16()?.into(), reader.u16()?.into()));
    }
    let (width, height) = (reader.u32()?, reader.u32()? as i32);
    Some(Claim::upright(width.into(), height.unsigned_abs().into()))
}
