//! SentencePiece vocabularies: small ones, and that of Llama 2, whose texts begin with a space.

use std::collections::HashMap;

use model_source::Special;
use serde_json::Value;

use super::{files, opened, published, refusal};
use crate::gguf_files::{F32, GgufFile, I32};
use crate::models::model;

/// Each token with its kind and score. The best score is not that of the longest.
const TOKENS: [(&str, i32, f32); 15] = [
    ("<unk>", 2, 0.0),
    ("<s>", 3, 0.0),
    ("</s>", 3, 0.0),
    ("▁", 1, -9.0),
    ("a", 1, -9.0),
    ("b", 1, -9.0),
    ("c", 1, -9.0),
    ("ab", 1, -2.0),
    ("bc", 1, -1.0),
    ("abc", 1, -3.0),
    ("▁a", 1, -4.0),
    ("aa", 1, -5.0),
    ("  ", 4, 0.0),
    ("   ", 4, 0.0),
    ("▁▁", 1, -1.5),
];

fn vocabulary_of(tokens: &[(&str, i32, f32)]) -> GgufFile {
    GgufFile::default()
        .text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", tokens.iter().map(|(token, _, _)| token))
        .array("tokenizer.ggml.token_type", I32, tokens.iter().map(|(_, kind, _)| kind.to_le_bytes()))
        .array("tokenizer.ggml.scores", F32, tokens.iter().map(|(_, _, score)| score.to_le_bytes()))
        .number("tokenizer.ggml.bos_token_id", 1)
        .number("tokenizer.ggml.eos_token_id", 2)
        .number("tokenizer.ggml.unknown_token_id", 0)
}

fn small() -> GgufFile {
    vocabulary_of(&TOKENS).flag("tokenizer.ggml.add_space_prefix", false)
}

/// The small vocabulary with a token for each byte, from id 15 on.
fn with_bytes() -> Vec<(String, i32, f32)> {
    let tokens = TOKENS.map(|(token, kind, score)| (token.to_owned(), kind, score));
    tokens.into_iter().chain((0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), 6, 0.0))).collect()
}

#[test]
fn the_best_score_is_merged_first_and_of_equals_the_leftmost() {
    let tokenizer = opened(&small()).unwrap();
    let spelled = |text: &str| -> Vec<String> {
        let ids = tokenizer.encode(text, Special::Plain).unwrap();
        ids.iter()
            .map(|id| String::from_utf8(tokenizer.token_bytes(*id).unwrap().to_vec()).unwrap())
            .collect()
    };
    // `bc` is better than `ab`, so the whole is made of `a` and `bc`.
    assert_eq!(spelled("abc"), ["abc"]);
    assert_eq!(spelled("abcab"), ["abc", "ab"]);
    assert_eq!(spelled("aabc"), ["a", "abc"]);
    assert_eq!(spelled("aaa"), ["aa", "a"]);
    assert_eq!(spelled("aaaa"), ["aa", "aa"]);
    assert_eq!(spelled("c a"), ["c", " a"]);
    // A token whose parts are none is not reached.
    let tokens = [TOKENS[0], ("a", 1, -1.0), ("b", 1, -1.0), ("aab", 1, 0.0)];
    let tokenizer = opened(&vocabulary_of(&tokens).flag("tokenizer.ggml.add_space_prefix", false))
        .map_err(|error| error.to_string());
    assert!(tokenizer.is_ok(), "{tokenizer:?}");
    assert_eq!(tokenizer.unwrap().encode("aab", Special::Plain).unwrap(), [1, 1, 2]);
}

#[test]
fn user_defined_tokens_are_found_first_and_longest() {
    let tokenizer = opened(&small()).unwrap();
    let encode = |text: &str| tokenizer.encode(text, Special::Plain).unwrap();
    assert_eq!(encode("a  b"), [4, 12, 5]);
    assert_eq!(encode("a   b"), [4, 13, 5]);
    assert_eq!(encode("a    b"), [4, 13, 3, 5]);
    assert_eq!(encode("     a"), [13, 12, 4]);
    // The vocabulary's mark for a space is a space.
    assert_eq!(encode("a▁▁b"), [4, 12, 5]);
    assert_eq!(tokenizer.decode(&encode("a  b"), false), "a  b");
}

#[test]
fn a_space_before_text_comes_and_goes() {
    let tokenizer = opened(&vocabulary_of(&TOKENS)).unwrap();
    assert_eq!(tokenizer.encode("a b", Special::Add).unwrap(), [1, 10, 3, 5]);
    assert_eq!(tokenizer.encode("a<s>a", Special::Parse).unwrap(), [10, 1, 10]);
    assert_eq!(tokenizer.encode("", Special::Plain).unwrap(), [0u32; 0]);
    assert_eq!(tokenizer.decode(&[1, 10, 3, 5], true), "a b");
    assert_eq!(tokenizer.token_bytes(10).unwrap(), b" a");
    let without = opened(&small()).unwrap();
    assert_eq!(without.encode("a b", Special::Add).unwrap(), [1, 4, 3, 5]);
    assert_eq!(without.decode(&[3, 5], false), " b");
}

