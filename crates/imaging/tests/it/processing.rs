//! Processors give the numbers that transformers gives, from every spelling of their configuration.

use imaging::{Image, Limits, Processor, decode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::drawn::drawn;
use crate::fixture::{self, digest};

/// What is asked for; the digests of all numbers are compared besides.
const TOLERANCE: f32 = 1e-6;

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    configs: Vec<Value>,
    pictures: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    picture: Picture,
    shape: Vec<usize>,
    samples: Vec<f32>,
    digest: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Picture {
    Drawn(u32, u32),
    File(String),
}

impl Picture {
    fn image(&self) -> Image {
        match self {
            Self::Drawn(width, height) => drawn(*width, *height),
            Self::File(name) => {
                decode(&fixture::bytes(&format!("pictures/{name}")), &Limits::default()).unwrap()
            }
        }
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn pixel_values_are_the_references() {
    let Cases { cases } = fixture::json("processors.json");
    assert!(cases.len() >= 25);
    for case in cases {
        assert!(case.configs.len() >= 2 && !case.pictures.is_empty());
        for config in &case.configs {
            let processor =
                Processor::from_config(config).unwrap_or_else(|error| panic!("{}: {error}", case.name));
            for expected in &case.pictures {
                let place = format!("{} of {:?} by {config}", case.name, expected.picture);
                let image = expected.picture.image();
                let pixels = processor.process(&image).unwrap();
                let layout = processor.layout(image.width(), image.height()).unwrap();
                assert_eq!(pixels.layout(), &layout, "{place}");
                let (&[channels, height, width], tiles) =
                    expected.shape.split_last_chunk::<3>().map(|(tiles, shape)| (shape, tiles)).unwrap();
                assert_eq!(tiles.first().copied().unwrap_or(1), layout.tiles, "{place}");
                assert_eq!(
                    (layout.tile_height as usize, layout.tile_width as usize),
                    (height, width),
                    "{place}"
                );
                let values = pixels.values();
                assert_eq!(values.len(), layout.tiles * channels * height * width, "{place}");
                for (index, wanted) in expected.samples.iter().enumerate() {
                    let value = values[index * (values.len() / 16).max(1)];
                    assert!(
                        (value - wanted).abs() <= TOLERANCE,
                        "{place}: {value} for {wanted}, sample {index}"
                    );
                }
                assert_eq!(digest(&bytes(&values)), expected.digest, "{place}");
                let apart: Vec<f32> = (0..layout.tiles).flat_map(|index| pixels.tile(index)).collect();
                assert!(apart == values && pixels.bytes() == values.len(), "{place}");
            }
        }
    }
}

#[test]
fn the_best_resolution_is_told_as_height_and_width() {
    let next = Processor::from_config(&json!({"image_processor_type": "LlavaNextImageProcessor"})).unwrap();
    let best = |width, height| next.layout(width, height).unwrap().best_resolution.unwrap();
    assert_eq!(best(1_000, 500), (336, 672));
    assert_eq!(best(500, 1_000), (672, 336));
    assert_eq!(best(100, 1_000), (1_008, 336));
    let layout = next.layout(1_000, 500).unwrap();
    assert_eq!(layout.picture, (1_000, 500));
    let clip = Processor::from_config(&json!({"image_processor_type": "CLIPImageProcessor"})).unwrap();
    assert_eq!(clip.layout(1_000, 500).unwrap().best_resolution, None);
}

#[test]
fn a_square_of_a_long_picture_is_never_made() {
    // 30,000 x 30,000 pixels would take 2.7 GB.
    let config =
        json!({"image_processor_type": "LlavaImageProcessor", "do_pad": true, "size": 336, "crop_size": 336});
    let processor = Processor::from_config(&config).unwrap();
    for image in [drawn(30_000, 10), drawn(10, 30_000)] {
        let pixels = processor.process(&image).unwrap();
        assert_eq!(pixels.bytes(), 336 * 336 * 3);
    }
}

#[test]
fn a_tile_that_would_fill_the_memory_is_refused() {
    let config = json!({"image_processor_type": "CLIPImageProcessor", "do_center_crop": false});
    let processor = Processor::from_config(&config).unwrap();
    let error = processor.process(&drawn(30_000, 10)).unwrap_err().to_string();
    assert!(error.contains("672000x224") && error.contains("16 Mi"), "{error}");
    assert!(processor.layout(0, 4).is_err());
    let config = json!({
        "image_processor_type": "CLIPImageProcessor", "do_center_crop": false,
        "size": {"shortest_edge": 24, "longest_edge": 40},
    });
    let error = Processor::from_config(&config).unwrap().layout(30_000, 10).unwrap_err().to_string();
    assert!(error.contains("too narrow"), "{error}");
}
