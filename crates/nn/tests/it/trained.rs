//! Trained GGUF files, with f32 activations, against transformers' run of the same files.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::gguf_file::Content;
use nn::{Activations, Decoder, DecoderConfig, GgufStore, Precision, Rows};
use serde::Deserialize;

use crate::fixture::relative;
use crate::sequence::{Shelf, best};

/// `tests/fixtures/gguf_decoders/NAME.json`.
#[derive(Deserialize)]
struct Reference {
    tolerance: f64,
    stride: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    noise: f64,
    tokens: Vec<u32>,
    greedy: Vec<u32>,
    margins: Vec<f64>,
    logits: Vec<Vec<f32>>,
}

/// A decision by less than this may fall otherwise.
const NEAR_TIE: f64 = 1e-3;

#[test]
fn smollm2_computes_what_transformers_does() {
    compare("SmolLM2-135M-Instruct");
}

#[test]
fn gemma_3_computes_what_transformers_does() {
    compare("gemma-3-270m");
}

fn compare(model: &str) {
    let Some(file) = trained(model) else {
        return;
    };
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/gguf_decoders/{model}.json"));
    let reference: Reference = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let decoder = load(&file);
    for case in &reference.cases {
        assert!(case.noise < reference.tolerance / 10.0, "{:?}: noise {}", case.text, case.noise);
        let worst = compare_case(&decoder, case, reference.stride);
        eprintln!("{model}, {:?}: {worst:.1e} apart, the reference's noise is {:.1e}", case.text, case.noise);
        assert!(worst <= reference.tolerance, "{model}, {:?}: {worst:.1e} apart", case.text);
    }
}

/// The largest difference of a position of the prompt; the continuation must be the same but for near-ties.
fn compare_case(decoder: &Decoder, case: &Case, stride: usize) -> f64 {
    let vocabulary = decoder.config().vocab_size;
    let mut shelf = Shelf::new(decoder, 16, 16);
    let mut sequence = shelf.sequence(case.tokens.len() + case.greedy.len());
    let logits = shelf.feed(&mut sequence, &case.tokens, Rows::All);
    let rows: Vec<&[f32]> = logits.chunks_exact(vocabulary).collect();
    assert_eq!(rows.len(), case.logits.len());
    let sampled = |row: &[f32]| -> Vec<f32> { row.iter().step_by(stride).copied().collect() };
    let apart = rows.iter().zip(&case.logits).map(|(row, wanted)| relative(&sampled(row), wanted));
    let worst = apart.fold(0.0, f64::max);
    let mut next = best(rows[rows.len() - 1]);
    for (number, (wanted, margin)) in case.greedy.iter().zip(&case.margins).enumerate() {
        if next != *wanted {
            assert!(*margin < NEAR_TIE, "{:?}: token {number} is {next}, not {wanted}", case.text);
            eprintln!("{:?}: parts at token {number}, a near-tie of {margin:.1e}", case.text);
            return worst;
        }
        next = best(&shelf.feed(&mut sequence, &[next], Rows::Last));
    }
    worst
}

fn load(path: &Path) -> Decoder {
    let file = RefCell::new(File::open(path).unwrap());
    let content = Content::read(&mut *file.borrow_mut()).unwrap();
    let config = DecoderConfig::from_gguf(&content.metadata).unwrap();
    let load = |name: &str| content.tensor(&mut *file.borrow_mut(), name, &Device::Cpu);
    let store = GgufStore::new(&config, content.tensor_infos.keys(), load);
    let precision = Precision { activations: Activations::F32, deterministic: false };
    Decoder::load(config.clone(), &store, precision).unwrap()
}

/// The GGUF file of a trained model, if it has been fetched. Where `CANDLEPOOL_REQUIRE_MODELS` is 1 it must have been.
fn trained(name: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    let folder = target.join("models").join(name);
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    if let Some(file) =
        files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "gguf"))
    {
        return Some(file);
    }
    let required = std::env::var("CANDLEPOOL_REQUIRE_MODELS").is_ok_and(|value| value == "1");
    assert!(!required, "{} has no GGUF file; run cargo xtask models", folder.display());
    // Not eprintln: the test harness would keep it to itself.
    let _ = writeln!(std::io::stderr(), "skipped: {name} is not there; run cargo xtask models");
    None
}
