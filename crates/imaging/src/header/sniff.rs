//! What bytes are, by how they begin.

use super::Format;
use crate::ImagingError;

/// The format, or what else the bytes look like.
pub(super) fn format(bytes: &[u8]) -> Result<Format, ImagingError> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] => Ok(Format::Jpeg),
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Ok(Format::Png),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Format::WebP),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Format::Gif),
        [b'B', b'M', ..] if is_bitmap(bytes) => Ok(Format::Bmp),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Format::Tiff),
        _ => Err(ImagingError::Unrecognised { what: other(bytes) }),
    }
}

/// Two letters are little to go by: the size of the second header must be one that exists.
fn is_bitmap(bytes: &[u8]) -> bool {
    let size =
        bytes.get(14..18).and_then(|size| size.first_chunk::<4>()).map(|size| u32::from_le_bytes(*size));
    size.is_none_or(|size| matches!(size, 12 | 40 | 52 | 56 | 64 | 108 | 124))
}

/// What bytes that are no picture for us are most likely, for the message.
fn other(bytes: &[u8]) -> &'static str {
    /// More is not looked at.
    const LOOKED_AT: usize = 1024;
    if bytes.is_empty() {
        return "an empty file";
    }
    match bytes {
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', ..] => return "an AVIF file",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => return "a HEIF picture or a film",
        [0xff, 0x0a, ..] | [0, 0, 0, 0x0c, b'J', b'X', b'L', b' ', ..] => return "a JPEG XL file",
        [0, 0, 0, 0x0c, b'j', b'P', b' ', b' ', ..] => return "a JPEG 2000 file",
        [0, 0, 1, 0, ..] => return "an icon file",
        [b'%', b'P', b'D', b'F', ..] => return "a PDF document",
        _ => {}
    }
    let start = &bytes[..bytes.len().min(LOOKED_AT)];
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        // A character may be cut in two where the look ends.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return "this file",
    };
    if text.contains("<svg") {
        "an SVG drawing"
    } else if text.chars().all(|letter| !letter.is_control() || letter.is_whitespace()) {
        "a text file"
    } else {
        "this file"
    }
}
