//! What is asked: texts of mixed lengths, no two alike.

use serde_json::json;

use crate::connection::post;
use crate::random::Random;

/// Answers of a round that are checked afterwards.
pub(super) const SAMPLES: usize = 40;

const WORDS: [&str; 24] = [
    "river", "engine", "of", "quiet", "the", "harbour", "seldom", "copper", "and", "window", "to", "marble",
    "light", "under", "winter", "a", "question", "carries", "slow", "granite", "is", "market", "orchard",
    "signal",
];

/// The text of a request: mostly a few words, sometimes a paragraph.
pub(super) fn text(round: usize, index: usize) -> String {
    let mut random = Random::new((round as u64) << 32 | index as u64);
    let words = match random.below(100) {
        0..70 => 1 + random.below(6),
        70..95 => 7 + random.below(18),
        _ => 60 + random.below(60),
    };
    let mut text = format!("{round}-{index}");
    for _ in 0..words {
        text.push(' ');
        text.push_str(random.of::<&str>(&WORDS));
    }
    text
}

/// The request for a text's vector.
pub(super) fn request(text: &str) -> Vec<u8> {
    let body = json!({"model": "minilm", "input": text, "encoding_format": "base64"});
    post("/v1/embeddings", body.to_string().as_bytes())
}
