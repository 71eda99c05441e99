//! Logits of every position of a prompt, pictures' rows included.

use candle_core::{DType, Device, Tensor};
use model_source::{Gguf, Weights};
use nn::{
    Decoder, DecoderConfig, GgufStore, KvCache, Precision, Rows, SafetensorsStore, SequenceChunk, Span,
};
use serde_json::Value;

use super::{CASES, config, files, fixtures, json, load, pixels, renamed, rows, worst};
use crate::config::LlavaConfig;
use crate::mmproj::Mmproj;
use crate::tower::PictureTower;
use crate::weights::StoredVision;

const IMAGE_TOKEN: u32 = 3;

/// All logits of a conversation's prompt, those columns that the reference keeps.
fn logits(
    decoder: &Decoder,
    tower: &PictureTower,
    name: &str,
    conversation: &Value,
    stride: usize,
) -> Vec<f32> {
    let tokens: Vec<u32> = serde_json::from_value(conversation["tokens"].clone()).unwrap();
    let pictures: Vec<Tensor> = conversation["pictures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|picture| {
            let rows = rows(tower, &pixels(name, picture.as_str().unwrap()), 1).0;
            let count = rows.len() / 40;
            Tensor::from_vec(rows, (count, 40), &Device::Cpu).unwrap()
        })
        .collect();
    let (mut spans, mut left, mut waiting) = (Vec::new(), tokens.as_slice(), pictures.iter());
    while let Some(first) = left.first() {
        let length = match *first {
            IMAGE_TOKEN => {
                let picture = waiting.next().unwrap();
                spans.push(Span::Embeddings(picture));
                let length = picture.dims()[0];
                assert!(left[..length].iter().all(|token| *token == IMAGE_TOKEN));
                length
            }
            _ => {
                let length = left.iter().position(|token| *token == IMAGE_TOKEN).unwrap_or(left.len());
                spans.push(Span::Tokens(&left[..length]));
                length
            }
        };
        left = &left[length..];
    }
    assert!(waiting.next().is_none());
    let layout = decoder.config().cache_layout(16);
    let blocks = tokens.len().div_ceil(16);
    let mut cache = KvCache::new(&layout, &vec![blocks; layout.groups.len()]).unwrap();
    let table: Vec<u32> = (0..blocks as u32).collect();
    let tables = vec![table.as_slice(); layout.groups.len()];
    let prompt = SequenceChunk { inputs: &spans, start: 0, tables: &tables, logits: Rows::All };
    let logits = decoder.forward(&[prompt], &mut cache).unwrap();
    logits.chunks(decoder.config().vocab_size).flat_map(|row| row.iter().step_by(stride).copied()).collect()
}

fn agree(decoder: &Decoder, tower: &PictureTower, name: &str) {
    let case = json(&fixtures().join(name).join("case.json"));
    let (stride, tolerance) =
        (case["stride"].as_u64().unwrap() as usize, case["tolerance"].as_f64().unwrap());
    for conversation in case["conversations"].as_array().unwrap() {
        assert!(conversation["noise"].as_f64().unwrap() < tolerance / 10.0);
        let wanted: Vec<Vec<f32>> = serde_json::from_value(conversation["logits"].clone()).unwrap();
        let apart = worst(&logits(decoder, tower, name, conversation, stride), &wanted);
        assert!(apart < tolerance, "{name} {}: {apart:e} apart", conversation["pictures"]);
    }
}

async fn decoder(folder: &std::path::Path, config: &LlavaConfig) -> Decoder {
    let weights = Weights::open(&files(folder).await).unwrap();
    let store = SafetensorsStore::new(weights.var_builder(DType::F32, &Device::Cpu)).unwrap();
    let config = DecoderConfig::from_huggingface(&config.text).unwrap();
    Decoder::load(config, &store.with_names(weights.names()), Precision::default()).unwrap()
}

#[tokio::test]
async fn logits_of_every_position_are_the_references_in_both_spellings() {
    for name in CASES {
        let folder = fixtures().join(name);
        let tower = load(config(name), &StoredVision::Folder(files(&folder).await)).unwrap();
        agree(&decoder(&folder, &config(name)).await, &tower, name);

        let older = LlavaConfig::from_huggingface(&json(&folder.join("older/config.json"))).unwrap();
        let renamed = renamed(name, |name| Some(name.replace("vision_tower.", "vision_tower.vision_model.")));
        let tower = load(older.clone(), &StoredVision::Folder(files(renamed.path()).await)).unwrap();
        agree(&decoder(renamed.path(), &older).await, &tower, name);
    }
}

#[tokio::test]
async fn a_jpeg_gives_the_references_logits() {
    // Decoders differ by some levels, and a row of the picture's own by what its patch does: this model has weights as before
    // training, all its logits are compared as they are, and those behind the picture relative to themselves, too.
    let name = "next-default-init";
    let folder = fixtures().join(name);
    let case = json(&folder.join("case.json"));
    let (stride, tolerance) = (case["stride"].as_u64().unwrap() as usize, 5e-3);
    assert_eq!(case["tolerance"].as_f64().unwrap(), tolerance);
    let tower = load(config(name), &StoredVision::Folder(files(&folder).await)).unwrap();
    let decoder = decoder(&folder, &config(name)).await;
    let conversations = case["conversations"].as_array().unwrap();
    assert_eq!(conversations.len(), 3);
    for conversation in conversations {
        let what = &conversation["pictures"];
        let tokens: Vec<u32> = serde_json::from_value(conversation["tokens"].clone()).unwrap();
        let wanted: Vec<Vec<f32>> = serde_json::from_value(conversation["logits"].clone()).unwrap();
        let found = logits(&decoder, &tower, name, conversation, stride);
        assert_eq!(found.len(), wanted.iter().map(Vec::len).sum::<usize>());
        for (found, wanted) in found.iter().zip(wanted.iter().flatten()) {
            assert!(f64::from((found - wanted).abs()) < tolerance, "{what}: {found} for {wanted}");
        }
        let behind = 1 + tokens.iter().rposition(|token| *token == IMAGE_TOKEN).unwrap();
        assert!(behind < tokens.len());
        let apart = worst(&found[behind * wanted[0].len()..], &wanted[behind..]);
        assert!(apart < tolerance, "{what}: {apart:e} apart");
    }
}

#[tokio::test]
async fn gguf_files_give_the_references_logits() {
    let folder = fixtures().join("llava-llama/gguf");
    let file = Gguf::open_path(&folder.join("model.gguf")).unwrap();
    let config = DecoderConfig::from_gguf(file.metadata()).unwrap();
    let store = GgufStore::new(&config, file.names(), |name: &str| file.load(name, &Device::Cpu));
    let decoder = Decoder::load(config, &store, Precision::default()).unwrap();
    let mmproj = Gguf::open_path(&folder.join("mmproj-model-f16.gguf")).unwrap();
    let config = Mmproj::new(mmproj.metadata(), mmproj.names()).config().unwrap();
    let config = LlavaConfig::from_huggingface(&config).unwrap();
    let tower = load(config, &StoredVision::Mmproj(mmproj)).unwrap();
    agree(&decoder, &tower, "llava-llama");
}
