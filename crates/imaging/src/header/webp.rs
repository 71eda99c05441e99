//! WebP: the canvas, and EXIF wherever it stands. RFC 9649.

use super::bytes::{Endian, Reader, Steps};
use super::{Claim, Format, Orientation};
use crate::{ImagingError, Limits};

pub(super) fn claim(bytes: &[u8], limits: &Limits, steps: &Steps) -> Result<Option<Claim>, ImagingError> {
    let (mut canvas, mut exif, mut animated) = (None, None, false);
    // The largest sides that any frame claims. A file says twice which of its frames is the picture, and may contradict
    // itself: the decoder goes by one of the two, so what is looked at is all that it might decode.
    let mut frame: Option<(u64, u64)> = None;
    let mut larger = |sides: Option<(u64, u64)>| {
        if let Some((width, height)) = sides {
            let (widest, highest) = frame.unwrap_or_default();
            frame = Some((widest.max(width), highest.max(height)));
        }
    };
    let reader = Reader::new(bytes, Endian::Little, steps);
    let mut rest = reader.at(12);
    // What is cut off after the sizes is found out when it is decoded.
    while let Some((name, content, next)) = rest.and_then(chunk) {
        rest = Some(next);
        match name {
            b"VP8X" => canvas = extended(reader.of(content)),
            // Of an animation the first frame is decoded, and of that no more than two chunks are looked at: an alpha
            // plane may stand before the frame.
            b"ANMF" if !animated => {
                animated = true;
                let Some((first, content, next)) = reader.of(content).at(16).and_then(chunk) else {
                    continue;
                };
                larger(coded(first, reader.of(content)));
                if let Some((second, content, _)) = chunk(next) {
                    larger(coded(second, reader.of(content)));
                    // What follows alpha is lossy, whatever it calls itself.
                    larger(lossy(reader.of(content)).filter(|_| first == b"ALPH"));
                }
            }
            b"EXIF" if exif.is_none() => exif = Some(content),
            _ => larger(coded(name, reader.of(content))),
        }
    }
    let Some((width, height)) = canvas.or(frame) else { return Ok(None) };
    // A small canvas may hide a huge frame, and the decoder would make room for that.
    if let Some((frame_width, frame_height)) = frame {
        limits.check(frame_width, frame_height)?;
        if frame_width > width || frame_height > height {
            return Err(ImagingError::damaged(Format::WebP, "its frame is larger than its canvas"));
        }
    }
    let orientation = exif.and_then(Orientation::from_block).unwrap_or_default();
    Ok(Some(Claim { width, height, orientation }))
}

/// Name, content (as much as there is) and what follows.
fn chunk(mut reader: Reader<'_>) -> Option<(&[u8], &[u8], Reader<'_>)> {
    let name = reader.take(4)?;
    let length = reader.u32()? as usize;
    let content = reader.rest().get(..length).unwrap_or(reader.rest());
    // Chunks are padded to an even length; nothing follows where the file ends before.
    let skipped = (length + (length & 1)).min(reader.rest().len());
    reader.take(skipped)?;
    Some((name, content, reader))
}

fn extended(reader: Reader<'_>) -> Option<(u64, u64)> {
    let mut reader = reader.at(4)?;
    Some((u64::from(reader.u24()?) + 1, u64::from(reader.u24()?) + 1))
}

/// The sides of a frame, if this chunk is one.
fn coded(name: &[u8], content: Reader<'_>) -> Option<(u64, u64)> {
    match name {
        b"VP8 " => lossy(content),
        b"VP8L" => lossless(content),
        _ => None,
    }
}

/// A frame tag of three bytes and the start code stand before; two bits of each side are a scale.
fn lossy(content: Reader<'_>) -> Option<(u64, u64)> {
    let mut reader = content.at(6)?;
    Some((u64::from(reader.u16()? & 0x3fff), u64::from(reader.u16()? & 0x3fff)))
}

fn lossless(content: Reader<'_>) -> Option<(u64, u64)> {
    let bits = content.at(1)?.u32()?;
    Some((u64::from(bits & 0x3fff) + 1, u64::from(bits >> 14 & 0x3fff) + 1))
}
