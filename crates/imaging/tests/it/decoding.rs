//! Decoded pictures are what Pillow sees: exactly, or as near as lossy formats are.

use imaging::{Format, Limits, decode, header};
use serde::Deserialize;

use crate::fixture::{bytes, json};

#[derive(Deserialize)]
struct Cases {
    pictures: Vec<Case>,
}

/// Without a tolerance the samples are the same.
#[derive(Deserialize)]
struct Case {
    file: String,
    width: u32,
    height: u32,
    worst: Option<u8>,
    mean: Option<f64>,
}

#[test]
fn pictures_are_what_pillow_sees() {
    let Cases { pictures } = json("pictures.json");
    assert!(pictures.len() > 40);
    for case in pictures {
        let file = &case.file;
        let content = bytes(&format!("pictures/{file}"));
        let header = header(&content, &Limits::default()).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!((header.width, header.height), (case.width, case.height), "{file}");
        let format = match file.rsplit('.').next().unwrap() {
            "jpg" => Format::Jpeg,
            "png" => Format::Png,
            "webp" => Format::WebP,
            "gif" => Format::Gif,
            "bmp" => Format::Bmp,
            _ => Format::Tiff,
        };
        assert_eq!(header.format, format, "{file}");
        let image = decode(&content, &Limits::default()).unwrap_or_else(|error| panic!("{file}: {error}"));
        let seen = decode(&bytes(&format!("decoded/{file}.png")), &Limits::default()).unwrap();
        assert_eq!((image.width(), image.height()), (seen.width(), seen.height()), "{file}");
        let apart: Vec<u8> =
            image.pixels().iter().zip(seen.pixels()).map(|(ours, theirs)| ours.abs_diff(*theirs)).collect();
        let worst = apart.iter().copied().max().unwrap();
        let mean = apart.iter().map(|apart| f64::from(*apart)).sum::<f64>() / apart.len() as f64;
        assert!(worst <= case.worst.unwrap_or(0), "{file}: {worst} levels apart at worst");
        assert!(mean <= case.mean.unwrap_or(0.0), "{file}: {mean} levels apart on average");
    }
}
