//! JPEG.
//!
//! The `image` crate's own decoder rounds twice, always up, where it doubles the resolution of colours: against
//! libjpeg-turbo, which Pillow decodes with, it was measured 0.30 to 0.37 levels off on average for 4:2:0. `jpeg-decoder`,
//! by the same people, interpolates in one step and is 0.11 to 0.12 off, nowhere more than 3. It is kept in repair but
//! not extended, and uses rayon's threads for pictures of more than 128 pixels in width.

use jpeg_decoder::{Decoder, Error, PixelFormat};

use super::rgb;
use crate::header::Header;
use crate::{Format, Image, ImagingError};

/// The most pixels that the scans of a file go over, all together: 32 scans of the largest picture that is read by
/// default.
const MOST_WORK: u64 = 32 * (64 << 20);

pub(super) fn decode(bytes: &[u8], header: &Header) -> Result<Image, ImagingError> {
    let most = scans_allowed(header.pixels());
    if has_more_scans(bytes, most) {
        let reason = format!("it has more than {most} scans, and no picture of its size needs as many");
        return Err(ImagingError::unsupported(Format::Jpeg, reason));
    }
    let mut decoder = Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(usize::try_from(header.decoding_bytes()).unwrap_or(usize::MAX));
    decoder.read_info().map_err(told)?;
    let (width, height) = header.stored();
    let info =
        decoder.info().filter(|info| (u32::from(info.width), u32::from(info.height)) == (width, height));
    let info = info.ok_or_else(|| ImagingError::damaged(Format::Jpeg, "it gives two different sizes"))?;
    let samples = decoder.decode().map_err(told)?;
    let pixels = match info.pixel_format {
        PixelFormat::RGB24 => samples,
        PixelFormat::L8 => rgb::grey(&samples),
        PixelFormat::CMYK32 => from_cmyk(&samples),
        PixelFormat::L16 => return Err(ImagingError::unsupported(Format::Jpeg, "its samples have 16 bits")),
    };
    Image::new(width, height, pixels)
}

/// How many scans a picture of so many pixels may have. Encoders make about ten; a script of scans may ask for more, and
/// small pictures may have as many as libjpeg-turbo's tools are told to read where files are not trusted.
fn scans_allowed(pixels: u64) -> u64 {
    MOST_WORK.checked_div(pixels).unwrap_or_default().clamp(32, 100)
}

/// Whether the file has more scans than that. A scan of all blocks is some twenty bytes long if the blocks are empty, and
/// the decoder goes over all blocks for it; it has no limit of its own.
fn has_more_scans(bytes: &[u8], most: u64) -> bool {
    // As the decoder finds its markers: what is between two is skipped, be it samples or filler.
    let (mut rest, mut scans) = (bytes, 0);
    while let Some(place) =
        rest.array_windows().position(|[first, second]| *first == 0xff && is_marker(*second))
    {
        let marker = rest[place + 1];
        rest = &rest[place + 2..];
        match marker {
            0xd9 => break,
            0xd0..=0xd8 => continue,
            0xda => scans += 1,
            _ => {}
        }
        if scans > most {
            return true;
        }
        // A segment, which may hold another picture: its length counts itself.
        let length = rest.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)));
        let Some(next) = length.and_then(|length| rest.get(length..)) else { break };
        rest = next;
    }
    false
}

/// What 0xff and this byte begin: neither a sample of 255 nor a filler before a marker.
fn is_marker(second: u8) -> bool {
    !matches!(second, 0 | 0xff)
}

/// Ink to light without a profile, by Pillow's arithmetic. The decoder has already turned what Adobe stores upside down.
fn from_cmyk(samples: &[u8]) -> Vec<u8> {
    let pixels = samples.as_chunks::<4>().0.iter();
    pixels
        .flat_map(|[cyan, magenta, yellow, black]| {
            let white = 255 - u32::from(*black);
            [cyan, magenta, yellow].map(|ink| {
                let product = u32::from(*ink) * white + 128;
                (white as u8).saturating_sub((((product >> 8) + product) >> 8) as u8)
            })
        })
        .collect()
}

fn told(error: Error) -> ImagingError {
    match error {
        Error::Unsupported(feature) => ImagingError::unsupported(Format::Jpeg, format!("{feature:?}")),
        Error::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImagingError::damaged(Format::Jpeg, "the file ends too early")
        }
        error => ImagingError::damaged(Format::Jpeg, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_of_the_picture_are_counted_and_no_others() {
        const SCAN: &[u8] = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0";
        // In the samples: a 255, a restart; before the next marker: fillers.
        let scan = [SCAN, b"\x12\xff\0\xda\xff\xd3\x34\xff\xff"].concat();
        // A thumbnail inside of a segment, another picture after the end.
        let start = [b"\xff\xd8\xff\xe1\0\x0c".as_slice(), SCAN].concat();
        let file = [start, scan.repeat(3), [b"\xff\xd9", SCAN].concat()].concat();
        assert!(has_more_scans(&file, 2));
        assert!(!has_more_scans(&file, 3));
        for length in 0..file.len() {
            assert!(!has_more_scans(&file[..length], 3));
        }
    }

    #[test]
    fn the_larger_a_picture_the_fewer_scans() {
        assert_eq!([1, 12 << 20, 32 << 20, 64 << 20, 1 << 30].map(scans_allowed), [100, 100, 64, 32, 32]);
    }
}
