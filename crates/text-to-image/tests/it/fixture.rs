//! Tiny pipelines with random weights, and what diffusers draws with them.

use std::path::{Path, PathBuf};

use serde_json::Value;
use text_to_image::{EncodedImage, TextToImage};

/// The folder of a pipeline.
pub(crate) fn pipeline(name: &str) -> PathBuf {
    fixtures().join("pipelines").join(name)
}

/// A pipeline in an engine of its own.
pub(crate) async fn load(name: &str) -> TextToImage {
    TextToImage::load(pipeline(name)).await.unwrap()
}

/// What the reference made of a pipeline.
pub(crate) fn expected(name: &str) -> Value {
    json(&pipeline(name).join("expected.json"))
}

/// A picture to begin with, or a mask.
pub(crate) async fn picture(name: &str) -> EncodedImage {
    EncodedImage::open(fixtures().join("pictures").join(name)).await.unwrap()
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// A copy of a pipeline that may be changed.
pub(crate) fn copy(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_into(&pipeline(name), folder.path());
    folder
}

fn copy_into(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, to) = (entry.unwrap().path(), to.to_owned());
        let to = to.join(entry.file_name().unwrap());
        if entry.is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy_into(&entry, &to);
        } else {
            std::fs::copy(&entry, &to).unwrap();
        }
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}
