//! `tokenizer.json` and what the files beside it say.

use model_source::{LanguageTokenizer, Special};
use serde_json::{Value, json};

use super::files;

/// A byte-level tokenizer of a few pieces, whose end of turn only `tokenizer_config.json` tells of.
fn tokenizer() -> Value {
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "a"},
        "added_tokens": [{"id": 5, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [5], "tokens": ["<s>"]}}},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "vocab": {"a": 0, "b": 1, "Ġ": 2, "ab": 3, "Ġab": 4, "<s>": 5, "<|im_end|>": 6, "<": 7, "s": 8, ">": 9},
            "merges": ["a b", "Ġ ab"]}
    })
}

/// The tokenizer of a folder with these files.
async fn opened(files_: &[(&str, Value)]) -> Result<LanguageTokenizer, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files_ {
        std::fs::write(folder.path().join(name), content.to_string()).unwrap();
    }
    let opened = LanguageTokenizer::from_files(&files(folder.path()).await);
    opened.map_err(|error| {
        let error = error.to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error.replace(&format!("{}/", folder.path().display()), "")
    })
}

#[tokio::test]
async fn whole_texts_come_with_what_the_tokenizer_adds() {
    let tokenizer = opened(&[("tokenizer.json", tokenizer())]).await.unwrap();
    let encode = |special| tokenizer.encode("ab ab<s>a", special).unwrap();
    assert_eq!(encode(Special::Parse), [3, 4, 5, 0]);
    assert_eq!(encode(Special::Add), [5, 3, 4, 5, 0]);
    assert_eq!(encode(Special::Plain), [3, 4, 7, 8, 9, 0]);
    for special in [Special::Parse, Special::Plain] {
        assert_eq!(tokenizer.decode(&encode(special), false), "ab ab<s>a");
    }
    assert_eq!(tokenizer.decode(&encode(Special::Parse), true), "ab aba");
    assert_eq!((tokenizer.vocab_size(), tokenizer.id("Ġab"), tokenizer.id("c")), (10, Some(4), None));
    assert!(tokenizer.is_special(5) && !tokenizer.is_special(6));
}

#[tokio::test]
async fn the_configuration_says_what_is_added_and_what_is_special() {
    let config = json!({
        "bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "<|im_end|>", "pad_token": "<nowhere>",
        "add_bos_token": false, "add_eos_token": true,
        "added_tokens_decoder": {"6": {"content": "<|im_end|>", "special": true}}
    });
    let generation = json!({"eos_token_id": [6, 9, 1000]});
    let tokenizer = opened(&[
        ("tokenizer.json", tokenizer()),
        ("tokenizer_config.json", config),
        ("generation_config.json", generation),
    ])
    .await
    .unwrap();
    assert_eq!(tokenizer.encode("a<|im_end|>b", Special::Add).unwrap(), [0, 6, 1, 6]);
    let special = tokenizer.special_tokens();
    assert_eq!((special.bos, special.eos, special.eot, special.pad), (Some(5), Some(6), Some(6), None));
    assert_eq!(special.ends, [6, 9]);
    assert!(tokenizer.is_special(6) && tokenizer.is_special(9));
}

/// As InternLM 2 has it.
#[tokio::test]
async fn the_configuration_may_spell_a_token_anew() {
    let mut unused = tokenizer();
    unused["model"]["vocab"].as_object_mut().unwrap().remove("<|im_end|>");
    unused["model"]["vocab"]["[UNUSED]"] = json!(6);
    let config = json!({"added_tokens_decoder": {"6": {"content": "<|im_end|>", "special": true}}});
    let tokenizer = opened(&[("tokenizer.json", unused), ("tokenizer_config.json", config)]).await.unwrap();
    assert_eq!(tokenizer.encode("a<|im_end|>", Special::Parse).unwrap(), [0, 6]);
    assert_eq!((tokenizer.vocab_size(), tokenizer.token_bytes(6).unwrap()), (10, &b"<|im_end|>"[..]));
    assert_eq!(tokenizer.special_tokens().ends, [6]);
}

#[tokio::test]
async fn a_tokenizer_whose_text_would_be_wrong_is_refused() {
    let mut wordpiece = tokenizer();
    wordpiece["decoder"] = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
    let reason = opened(&[("tokenizer.json", wordpiece)]).await.unwrap_err();
    assert!(
        reason.starts_with("tokenizer.json turns tokens into text in a way that is not known: {")
            && reason.contains("WordPiece"),
        "{reason}"
    );
    let mut none = tokenizer();
    none["decoder"] = Value::Null;
    let reason = opened(&[("tokenizer.json", none)]).await.unwrap_err();
    assert_eq!(reason, "tokenizer.json has no decoder, so its tokens cannot be turned into text");
    let mut far = tokenizer();
    far["model"]["vocab"]["z"] = json!(4_000_000_000u32);
    let reason = opened(&[("tokenizer.json", far)]).await.unwrap_err();
    assert_eq!(reason, "tokenizer.json is damaged: it has 11 tokens and one with the id 4000000000");
    let config = json!({"bos_token": 5});
    let reason =
        opened(&[("tokenizer.json", tokenizer()), ("tokenizer_config.json", config)]).await.unwrap_err();
    assert!(reason.starts_with("tokenizer_config.json is not valid: bos_token: "), "{reason}");
}
