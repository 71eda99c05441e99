//! The committed fixtures (`tests/fixtures/README.md`).

use std::fs;
use std::path::{Path, PathBuf};

use image_embedding::{EncodedImage, ImageEmbedding};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
pub(crate) struct Expected {
    pub(crate) tolerance: f64,
    pub(crate) noise: f64,
    older: Map<String, Value>,
    newer_only: Vec<String>,
    pub(crate) pictures: Vec<Picture>,
    pub(crate) texts: Vec<Text>,
    pub(crate) classified: Option<Classified>,
}

#[derive(Deserialize)]
pub(crate) struct Picture {
    pub(crate) file: String,
    pub(crate) embedding: Vec<f32>,
    #[serde(default)]
    pub(crate) height: u32,
    #[serde(default)]
    pub(crate) width: u32,
    /// Every 37th pixel value.
    #[serde(default)]
    pub(crate) samples: Vec<f32>,
}

#[derive(Deserialize)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) tokens: usize,
    pub(crate) embedding: Vec<f32>,
}

#[derive(Deserialize)]
pub(crate) struct Classified {
    pub(crate) file: String,
    pub(crate) labels: Vec<String>,
    pub(crate) scores: Vec<f32>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A tiny checkpoint.
pub(crate) fn checkpoint(name: &str) -> PathBuf {
    fixture("checkpoints").join(name)
}

pub(crate) async fn pool(name: &str) -> ImageEmbedding {
    ImageEmbedding::load(checkpoint(name)).name("tiny").await.unwrap()
}

pub(crate) fn expected(name: &str) -> Expected {
    let text = fs::read_to_string(checkpoint(name).join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The bytes of a picture.
pub(crate) fn bytes(file: &str) -> Vec<u8> {
    fs::read(fixture("pictures").join(file)).unwrap()
}

pub(crate) fn picture(file: &str) -> EncodedImage {
    EncodedImage::new(bytes(file))
}

/// A copy of a checkpoint that a test may change.
pub(crate) fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(checkpoint(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

impl Expected {
    /// The checkpoint with the files that transformers 4 would have.
    pub(crate) fn older(&self, name: &str) -> tempfile::TempDir {
        let folder = copy(name);
        for file in &self.newer_only {
            fs::remove_file(folder.path().join(file)).unwrap();
        }
        for (file, content) in &self.older {
            fs::write(folder.path().join(file), content.to_string()).unwrap();
        }
        folder
    }
}

/// The norm of the difference over the norm of the reference.
pub(crate) fn distance(got: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(got.len(), wanted.len());
    let norm =
        |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|number| number * number).sum::<f64>().sqrt();
    let difference =
        norm(&mut got.iter().zip(wanted).map(|(got, wanted)| f64::from(*got) - f64::from(*wanted)));
    let relative = difference / norm(&mut wanted.iter().map(|wanted| f64::from(*wanted)));
    // Not a number is no agreement.
    if relative.is_nan() { f64::INFINITY } else { relative }
}
