//! What decoding takes is what headers say it takes. A binary of its own: it counts what the whole process allocates.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../it/fixture.rs"]
#[allow(dead_code, reason = "part of it is for the other binary")]
mod fixture;
mod peak;
#[path = "../it/progressive.rs"]
#[allow(dead_code, reason = "part of it is for the other binary")]
mod progressive;

use image::codecs::{gif::GifEncoder, png::PngEncoder, tiff::TiffEncoder, webp::WebPEncoder};
use image::{ExtendedColorType, ImageEncoder};
use imaging::{Limits, decode, header};

use crate::progressive::Progressive;

/// One test, since what another one allocates meanwhile would be counted.
#[test]
fn decoding_takes_no_more_than_the_header_says() {
    let mut wrong = Vec::new();
    let fixtures = fixture::pictures().into_iter();
    for (name, file) in fixtures.chain(large().into_iter().map(|(name, file)| (name.to_owned(), file))) {
        let said = header(&file, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let before = peak::start();
        let picture = decode(&file, &Limits::default()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let taken = peak::highest() - before;
        // Otherwise nothing is counted.
        assert!(taken >= picture.pixels().len(), "{name}: {taken}");
        if taken as u64 > said.decoding_bytes() {
            wrong.push(format!("{name}: {taken} bytes taken, {} said", said.decoding_bytes()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Pictures large enough that what grows with them counts, in the costliest form of each format.
fn large() -> Vec<(&'static str, Vec<u8>)> {
    const SIDE: u32 = 1024;
    // 16 bits of each channel, and nothing that compresses away.
    let samples: Vec<u8> =
        (0..SIDE * SIDE * 8).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let narrow = &samples[..samples.len() / 2];
    let encoded = |name, write: &dyn Fn(&mut std::io::Cursor<Vec<u8>>) -> image::ImageResult<()>| {
        let mut file = std::io::Cursor::new(Vec::new());
        write(&mut file).unwrap();
        (name, file.into_inner())
    };
    let (wide, alpha) = (ExtendedColorType::Rgba16, ExtendedColorType::Rgba8);
    let progressive = |width, height, components, scans| {
        Progressive { width, height, components, sampling: 1, scans }.file()
    };
    vec![
        encoded("16-bit RGBA PNG", &|file| PngEncoder::new(file).write_image(&samples, SIDE, SIDE, wide)),
        encoded("8-bit RGBA PNG", &|file| PngEncoder::new(file).write_image(narrow, SIDE, SIDE, alpha)),
        encoded("16-bit RGBA TIFF", &|file| TiffEncoder::new(file).write_image(&samples, SIDE, SIDE, wide)),
        encoded("lossless WebP", &|file| {
            WebPEncoder::new_lossless(file).write_image(narrow, SIDE, SIDE, alpha)
        }),
        encoded("GIF", &|file| GifEncoder::new_with_speed(file, 30).encode(narrow, SIDE, SIDE, alpha)),
        ("grey progressive JPEG", progressive(1024, 1024, 1, 3)),
        ("progressive JPEG", progressive(1024, 1024, 3, 3)),
        ("CMYK progressive JPEG", progressive(1024, 1024, 4, 3)),
        // Of the blocks that are decoded one column is the picture.
        (
            "narrow CMYK JPEG",
            Progressive { width: 1, height: 60_000, components: 4, sampling: 2, scans: 3 }.file(),
        ),
    ]
}
