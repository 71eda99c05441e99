//! WebP: the canvas, and EXIF wherever it stands. RFC 9649.

use super::bytes::{Endian, Reader};
use super::{Claim, Format, Orientation};
use crate::{ImagingError, Limits};

pub(super) fn claim(bytes: &[u8], limits: &Limits) -> Result<Claim, ImagingError> {
    let damaged = |reason| ImagingError::damaged(Format::WebP, reason);
    let (mut canvas, mut frame, mut orientation) = (None, None, None);
    let mut reader = Reader::new(bytes, Endian::Little).at(12);
    // What is cut off after the sizes is found out when it is decoded.
    while let Some((name, content, next)) = reader.and_then(chunk) {
        reader = Some(next);
        match name {
            b"VP8X" => canvas = extended(content),
            b"ANMF" if frame.is_none() => {
                frame = content.get(16..).and_then(|inner| {
                    let (name, content, _) = chunk(Reader::new(inner, Endian::Little))?;
                    // An alpha plane may stand before the frame; then the frame's own header is the second chunk.
                    match name {
                        b"ALPH" => animation_frame(content_after(inner, content)?),
                        _ => coded(name, content),
                    }
                });
            }
            b"VP8 " | b"VP8L" if frame.is_none() => frame = coded(name, content),
            b"EXIF" => orientation = Orientation::from_block(content),
            _ => {}
        }
    }
    let (width, height) = canvas.or(frame).ok_or_else(|| damaged("its header is incomplete"))?;
    // A small canvas may hide a huge frame, and the decoder would make room for that.
    if let Some((frame_width, frame_height)) = frame {
        limits.check(frame_width, frame_height)?;
        if frame_width > width || frame_height > height {
            return Err(damaged("its frame is larger than its canvas"));
        }
    }
    Ok(Claim { width, height, orientation: orientation.unwrap_or_default() })
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

fn content_after<'b>(inner: &'b [u8], first: &[u8]) -> Option<&'b [u8]> {
    inner.get(8 + first.len() + (first.len() & 1)..)
}

fn animation_frame(bytes: &[u8]) -> Option<(u64, u64)> {
    let (name, content, _) = chunk(Reader::new(bytes, Endian::Little))?;
    coded(name, content)
}

fn extended(content: &[u8]) -> Option<(u64, u64)> {
    let mut reader = Reader::new(content, Endian::Little).at(4)?;
    Some((u64::from(reader.u24()?) + 1, u64::from(reader.u24()?) + 1))
}

fn coded(name: &[u8], content: &[u8]) -> Option<(u64, u64)> {
    let reader = Reader::new(content, Endian::Little);
    if name == b"VP8L" {
        let bits = reader.at(1)?.u32()?;
        return Some((u64::from(bits & 0x3fff) + 1, u64::from(bits >> 14 & 0x3fff) + 1));
    }
    // A frame tag of three bytes and the start code stand before; two bits of each side are a scale.
    let mut reader = reader.at(6)?;
    Some((u64::from(reader.u16()? & 0x3fff), u64::from(reader.u16()? & 0x3fff)))
}
