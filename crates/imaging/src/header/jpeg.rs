//! JPEG: the first frame header, and EXIF among the application segments. ITU-T T.81, annex B.

use super::bytes::{Endian, Reader, Steps};
use super::{Claim, Orientation};

pub(super) fn claim(bytes: &[u8], steps: &Steps) -> Option<Claim> {
    let mut reader = Reader::new(bytes, Endian::Big, steps).at(2)?;
    let (mut size, mut exif) = (None, None);
    loop {
        let mut marker = reader.u8()?;
        // Bytes between segments are skipped, as decoders do; any number of 0xff may stand before a marker.
        while marker != 0xff {
            marker = reader.u8()?;
        }
        while marker == 0xff {
            marker = reader.u8()?;
        }
        match marker {
            0 | 0x01 | 0xd0..=0xd8 => continue,
            // The scan or the end: whatever is to be known has been said.
            0xd9 | 0xda => break,
            _ => {}
        }
        let length = usize::from(reader.u16()?).checked_sub(2)?;
        let segment = reader.take(length)?;
        match marker {
            // A frame header of whatever coding, told from the tables that share its range.
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) && size.is_none() => {
                let mut frame = reader.of(segment).at(1)?;
                let (height, width) = (frame.u16()?, frame.u16()?);
                size = Some((u64::from(width), u64::from(height)));
            }
            0xe1 if segment.starts_with(b"Exif\0\0") && exif.is_none() => exif = Some(segment),
            _ => {}
        }
    }
    let (width, height) = size?;
    let orientation = exif.and_then(Orientation::from_block).unwrap_or_default();
    Some(Claim { width, height, orientation })
}
