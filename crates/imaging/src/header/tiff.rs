//! TIFF and BigTIFF: the first directory. TIFF 6.0, section 2.

use super::bytes::{Endian, Reader, Steps};
use super::{Claim, Orientation};

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const ORIENTATION: u16 = 274;

pub(super) fn claim(bytes: &[u8], steps: &Steps) -> Option<Claim> {
    let endian = if bytes.starts_with(b"II") { Endian::Little } else { Endian::Big };
    let mut reader = Reader::new(bytes, endian, steps).at(2)?;
    let big = reader.u16()? == 43;
    // BigTIFF writes the width of its offsets and a zero, then offsets of eight bytes in place of four.
    let (mut directory, entries) = if big {
        reader.take(4)?;
        let mut directory = reader.at(reader.u64()?)?;
        let entries = directory.u64()?;
        (directory, entries)
    } else {
        let mut directory = reader.at(reader.u32()?.into())?;
        let entries = directory.u16()?;
        (directory, entries.into())
    };
    let (mut width, mut height, mut orientation) = (None, None, Orientation::default());
    for _ in 0..entries {
        let (tag, kind) = (directory.u16()?, directory.u16()?);
        let rest = directory.take(if big { 16 } else { 8 })?;
        let mut value = directory.of(rest).at(if big { 8 } else { 4 })?;
        let number = match kind {
            1 => value.u8().map(u64::from),
            3 => value.u16().map(u64::from),
            4 => value.u32().map(u64::from),
            16 if big => value.u64(),
            _ => None,
        };
        match tag {
            WIDTH => width = number,
            HEIGHT => height = number,
            ORIENTATION => orientation = Orientation::from_value(number.unwrap_or_default()),
            _ => {}
        }
    }
    Some(Claim { width: width?, height: height?, orientation })
}
