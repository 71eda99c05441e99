//! Tokens and embeddings against what diffusers makes of the same prompts.

use nn::TextTower;

use super::*;
use crate::checkpoint::Taken;
use crate::fixture::{self, Copy, PIPELINES, apart};

/// The text encoders of a pipeline, with their towers.
async fn sides(source: &std::path::Path) -> (Vec<TextSide>, Vec<TextTower>) {
    let files = fixture::resolve(source).await.unwrap();
    let two = files.get("text_encoder_2/config.json").is_some();
    let kinds = match two {
        true => vec![Taken::Penultimate, Taken::PenultimateAndPooled],
        false => vec![Taken::Last],
    };
    let sides: Vec<TextSide> = kinds
        .into_iter()
        .enumerate()
        .map(|(number, taken)| TextSide::read(&files, number, taken).unwrap())
        .collect();
    let towers = sides.iter().map(|side| side.load(&files).unwrap()).collect();
    (sides, towers)
}

/// Tokens are the same and embeddings within the tolerance; all prompts in one pass.
async fn agrees(name: &str, source: &std::path::Path) {
    let expected = fixture::expected(name);
    let (sides, towers) = sides(source).await;
    let prompts: Vec<PromptTokens> =
        expected.prompts.iter().map(|prompt| PromptTokens::new(&sides, &prompt.text).unwrap()).collect();
    let mut pass = PromptPass::begin(&towers, &prompts.iter().collect::<Vec<_>>()).unwrap();
    let mut pauses = 0;
    while !pass.advance(&towers, &mut || false) {
        pauses += 1;
    }
    assert!(pauses > 0);
    let found = pass.conditionings(&towers);
    assert_eq!(found.len(), expected.prompts.len());
    for ((prompt, tokens), found) in expected.prompts.iter().zip(&prompts).zip(&found) {
        for (encoder, ids) in prompt.tokens.iter().enumerate() {
            assert_eq!(tokens.ids(encoder), ids, "{name}: {:?}", prompt.text);
        }
        let width = prompt.context[0].len();
        assert_eq!(found.context.len(), tokens.chunks() * 77 * width);
        for (row, expected_row) in prompt.context.iter().enumerate() {
            let row = &found.context[row * expected.rows * width..][..width];
            let far = apart(row, expected_row);
            assert!(far < expected.tolerance, "{name}: {:?}: {far:.1e} apart", prompt.text);
        }
        assert_eq!(found.pooled.is_some(), prompt.pooled.is_some());
        if let (Some(found), Some(pooled)) = (&found.pooled, &prompt.pooled) {
            let far = apart(found, pooled);
            assert!(far < expected.tolerance, "{name}: {:?}: pooled {far:.1e} apart", prompt.text);
        }
    }
}

#[tokio::test]
async fn embeddings_are_those_of_diffusers() {
    for name in PIPELINES {
        agrees(name, &fixture::folder(name)).await;
    }
}

#[tokio::test]
async fn a_vocabulary_with_its_merges_is_the_same_tokenizer() {
    for name in ["sd1", "sd2", "sdxl"] {
        let copy = Copy::of(name);
        copy.remove("tokenizer/tokenizer.json");
        if name == "sdxl" {
            copy.remove("tokenizer_2/tokenizer.json");
        }
        agrees(name, copy.path()).await;
    }
}

#[tokio::test]
async fn the_map_of_special_tokens_counts_more_than_the_configuration() {
    // As the published checkpoints of 2.x have it: the padding is told in the map, the configuration tells another.
    let copy = Copy::of("sd2");
    copy.remove("tokenizer/tokenizer.json");
    copy.edit("tokenizer/tokenizer_config.json", |config| config["pad_token"] = "<|endoftext|>".into());
    let map = r#"{"bos_token": {"content": "<|startoftext|>", "lstrip": false, "normalized": true, "rstrip": false,
        "single_word": false}, "pad_token": "!"}"#;
    copy.write("tokenizer/special_tokens_map.json", map);
    agrees("sd2", copy.path()).await;
    // But where the configuration lists all added tokens, it says everything.
    copy.edit("tokenizer/tokenizer_config.json", |config| {
        config["added_tokens_decoder"] = serde_json::json!({})
    });
    let (sides, _) = sides(copy.path()).await;
    assert_eq!(sides[0].tokenizer.pad, sides[0].tokenizer.end);
}

#[tokio::test]
async fn both_generations_of_key_names_are_the_same_encoder() {
    for name in PIPELINES {
        let copy = Copy::of(name);
        let folders =
            if name == "sdxl" { vec!["text_encoder", "text_encoder_2"] } else { vec!["text_encoder"] };
        for (folder, spelling) in folders.iter().flat_map(|folder| [(folder, "text_model."), (folder, "")]) {
            copy.rename(&format!("{folder}/model.safetensors"), |name| match name {
                "text_projection.weight" => name.to_owned(),
                name => format!("{spelling}{}", name.trim_start_matches("text_model.")),
            });
            agrees(name, copy.path()).await;
        }
    }
}

#[tokio::test]
async fn single_files_hold_the_same_encoders() {
    for name in ["sd1", "sd2", "sdxl"] {
        let (_copy, path) = Copy::of(name).into_single_file();
        agrees(name, &path).await;
    }
}

#[tokio::test]
async fn prompts_that_belong_together_get_equally_many_chunks() {
    let (sides, towers) = sides(&fixture::folder("sdxl")).await;
    let long = PromptTokens::new(&sides, &"cat ".repeat(76)).unwrap();
    let short = PromptTokens::new(&sides, "").unwrap();
    assert_eq!((long.chunks(), short.chunks()), (2, 1));
    let padded = short.clone().padded(2);
    assert_eq!(padded.chunks(), 2);
    // An empty prompt of two chunks is an empty one twice, in either encoder's own padding.
    for encoder in 0..2 {
        assert_eq!(padded.ids(encoder)[0], padded.ids(encoder)[1]);
        assert_eq!(padded.ids(encoder)[0], short.ids(encoder)[0]);
    }
    assert_ne!(padded.ids(0)[1].last(), padded.ids(1)[1].last());
    let mut pass = PromptPass::begin(&towers, &[&long, &padded, &short]).unwrap();
    assert!(pass.advance(&towers, &mut || true));
    let [long, padded, short] = pass.conditionings(&towers).try_into().unwrap();
    assert_eq!(long.context.len(), padded.context.len());
    assert_eq!(padded.context.len(), 2 * short.context.len());
    assert_eq!(padded.context[..short.context.len()], short.context);
    assert_eq!(padded.pooled, short.pooled);
    let zeros = long.zeros();
    assert_eq!(zeros.context, vec![0.0; long.context.len()]);
    assert_eq!(zeros.pooled, Some(vec![0.0; 16]));
}

#[tokio::test]
async fn a_prompt_beyond_all_sense_is_refused() {
    let (sides, _) = sides(&fixture::folder("sd1")).await;
    let error = PromptTokens::new(&sides, &"cat ".repeat(75 * 16 + 1)).unwrap_err();
    assert_eq!(error, "the prompt has 17 chunks of tokens, at most 16 are taken: make it shorter");
    assert_eq!(PromptTokens::new(&sides, &"cat ".repeat(75 * 16)).unwrap().chunks(), 16);
    let error = PromptTokens::new(&sides, &"a".repeat((16 << 10) + 1)).unwrap_err();
    assert_eq!(error, "the prompt has 16385 bytes, at most 16384 are taken");
}
