//! The hard texts of `fixtures/tokenizers`, in whose folder `make.py` says how the expected tokens came about.

use model_source::{LanguageTokenizer, Special};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{published, trained};
use crate::models::model;

fn expected() -> Value {
    serde_json::from_str(include_str!("../../fixtures/tokenizers/expected.json")).unwrap()
}

fn texts(expected: &Value) -> Vec<String> {
    serde_json::from_value(expected["texts"].clone()).unwrap()
}

const KINDS: [(&str, Special); 3] =
    [("add", Special::Add), ("parse", Special::Parse), ("plain", Special::Plain)];

#[test]
fn gguf_vocabularies_encode_as_the_reference_does() {
    let expected = expected();
    let texts = texts(&expected);
    assert!(texts.len() >= 60);
    for (name, tokenizer) in trained() {
        for (kind, special) in &KINDS[1..] {
            let ids: Vec<Vec<u32>> = serde_json::from_value(expected[name][kind].clone()).unwrap();
            assert_eq!(ids.len(), texts.len());
            for (text, ids) in texts.iter().zip(ids) {
                assert_eq!(tokenizer.encode(text, *special).unwrap(), ids, "{name}, {kind}: {text:?}");
            }
        }
    }
}

/// The tokens' digest, as in the fixture.
fn digest(ids: &[u32]) -> String {
    let ids = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    Sha256::digest(ids)[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn published_tokenizers_encode_as_transformers_does() {
    let expected = expected();
    let texts = texts(&expected);
    for (name, digests) in expected["packages"].as_object().unwrap() {
        let Some(folder) = model(name) else {
            continue;
        };
        let tokenizer = published(&folder).await;
        for (kind, special) in KINDS {
            let digests: Vec<&str> = digests[kind].as_str().unwrap().split(' ').collect();
            assert_eq!(digests.len(), texts.len());
            for (text, expected) in texts.iter().zip(digests) {
                let ids = tokenizer.encode(text, special).unwrap();
                assert_eq!(digest(&ids), expected, "{name}, {kind}: {text:?} became {ids:?}");
            }
        }
    }
}

#[test]
fn what_gguf_files_say_of_special_tokens_is_known() {
    for (name, tokenizer) in trained() {
        let special = tokenizer.special_tokens();
        let spelled =
            |id: Option<u32>| String::from_utf8(tokenizer.token_bytes(id.unwrap()).unwrap().to_vec());
        let (add, size) = match name {
            "gemma-3-270m" => {
                assert_eq!(spelled(special.bos).unwrap(), "<bos>");
                assert_eq!(spelled(special.eot).unwrap(), "<end_of_turn>");
                assert_eq!((special.eos, special.unk, special.pad), (Some(1), Some(3), Some(0)));
                assert_eq!(special.ends, [1, 106]);
                (special.bos.into_iter().collect(), 262_144)
            }
            _ => {
                assert_eq!((special.bos, special.eos, special.eot), (Some(1), Some(2), Some(2)));
                assert_eq!(special.ends, [0, 2]);
                assert_eq!(tokenizer.id("<|im_start|>"), Some(1));
                (Vec::new(), 49_152)
            }
        };
        assert_eq!(tokenizer.vocab_size(), size);
        assert_eq!(tokenizer.encode("", Special::Add).unwrap(), add);
        assert!(special.ends.iter().all(|id| tokenizer.is_special(*id)));
        assert!(!tokenizer.is_special(300) && !tokenizer.is_special(1 << 30));
        assert_eq!(tokenizer.token_bytes(size as u32), None);
    }
}

#[tokio::test]
async fn what_configurations_say_of_special_tokens_is_known() {
    let ends = |tokenizer: &LanguageTokenizer| -> Vec<String> {
        let spelled = |id: &u32| String::from_utf8(tokenizer.token_bytes(*id).unwrap().to_vec()).unwrap();
        tokenizer.special_tokens().ends.iter().map(spelled).collect()
    };
    for (name, expected) in [
        ("llama3", &["<|end_of_text|>", "<|eot_id|>"][..]),
        ("llama3_1", &["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"]),
        ("qwen3", &["<|endoftext|>", "<|im_end|>"]),
        ("gemma3", &["<end_of_turn>"]),
        ("mistral_nemo", &["</s>"]),
        ("deepseek_v3", &["<｜end▁of▁sentence｜>"]),
        ("command_r_plus", &["<|END_OF_TURN_TOKEN|>"]),
        ("internlm2", &["</s>", "<|im_end|>"]),
        ("gptoss", &["<|endoftext|>", "<|return|>", "<|call|>"]),
    ] {
        let Some(folder) = model(name) else {
            continue;
        };
        let tokenizer = published(&folder).await;
        assert_eq!(ends(&tokenizer), expected, "{name}");
        assert!(tokenizer.special_tokens().ends.iter().all(|id| tokenizer.is_special(*id)), "{name}");
    }
}