#[test]
fn what_is_no_token_becomes_bytes_or_unknown() {
    let tokenizer = opened(&small()).unwrap();
    // As many in a row as there are.
    assert_eq!(tokenizer.encode("aé中b\n", Special::Plain).unwrap(), [4, 0, 5, 0]);
    let tokens = with_bytes();
    let tokens: Vec<_> = tokens.iter().map(|(token, kind, score)| (token.as_str(), *kind, *score)).collect();
    let tokenizer = opened(&vocabulary_of(&tokens)).unwrap();
    let ids = tokenizer.encode("é\n", Special::Plain).unwrap();
    assert_eq!(ids, [3, 15 + 0xC3, 15 + 0xA9, 15 + 0x0A]);
    assert_eq!(tokenizer.token_bytes(15 + 0xC3).unwrap(), [0xC3]);
    assert_eq!(tokenizer.decode(&ids, false), "é\n");
    assert_eq!(tokenizer.decode(&ids[..2], false), "\u{fffd}");
    // The spelling of a byte token is text.
    let ids = tokenizer.encode("<0x0A>", Special::Parse).unwrap();
    assert!(!ids.contains(&(15 + 0x0A)) && tokenizer.decode(&ids, false) == "<0x0A>", "{ids:?}");
}

#[test]
fn what_cannot_be_read_is_told() {
    let without_scores =
        GgufFile::default().text("tokenizer.ggml.model", "llama").texts("tokenizer.ggml.tokens", ["a"]);
    assert_eq!(refusal(&without_scores), "has no tokenizer.ggml.scores; convert the model again");
    let scores = |scores: &[f32]| {
        let scores = scores.iter().map(|score| score.to_le_bytes());
        refusal(&without_scores.clone().array("tokenizer.ggml.scores", F32, scores))
    };
    assert_eq!(scores(&[1.0, 2.0]), "is damaged: it has 1 tokens and 2 tokenizer.ggml.scores");
    assert_eq!(scores(&[f32::NAN]), "is damaged: the score of token 0 is no number");
    assert_eq!(scores(&[0.0]), "has neither byte tokens nor an unknown token, so some texts have no tokens");
    let mut tokens = with_bytes();
    tokens.pop();
    let fewer: Vec<_> = tokens.iter().map(|(token, kind, score)| (token.as_str(), *kind, *score)).collect();
    assert_eq!(
        refusal(&vocabulary_of(&fewer)),
        "is damaged: its vocabulary has byte tokens but none for 0xFF"
    );
    tokens.push(("<0xGG>".to_owned(), 6, 0.0));
    let spoiled: Vec<_> = tokens.iter().map(|(token, kind, score)| (token.as_str(), *kind, *score)).collect();
    assert_eq!(refusal(&vocabulary_of(&spoiled)), "is damaged: \"<0xGG>\" (token 270) is no byte");
    for key in ["remove_extra_whitespaces", "treat_whitespace_as_suffix"] {
        let key = format!("tokenizer.ggml.{key}");
        assert_eq!(refusal(&small().flag(&key, true)), format!("wants {key}, which is not done here"));
    }
}

/// Llama 2's published tokenizer, of which a GGUF file has the scores that its merges came from: better the earlier a token
/// comes in the vocabulary.
#[tokio::test]
async fn llama_2_encodes_as_its_published_tokenizer() {
    let Some(folder) = model("llama2") else {
        return;
    };
    let json: Value = files(&folder).await.json("tokenizer.json").unwrap();
    let vocabulary: HashMap<String, usize> = serde_json::from_value(json["model"]["vocab"].clone()).unwrap();
    let mut tokens = vec![(String::new(), 1, 0f32); vocabulary.len()];
    for (token, id) in vocabulary {
        let kind = match id {
            0 => 2,
            1 | 2 => 3,
            3..=258 => 6,
            _ => 1,
        };
        tokens[id] = (token, kind, -(id as f32));
    }
    let tokens: Vec<_> = tokens.iter().map(|(token, kind, score)| (token.as_str(), *kind, *score)).collect();
    let converted = opened(&vocabulary_of(&tokens)).unwrap();
    let published = published(&folder).await;
    let expected: Value =
        serde_json::from_str(include_str!("../../fixtures/tokenizers/expected.json")).unwrap();
    let texts: Vec<String> = serde_json::from_value(expected["texts"].clone()).unwrap();
    for text in &texts {
        for special in [Special::Add, Special::Parse, Special::Plain] {
            let ids = converted.encode(text, special).unwrap();
            assert_eq!(ids, published.encode(text, special).unwrap(), "{special:?}: {text:?}");
            assert_eq!(converted.decode(&ids, false), published.decode(&ids, false), "{text:?}");
        }
    }
}
