//! Byte-pair vocabularies: small ones, and those of published tokenizers put into GGUF files.

use std::collections::HashMap;

use model_source::{LanguageTokenizer, Special};
use serde_json::Value;

use super::{files, opened, published, refusal};
use crate::gguf_files::{GgufFile, I32};
use crate::models::model;

/// The bytes' spellings, in the order of the published table: those that can be seen, then the others.
fn alphabet() -> Vec<String> {
    let seen = (b'!'..=b'~').chain(0xA1..=0xAC).chain(0xAE..=0xFF).map(|byte| char::from(byte).to_string());
    seen.chain((0x100..0x144).map(|code| char::from_u32(code).unwrap().to_string())).collect()
}

/// 256 bytes, a few pieces, two special tokens and one that is user-defined.
fn vocabulary(pre: &str) -> GgufFile {
    let mut tokens = alphabet();
    tokens.extend(["Ġa", "ab", "Ġab", "<|im_end|>", "<bos>", "<tool>"].map(str::to_owned));
    let kinds = [1; 259].into_iter().chain([3, 3, 4]).map(i32::to_le_bytes);
    GgufFile::default()
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", pre)
        .texts("tokenizer.ggml.tokens", &tokens)
        .array("tokenizer.ggml.token_type", I32, kinds)
        .texts("tokenizer.ggml.merges", ["Ġ a", "a b", "Ġ ab"])
        .number("tokenizer.ggml.bos_token_id", 260)
        .number("tokenizer.ggml.eos_token_id", 259)
}

/// Merges go by their place in the list: `Ġ a` before `a b`, so ` ab` is two tokens.
#[test]
fn merges_are_done_in_the_order_of_the_list() {
    let tokenizer = opened(&vocabulary("gpt-2")).unwrap();
    let encode = |text: &str| tokenizer.encode(text, Special::Plain).unwrap();
    let id = |token: &str| tokenizer.id(token).unwrap();
    assert_eq!(encode(" ab"), [id("Ġa"), id("b")]);
    assert_eq!(encode("ab"), [id("ab")]);
    assert_eq!(encode("abab ab"), [id("ab"), id("ab"), id("Ġa"), id("b")]);
    assert_eq!(encode("\u{e9}\u{0}"), [id("Ã"), id("©"), id("Ā")]);
    assert_eq!(encode(""), [0u32; 0]);
}

/// Where the vocabulary's way of cutting takes whole words, ` ab` is one.
#[test]
fn whole_words_come_before_merges_where_the_vocabulary_wants_it() {
    let tokenizer = opened(&vocabulary("llama-bpe")).unwrap();
    assert_eq!(tokenizer.encode(" ab", Special::Plain).unwrap(), [tokenizer.id("Ġab").unwrap()]);
    assert_eq!(tokenizer.token_bytes(tokenizer.id("Ġab").unwrap()).unwrap(), b" ab");
    // And texts begin with the beginning of text, though the file does not say so.
    assert_eq!(tokenizer.encode("ab", Special::Add).unwrap(), [260, 257]);
    let off = opened(&vocabulary("llama-bpe").flag("tokenizer.ggml.add_bos_token", false)).unwrap();
    assert_eq!(off.encode("ab", Special::Add).unwrap(), [257]);
}

#[test]
fn special_tokens_in_text_are_as_asked_for() {
    let file = vocabulary("gpt-2");
    let file = file.flag("tokenizer.ggml.add_bos_token", true).flag("tokenizer.ggml.add_eos_token", true);
    let tokenizer = opened(&file).unwrap();
    let encode = |special| tokenizer.encode("ab<|im_end|>ab<tool>", special).unwrap();
    assert_eq!(encode(Special::Parse), [257, 259, 257, 261]);
    assert_eq!(encode(Special::Add), [260, 257, 259, 257, 261, 259]);
    let plain = encode(Special::Plain);
    // What is user-defined is text, and found all the same.
    assert!(plain.len() > 10 && plain.last() == Some(&261) && !plain.contains(&259), "{plain:?}");
    for special in [Special::Plain, Special::Parse] {
        assert_eq!(tokenizer.decode(&encode(special), false), "ab<|im_end|>ab<tool>");
    }
    assert_eq!(tokenizer.decode(&encode(Special::Add), true), "abab<tool>");
    assert_eq!((tokenizer.special_tokens().eot, &*tokenizer.special_tokens().ends), (Some(259), &[259][..]));
}

