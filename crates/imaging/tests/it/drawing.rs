//! For models that draw: pictures as numbers and back, masks, and files.

use imaging::{
    Encoding, Filter, Format, Image, ImagingError, Limits, Mask, decode, decode_mask, encode, header, resize,
};
use serde::Deserialize;

use crate::drawn::drawn;
use crate::fixture::{bytes, digest, json};

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    from: (u32, u32),
    to: (u32, u32),
    numbers: String,
    mask: String,
    squares: Vec<Vec<f32>>,
    back: String,
}

#[test]
fn pictures_and_masks_become_what_diffusers_makes_of_them() {
    let Cases { cases } = json("drawing.json");
    assert_eq!(cases.len(), 4);
    for case in cases {
        let (image, (width, height)) = (drawn(case.from.0, case.from.1), case.to);
        let planes = resize(&image, width, height, Filter::Lanczos3).unwrap().planes();
        let stored: Vec<u8> = planes.iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(digest(&stored), case.numbers, "{:?}", case.from);
        let drawn: Vec<f32> = planes.iter().map(|number| number * 1.3 + 0.01).collect();
        let back = Image::from_planes(width, height, &drawn).unwrap();
        assert_eq!(digest(back.pixels()), case.back, "{:?}", case.from);
        let mask = Mask::new(&image, width, height).unwrap();
        assert_eq!((mask.width(), mask.height()), case.to);
        let covered: Vec<u8> = mask.drawn().iter().map(|drawn| u8::from(*drawn)).collect();
        assert_eq!(digest(&covered), case.mask, "{:?}", case.from);
        assert_eq!(mask.squares(8), case.squares.concat(), "{:?}", case.from);
    }
}

#[test]
fn numbers_that_are_no_picture_are_refused_and_those_beyond_are_cut_off() {
    let refused = Image::from_planes(2, 2, &[0.0; 9]).unwrap_err().to_string();
    assert_eq!(refused, "cannot make a picture of 2x2: the samples are not three a pixel");
    assert!(Image::from_planes(2, 2, &[]).is_err());
    let cut = Image::from_planes(2, 1, &[-7.0, f32::INFINITY, f32::NAN, 0.0, 1.0, -1.0]).unwrap();
    assert_eq!(cut.pixels(), [0, 0, 255, 255, 128, 0]);
}

#[test]
fn a_transparent_picture_is_a_mask_of_where_it_is_transparent() {
    let read = |name: &str| decode_mask(&bytes(&format!("pictures/{name}")), &Limits::default()).unwrap();
    let alpha = read("alpha.png");
    let pixels = alpha.pixels().as_chunks::<3>().0;
    assert!(pixels.iter().all(|[red, green, blue]| red == green && green == blue));
    assert!(pixels.contains(&[255; 3]) && pixels.contains(&[0; 3]));
    // One without transparency is its own mask.
    let colour = bytes("pictures/colour.png");
    assert_eq!(read("colour.png"), decode(&colour, &Limits::default()).unwrap());
    assert_eq!(imaging::EncodedImage::from(bytes("pictures/alpha.png")).decode_mask().unwrap(), alpha);
}

#[test]
fn files_without_loss_hold_the_very_pixels() {
    for (width, height) in [(1, 1), (33, 17), (200, 3)] {
        let image = drawn(width, height);
        for encoding in [Encoding::Png { texts: Vec::new() }, Encoding::WebP] {
            let file = encode(&image, &encoding).unwrap();
            assert_eq!(header(&file, &Limits::default()).unwrap().format, encoding.format());
            assert_eq!(decode(&file, &Limits::default()).unwrap(), image, "{encoding:?}");
        }
    }
}

#[test]
fn a_jpeg_is_closer_and_larger_the_higher_its_quality() {
    let waves = drawn(64, 48);
    let image = resize(&waves, 256, 192, Filter::Bicubic).unwrap();
    let mut before = (f64::INFINITY, 0);
    for quality in [10, 60, 90, 100] {
        let file = encode(&image, &Encoding::Jpeg { quality }).unwrap();
        assert_eq!(header(&file, &Limits::default()).unwrap().format, Format::Jpeg);
        let read = decode(&file, &Limits::default()).unwrap();
        let apart =
            read.pixels().iter().zip(image.pixels()).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>();
        let apart = apart / read.pixels().len() as f64;
        assert!(apart < before.0 && file.len() > before.1, "{quality}: {apart} with {} bytes", file.len());
        before = (apart, file.len());
    }
    assert!(before.0 < 1.0, "{}", before.0);
}

#[test]
fn texts_stand_beside_the_pixels_of_a_png() {
    let texts = [("parameters", "a caf\u{e9}, steps 20\nseed 1"), ("Title", "\u{6771}\u{4eac} \u{1f389}")];
    let texts: Vec<(String, String)> = texts.map(|(key, text)| (key.to_owned(), text.to_owned())).to_vec();
    let file = encode(&drawn(5, 4), &Encoding::Png { texts: texts.clone() }).unwrap();
    let reader = png::Decoder::new(std::io::Cursor::new(&file)).read_info().unwrap();
    let info = reader.info();
    let latin = &info.uncompressed_latin1_text[0];
    assert_eq!((&latin.keyword, &latin.text), (&texts[0].0, &texts[0].1));
    let other = &info.utf8_text[0];
    assert_eq!((&other.keyword, other.get_text().unwrap()), (&texts[1].0, texts[1].1.clone()));
    assert_eq!((info.uncompressed_latin1_text.len(), info.utf8_text.len()), (1, 1));
}

#[test]
fn what_a_format_cannot_hold_is_refused_in_one_line() {
    let wide = Image::new(16_384, 1, vec![0; 3 * 16_384]).unwrap();
    let text = |keyword: &str| Encoding::Png { texts: vec![(keyword.to_owned(), String::new())] };
    for (encoding, wanted) in [
        (
            Encoding::WebP,
            "cannot write the picture as WebP: the picture is 16384x1, and no side may be longer than 16383",
        ),
        (
            Encoding::Jpeg { quality: 0 },
            "cannot write the picture as JPEG: the quality is 0, it must be 1 to 100",
        ),
        (
            Encoding::Jpeg { quality: 101 },
            "cannot write the picture as JPEG: the quality is 101, it must be 1 to 100",
        ),
        (
            text(""),
            "cannot write the picture as PNG: the keyword \"\" of its text does not have 1 to 79 characters of Latin-1",
        ),
        (
            text("\u{6771}"),
            "cannot write the picture as PNG: the keyword \"\u{6771}\" of its text does not have 1 to 79 characters of Latin-1",
        ),
    ] {
        let error = encode(&wide, &encoding).unwrap_err();
        assert!(matches!(error, ImagingError::Encoding { .. }));
        assert_eq!(error.to_string(), wanted);
        assert_eq!(encoding.check(16_384, 1).unwrap_err().to_string(), wanted);
    }
    assert!(encode(&wide, &text(&"k".repeat(80))).is_err());
    assert!(Encoding::Jpeg { quality: 1 }.check(65_536, 1).is_err());
    assert!(encode(&wide, &Encoding::Jpeg { quality: 1 }).is_ok());
}
