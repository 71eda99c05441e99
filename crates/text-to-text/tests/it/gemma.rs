//! Gemma 3 from a GGUF file, whole: its SentencePiece vocabulary, its alternating windows, its quantised weights.

use std::path::Path;

use serde_json::Value;
use text_to_text::{Bytes, Dtype, TextToText};

use crate::models::trained;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gemma_goes_on_as_its_reference_does() {
    let Some(folder) = trained("gemma-3-270m") else { return };
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../nn/tests/fixtures/gguf_decoders/gemma-3-270m.json");
    let fixture: Value = serde_json::from_slice(&std::fs::read(fixture).unwrap()).unwrap();
    let load = TextToText::load(folder).dtype(Dtype::F32).kv_cache(Bytes(64 << 20));
    let pool = load.await.unwrap();
    for case in fixture["cases"].as_array().unwrap() {
        let numbers = |field: &str| -> Vec<f64> {
            case[field].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
        };
        let text = case["text"].as_str().unwrap();
        let greedy = numbers("greedy");
        let call = pool.complete(text).temperature(0.0).max_tokens(greedy.len()).ignore_eos(true);
        let answer = call.await.unwrap();
        // The beginning of text is there once.
        assert_eq!(answer.usage.prompt, numbers("tokens").len(), "{text}");
        let written: Vec<f64> = answer.choices[0].tokens.iter().map(|token| f64::from(token.token)).collect();
        let margins = numbers("margins");
        let near_tie = margins.iter().position(|margin| *margin < 1e-3).unwrap_or(greedy.len());
        assert!(near_tie > 8, "{text}");
        assert_eq!(written[..near_tie], greedy[..near_tie], "{text}: {}", answer.text());
    }
}
