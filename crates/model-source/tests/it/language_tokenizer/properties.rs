//! What holds for every text.

use std::sync::LazyLock;

use model_source::{LanguageTokenizer, Special};
use proptest::prelude::*;

use super::trained;

static TRAINED: LazyLock<Vec<(&str, LanguageTokenizer)>> = LazyLock::new(|| trained().collect());

/// What comes out again of a text: SentencePiece takes its mark for a space for one.
fn kept(name: &str, text: &str) -> String {
    if name.starts_with("gemma") { text.replace('\u{2581}', " ") } else { text.to_owned() }
}

/// Bytes that no token of SmolLM2's vocabulary carries: control characters that its training text had not.
fn has_tokens(name: &str, tokenizer: &LanguageTokenizer, text: &str) -> bool {
    name.starts_with("gemma")
        || text.bytes().all(|byte| (0..256).any(|id| tokenizer.token_bytes(id + 17) == Some(&[byte])))
}

/// Text as people and programs write it, and any other.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[a-zA-Z ]{1,12}",
        2 => "[ \\n\\t\\r]{1,6}",
        2 => "\\PC{1,4}",
        1 => ".{1,4}",
        1 => "[0-9.,]{1,6}",
        1 => "(<\\|im_start\\|>|<\\|im_end\\|>|<eos>|<start_of_turn>|<unused7>|<0x0A>|▁▁)",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded_again(text in any_text()) {
        for (name, tokenizer) in TRAINED.iter().filter(|(name, tokenizer)| has_tokens(name, tokenizer, &text)) {
            for special in [Special::Plain, Special::Parse] {
                let ids = tokenizer.encode(&text, special).unwrap();
                prop_assert_eq!(tokenizer.decode(&ids, false), kept(name, &text));
                let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.token_bytes(*id).unwrap()).copied().collect();
                prop_assert_eq!(String::from_utf8(bytes).unwrap(), kept(name, &text));
                let plain = special == Special::Plain;
                prop_assert!(!plain || !ids.iter().any(|id| tokenizer.is_special(*id)));
            }
        }
    }

    /// A stream's bytes, token by token, are those of the whole, whatever the tokens.
    #[test]
    fn any_tokens_decode_to_their_bytes(ids in prop::collection::vec(any::<u32>().prop_map(|id| id % 270_000), 0..40)) {
        for (_, tokenizer) in TRAINED.iter() {
            for skip_special in [false, true] {
                let shown = ids.iter().filter(|id| !(skip_special && tokenizer.is_special(**id)));
                let bytes: Vec<u8> = shown.filter_map(|id| tokenizer.token_bytes(*id)).flatten().copied().collect();
                prop_assert_eq!(tokenizer.decode(&ids, skip_special), String::from_utf8_lossy(&bytes));
            }
        }
    }
}

/// Unbroken strings of a hundred kilobytes, over which anything quadratic would take minutes.
#[test]
fn long_unbroken_strings_are_encoded() {
    let long = |piece: &str| piece.repeat(100_000 / piece.len());
    for text in ["a", " ", "\n", "ab", "中", "1", "👩‍👩‍👧", "-=", "aB", "\u{301}", " \n"].map(long)
    {
        for (name, tokenizer) in TRAINED.iter() {
            let ids = tokenizer.encode(&text, Special::Parse).unwrap();
            assert!(ids.len() <= text.len());
            assert_eq!(tokenizer.decode(&ids, false), kept(name, &text));
        }
    }
}
