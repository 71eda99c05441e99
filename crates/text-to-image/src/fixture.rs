//! The tiny pipelines under `tests/fixtures`: their folders, copies of them that may be changed, and what diffusers makes with
//! them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model_source::{HubOptions, ModelFiles, Source, Wanted, Weights};
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

/// What diffusers makes of prompts.
#[derive(Debug, Deserialize)]
pub(crate) struct Expected {
    pub(crate) tolerance: f64,
    /// Each row of a context of this number is kept.
    pub(crate) rows: usize,
    pub(crate) prompts: Vec<Prompt>,
}

/// A prompt's tokens by text encoder and chunk, and its embeddings.
#[derive(Debug, Deserialize)]
pub(crate) struct Prompt {
    pub(crate) text: String,
    pub(crate) tokens: Vec<Vec<Vec<u32>>>,
    pub(crate) context: Vec<Vec<f32>>,
    pub(crate) pooled: Option<Vec<f32>>,
}

pub(crate) const PIPELINES: [&str; 5] = ["sd1", "sd2", "sdxl", "lcm", "inpaint"];

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pipelines").join(name)
}

pub(crate) fn expected(name: &str) -> Expected {
    serde_json::from_slice(&std::fs::read(folder(name).join("expected.json")).unwrap()).unwrap()
}

pub(crate) async fn resolve(source: impl Into<PathBuf>) -> Result<ModelFiles, model_source::SourceError> {
    let source: Source = source.into().display().to_string().parse()?;
    source.resolve(&Wanted::model("text-to-image"), &HubOptions::new("no-cache"), &()).await
}

/// A copy of a pipeline, to be changed.
pub(crate) struct Copy {
    folder: TempDir,
}

impl Copy {
    pub(crate) fn of(name: &str) -> Self {
        let copy = Self { folder: tempfile::tempdir().unwrap() };
        copy_files(&folder(name), copy.path());
        copy
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn remove(&self, name: &str) {
        let path = self.path().join(name);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), content).unwrap();
    }

    /// Changes a JSON file.
    pub(crate) fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut value = serde_json::from_slice(&std::fs::read(self.path().join(name)).unwrap()).unwrap();
        change(&mut value);
        self.write(name, value.to_string());
    }

    /// Gives tensors other names.
    pub(crate) fn rename(&self, name: &str, change: impl Fn(&str) -> String) {
        let path = self.path().join(name);
        let tensors = {
            let weights = Weights::open_path(&path).unwrap();
            weights.names().map(|name| (change(name), Stored::of(&weights, name))).collect()
        };
        write_tensors(&path, tensors);
    }

    /// Puts all weights into one file in the original naming, with what such files hold besides, and takes the
    /// components' away.
    pub(crate) fn into_single_file(self) -> (Self, PathBuf) {
        let rows: Vec<(String, String, String, Vec<String>)> =
            serde_json::from_slice(&std::fs::read(self.path().join("original.json")).unwrap()).unwrap();
        let mut opened: BTreeMap<String, Weights> = BTreeMap::new();
        let mut tensors = BTreeMap::new();
        for (there, how, component, names) in rows {
            let stem = if component.starts_with("text") { "model" } else { "diffusion_pytorch_model" };
            let path = self.path().join(&component).join(format!("{stem}.safetensors"));
            let weights = opened.entry(component).or_insert_with(|| Weights::open_path(&path).unwrap());
            let mut parts = names.iter().map(|name| Stored::of(weights, name));
            let first = parts.next().unwrap();
            let stored = match how.as_str() {
                "same" => first,
                "convolution" => Stored { shape: [first.shape, vec![1, 1]].concat(), ..first },
                "transposed" => first.transposed(),
                "concatenated" => parts.fold(first, Stored::followed_by),
                other => panic!("{other}"),
            };
            tensors.insert(there, stored);
        }
        let dtype = tensors.values().next().unwrap().dtype;
        let number =
            |count: usize| Stored { dtype, shape: vec![count], bytes: vec![0; count * dtype.bitsize() / 8] };
        for name in ["alphas_cumprod", "model_ema.decay", "first_stage_model.loss.logvar"] {
            tensors.insert(name.to_owned(), number(4));
        }
        for prefix in ["cond_stage_model.model.", "conditioner.embedders.1.model."] {
            if tensors.keys().any(|name| name.starts_with(prefix)) {
                tensors.insert(format!("{prefix}logit_scale"), number(1));
            }
        }
        drop(opened);
        for component in ["unet", "vae", "text_encoder", "text_encoder_2"] {
            for stem in ["model", "diffusion_pytorch_model"] {
                drop(std::fs::remove_file(self.path().join(component).join(format!("{stem}.safetensors"))));
            }
        }
        let path = self.path().join("whole.safetensors");
        write_tensors(&path, tensors);
        (self, path)
    }
}

/// A tensor as a file has it.
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Stored {
    fn of(weights: &Weights, name: &str) -> Self {
        let tensor = weights.tensor(name).unwrap();
        Self { dtype: tensor.dtype, shape: tensor.shape.to_vec(), bytes: tensor.bytes.to_vec() }
    }

    fn transposed(self) -> Self {
        let (rows, columns, size) = (self.shape[0], self.shape[1], self.dtype.bitsize() / 8);
        let cells = (0..columns).flat_map(|column| (0..rows).map(move |row| (row * columns + column) * size));
        let bytes = cells.flat_map(|start| self.bytes[start..start + size].to_vec()).collect();
        Self { shape: vec![columns, rows], bytes, ..self }
    }

    fn followed_by(mut self, other: Self) -> Self {
        self.shape[0] += other.shape[0];
        self.bytes.extend(other.bytes);
        self
    }
}

fn write_tensors(path: &Path, tensors: BTreeMap<String, Stored>) {
    let views = tensors.iter().map(|(name, stored)| {
        (name, TensorView::new(stored.dtype, stored.shape.clone(), &stored.bytes).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn copy_files(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_files(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// How far a row is from the reference, relative to it.
pub(crate) fn apart(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let norm =
        |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|number| number * number).sum::<f64>().sqrt();
    let differences = &mut found.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b));
    norm(differences) / norm(&mut expected.iter().map(|number| f64::from(*number)))
}
