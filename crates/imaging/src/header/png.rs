//! PNG: the first chunk, and EXIF wherever it stands. <https://www.w3.org/TR/png-3>

use super::bytes::{Endian, Reader, Steps};
use super::{Claim, Orientation};

pub(super) fn claim(bytes: &[u8], steps: &Steps) -> Option<Claim> {
    let mut reader = Reader::new(bytes, Endian::Big, steps).at(8)?;
    let (_, first) = (reader.u32()?, reader.take(4)?);
    if first != b"IHDR" {
        return None;
    }
    let (width, height) = (reader.u32()?.into(), reader.u32()?.into());
    let orientation = orientation(reader).unwrap_or_default();
    Some(Claim { width, height, orientation })
}

/// `eXIf` may stand after the samples, so all chunks are walked over. A file that ends early has told none, and is found
/// out when it is decoded.
fn orientation(mut reader: Reader<'_>) -> Option<Orientation> {
    // What is left of the first chunk: depth, colour type and methods, then its checksum.
    reader.take(5 + 4)?;
    loop {
        let length = reader.u32()? as usize;
        let name = reader.take(4)?;
        let content = reader.take(length)?;
        if name == b"eXIf" {
            return Orientation::from_block(content);
        }
        reader.take(4)?;
    }
}
