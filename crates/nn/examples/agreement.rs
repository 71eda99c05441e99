//! How well rounded activations agree with f32 ones on a GGUF file, this crate's and those of another program.
//!
//! `agreement FILE < LOGITS > FIGURES`. `LOGITS` is a line of JSON, `{"made_with": {..}, "tokens": [..]}`, and then the other
//! program's logits for every token but the last: rows of f32, little endian. `FIGURES` is JSON, as a fixture under
//! `tests/fixtures/teacher_forced` has it, with this crate's own figures besides. `cargo xtask bench agreement` runs it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement"
)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use nn::Activations;
use serde_json::{Value, json};

use crate::agreement::{Agreement, teacher_forced};

#[path = "../tests/it/agreement.rs"]
mod agreement;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/it/sequence.rs"]
mod sequence;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/it/trained_file.rs"]
mod trained_file;

fn main() {
    let file = std::env::args().nth(1).expect("usage: agreement FILE < LOGITS");
    let mut input = BufReader::with_capacity(1 << 20, std::io::stdin().lock());
    let mut head = String::new();
    input.read_line(&mut head).unwrap();
    let head: Value = serde_json::from_str(&head).expect("the logits begin with a line of JSON");
    let tokens: Vec<u32> =
        head["tokens"].as_array().unwrap().iter().map(|token| token.as_u64().unwrap() as u32).collect();

    let [exact, rounded] =
        [Activations::F32, Activations::Quantised].map(|kind| trained_file::load(Path::new(&file), kind));
    let (mut ours, mut theirs) = (Agreement::default(), Agreement::default());
    teacher_forced(&exact, &rounded, &tokens, |exact, rounded, next| {
        let mut bytes = vec![0; size_of_val(exact)];
        input.read_exact(&mut bytes).expect("a row of logits for every token but the last");
        let logits: Vec<f32> =
            bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
        ours = ours.and(Agreement::of(exact, rounded, next));
        theirs = theirs.and(Agreement::of(exact, &logits, next));
    });
    assert_eq!(input.read(&mut [0]).unwrap(), 0, "more logits than tokens");
    let figures = json!({
        "made_with": head["made_with"],
        "tokens": tokens,
        "exact_perplexity": ours.exact_perplexity(),
        "llama_cpp": figures(&theirs),
        "candlepool": figures(&ours),
    });
    println!("{figures}");
}

fn figures(agreement: &Agreement) -> Value {
    json!({
        "top_1": agreement.top_1(),
        "divergence": agreement.divergence(),
        "perplexity": agreement.perplexity(),
    })
}
