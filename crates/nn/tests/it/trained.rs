//! Trained GGUF files, with f32 activations, against transformers' run of the same files.

use std::path::Path;

use nn::{Activations, Decoder, Rows};
use serde::Deserialize;

use crate::fixture::relative;
use crate::sequence::{Shelf, best};
use crate::trained_file::{load, trained};

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
    let decoder = load(&file, Activations::F32);
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