#[test]
fn what_cannot_be_read_is_told() {
    let file = vocabulary("gpt-99");
    let reason = refusal(&file);
    let beginning = "cuts text into words in a way that is not known (tokenizer.ggml.pre = \"gpt-99\"); known are gpt-2, ";
    assert!(reason.starts_with(beginning), "{reason}");
    assert_eq!(
        refusal(&GgufFile::default()),
        "has no tokenizer (tokenizer.ggml.model); convert the model again"
    );
    let bert = GgufFile::default().text("tokenizer.ggml.model", "bert").texts("tokenizer.ggml.tokens", ["a"]);
    assert!(refusal(&bert).starts_with("has a tokenizer of the kind \"bert\", which is not known"));
    let base =
        || GgufFile::default().text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "gpt-2");
    assert_eq!(refusal(&base()), "has no tokenizer.ggml.tokens; convert the model again");
    let tokens = || base().texts("tokenizer.ggml.tokens", ["a", "b"]);
    assert_eq!(refusal(&tokens()), "has no tokenizer.ggml.merges; convert the model again");
    assert_eq!(
        refusal(&tokens().texts("tokenizer.ggml.merges", ["a b"])),
        "is damaged: merge 0 of its vocabulary, \"a b\", is not of two tokens that make a third"
    );
    let merges = || tokens().texts("tokenizer.ggml.merges", [""; 0]);
    assert!(opened(&merges()).is_ok());
    assert_eq!(
        refusal(&merges().number("tokenizer.ggml.eos_token_id", 2)),
        "is damaged: its tokenizer.ggml.eos_token_id is 2, and it has 2 tokens"
    );
    assert_eq!(
        refusal(&merges().array("tokenizer.ggml.token_type", I32, [1i32.to_le_bytes()])),
        "is damaged: it has 2 tokens and 1 tokenizer.ggml.token_type"
    );
    assert_eq!(
        refusal(&merges().array("tokenizer.ggml.token_type", I32, [1, 9].map(i32::to_le_bytes))),
        "has a token of the unknown type I32(9)"
    );
    assert_eq!(
        refusal(&merges().flag("tokenizer.ggml.bos_token_id", true)),
        "is damaged: its tokenizer.ggml.bos_token_id is a bool, not a whole number"
    );
}

/// A published byte-pair tokenizer as its GGUF file has it.
async fn converted(folder: &std::path::Path, pre: &str) -> LanguageTokenizer {
    let json: Value = files(folder).await.json("tokenizer.json").unwrap();
    let vocabulary: HashMap<String, usize> = serde_json::from_value(json["model"]["vocab"].clone()).unwrap();
    let added = json["added_tokens"].as_array().unwrap();
    let last = added.iter().map(|token| token["id"].as_u64().unwrap() as usize + 1);
    let size = last.chain([vocabulary.len()]).max().unwrap();
    let mut tokens: Vec<(String, i32)> = (0..size).map(|id| (format!("[PAD{id}]"), 5)).collect();
    for (token, id) in vocabulary {
        tokens[id] = (token, 1);
    }
    for token in added {
        let kind = if token["special"] == true { 3 } else { 4 };
        tokens[token["id"].as_u64().unwrap() as usize] =
            (token["content"].as_str().unwrap().to_owned(), kind);
    }
    // Merges are pairs, or in older files both in one string.
    let merges = json["model"]["merges"].as_array().unwrap().iter().map(|merge| match merge {
        Value::Array(pair) => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
        merge => merge.as_str().unwrap().to_owned(),
    });
    let file = GgufFile::default()
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", pre)
        .array("tokenizer.ggml.token_type", I32, tokens.iter().map(|(_, kind)| kind.to_le_bytes()))
        .texts("tokenizer.ggml.tokens", tokens.iter().map(|(token, _)| token))
        .texts("tokenizer.ggml.merges", merges);
    opened(&file).unwrap()
}

/// The way of cutting that each name stands for, against the library that the expressions were written for.
#[tokio::test]
async fn a_gguf_file_encodes_as_the_published_tokenizer_it_was_made_from() {
    let expected: Value =
        serde_json::from_str(include_str!("../../fixtures/tokenizers/expected.json")).unwrap();
    let texts: Vec<String> = serde_json::from_value(expected["texts"].clone()).unwrap();
    for (name, pre) in [
        ("llama3", "llama-bpe"),
        ("qwen2_5", "qwen2"),
        ("mistral_nemo", "tekken"),
        ("gptoss", "gpt-4o"),
        ("command_r_plus", "command-r"),
        ("deepseek_v3", "deepseek-v3"),
    ] {
        let Some(folder) = model(name) else {
            continue;
        };
        let (published, converted) = (published(&folder).await, converted(&folder, pre).await);
        for text in &texts {
            for special in [Special::Parse, Special::Plain] {
                let ids = converted.encode(text, special).unwrap();
                assert_eq!(ids, published.encode(text, special).unwrap(), "{name}, {special:?}: {text:?}");
                assert_eq!(converted.decode(&ids, false), published.decode(&ids, false), "{name}: {text:?}");
            }
        }
    }
}
