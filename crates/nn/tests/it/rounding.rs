//! What rounding activations to eight bits costs on trained GGUF files: the default precision against f32 activations, over
//! the same text. llama.cpp rounds them too; its own figures on the same tokens stand in the fixtures.

use std::path::Path;

use nn::Activations;
use serde::Deserialize;

use crate::agreement::{Agreement, teacher_forced};
use crate::trained_file::{load, trained};

/// `tests/fixtures/teacher_forced/NAME.json`.
#[derive(Deserialize)]
struct Recorded {
    tokens: Vec<u32>,
    exact_perplexity: f64,
    llama_cpp: Figures,
}

#[derive(Deserialize)]
struct Figures {
    top_1: f64,
    divergence: f64,
    perplexity: f64,
}

#[test]
fn smollm2_is_hardly_changed() {
    let Some((agreement, _)) = measure("SmolLM2-135M-Instruct") else {
        return;
    };
    assert!(agreement.top_1() >= 0.96, "{agreement:?}");
    assert!(agreement.divergence() <= 0.005, "{agreement:?}");
    let ratio = agreement.perplexity() / agreement.exact_perplexity();
    assert!((ratio - 1.0).abs() <= 0.005, "perplexity is {ratio} times that of f32 activations");
}

#[test]
fn gemma_3_is_changed_no_more_than_by_llama_cpp() {
    let Some((agreement, recorded)) = measure("gemma-3-270m") else {
        return;
    };
    assert!(agreement.divergence() <= recorded.llama_cpp.divergence, "{agreement:?}");
}

fn measure(model: &str) -> Option<(Agreement, Recorded)> {
    let file = trained(model)?;
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/teacher_forced/{model}.json"));
    let recorded: Recorded = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let [exact, rounded] = [Activations::F32, Activations::Quantised].map(|kind| load(&file, kind));
    let mut agreement = Agreement::default();
    teacher_forced(&exact, &rounded, &recorded.tokens, |exact, rounded, next| {
        agreement = agreement.and(Agreement::of(exact, rounded, next));
    });
    let Figures { top_1, divergence, perplexity } = recorded.llama_cpp;
    eprintln!(
        "{model}: top-1 {:.4}, divergence {:.6}, perplexity {:.4} for {:.4} (llama.cpp: {top_1:.4}, {divergence:.6}, {perplexity:.4})",
        agreement.top_1(),
        agreement.divergence(),
        agreement.perplexity(),
        agreement.exact_perplexity(),
    );
    // Otherwise it is another text, or another file.
    let ratio = agreement.exact_perplexity() / recorded.exact_perplexity;
    assert!((ratio - 1.0).abs() < 1e-3, "f32 activations have {ratio} times the recorded perplexity");
    Some((agreement, recorded))
}
