//! From files to vectors and scores, against transformers.

use image_embedding::{Architecture, ImageEmbedding, Input};
use imaging::Processor;

use crate::fixture::{checkpoint, distance, expected, picture};

const DRAWN: [&str; 4] = ["clip", "siglip", "dinov2", "dinov2-interpolated"];
/// Checkpoints as they are before training, for pictures whose decoders differ by some levels.
const UNTRAINED: [(&str, f64); 2] = [("clip-default-init", 5e-3), ("dinov2-default-init", 5e-3)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_and_texts_become_the_references_vectors_in_both_spellings() {
    for name in DRAWN {
        let expected = expected(name);
        assert!(expected.noise < expected.tolerance / 10.0);
        let older = expected.older(name);
        for folder in [checkpoint(name).as_path(), older.path()] {
            let pool = ImageEmbedding::load(folder).await.unwrap();
            assert_eq!(pool.info().texts, !expected.texts.is_empty());
            let mut inputs: Vec<Input> = Vec::new();
            let mut wanted: Vec<&[f32]> = Vec::new();
            for case in &expected.pictures {
                inputs.push(picture(&case.file).into());
                wanted.push(&case.embedding);
            }
            for case in &expected.texts {
                inputs.push(case.text.as_str().into());
                wanted.push(&case.embedding);
                let alone = pool.embed_text(case.text.as_str()).await.unwrap();
                assert_eq!(alone.tokens, case.tokens, "{name}: {:?}", case.text);
            }
            let together = pool.embed_all(inputs.clone()).normalize(false).await.unwrap();
            for ((input, wanted), together) in inputs.into_iter().zip(wanted).zip(together) {
                let away = distance(&together, wanted);
                assert!(away <= expected.tolerance, "{name}: {input:?} is {away:.1e} away");
                let alone = pool.embed(input.clone()).normalize(false).await.unwrap();
                assert_eq!(alone, together, "{name}: {input:?} alone and in a list");
                // Scaled to length 1, it points the same way.
                let scaled = pool.embed(input).await.unwrap();
                let length = wanted.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
                let unit: Vec<f32> = wanted.iter().map(|x| x / length).collect();
                assert!(distance(&scaled, &unit) <= expected.tolerance);
                assert_eq!(scaled.len(), pool.info().dimensions);
            }
        }
    }
}

#[test]
fn pixel_values_are_the_references() {
    for name in DRAWN {
        let expected = expected(name);
        let folders = [checkpoint(name), expected.older(name).keep()];
        for folder in &folders {
            let file = ["processor_config.json", "preprocessor_config.json"].map(|file| folder.join(file));
            let file = file.iter().find(|file| file.is_file()).unwrap();
            let settings = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
            let processor = Processor::from_config(&settings).unwrap();
            for case in &expected.pictures {
                let pixels = processor.process(&picture(&case.file).decode().unwrap()).unwrap();
                let layout = pixels.layout();
                assert_eq!((layout.tile_height, layout.tile_width), (case.height, case.width));
                for (at, (got, wanted)) in pixels.tile(0).iter().step_by(37).zip(&case.samples).enumerate() {
                    assert!(
                        (got - wanted).abs() <= 1e-6,
                        "{name}, {}: {got} for {wanted} at {at}",
                        case.file
                    );
                }
            }
        }
        std::fs::remove_dir_all(&folders[1]).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_jpeg_is_seen_as_the_reference_sees_it() {
    for (name, tolerance) in UNTRAINED {
        let expected = expected(name);
        let pool = ImageEmbedding::load(checkpoint(name)).await.unwrap();
        let jpegs: Vec<_> = expected.pictures.iter().filter(|case| case.file.ends_with(".jpg")).collect();
        assert_eq!(jpegs.len(), 3);
        for case in jpegs {
            let vector = pool.embed_image(picture(&case.file)).normalize(false).await.unwrap();
            let away = distance(&vector, &case.embedding);
            assert!(away <= tolerance, "{name}: {} is {away:.1e} away", case.file);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_have_the_references_scores() {
    for name in ["clip", "siglip", "clip-default-init"] {
        let case = expected(name).classified.unwrap();
        let pool = ImageEmbedding::load(checkpoint(name)).await.unwrap();
        let classified = pool.classify(picture(&case.file), case.labels.clone()).await.unwrap();
        assert_eq!(classified.len(), case.labels.len());
        assert!(classified.is_sorted_by(|one, next| one.score >= next.score));
        for label in &classified {
            let wanted = case.scores[label.index];
            assert_eq!(label.label, case.labels[label.index]);
            assert!((label.score - wanted).abs() < 2e-4, "{name}: {} for {wanted}", label.score);
        }
        let whole = case.labels.iter().map(|label| format!("This is a photo of {label}."));
        let filled = pool.classify(picture(&case.file), whole).template("{}").await.unwrap();
        let scores =
            |list: &[image_embedding::Classified]| list.iter().map(|one| one.score).collect::<Vec<_>>();
        assert_eq!(scores(&filled), scores(&classified));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_says_what_it_is() {
    for (name, architecture, dimensions, max_tokens) in [
        ("clip", Architecture::Clip, 18, Some(77)),
        ("siglip", Architecture::Siglip, 24, Some(64)),
        ("dinov2", Architecture::Dinov2, 24, None),
    ] {
        let pool = ImageEmbedding::load(checkpoint(name)).name("tiny").await.unwrap();
        let info = pool.info();
        assert_eq!(
            (info.architecture, info.dimensions, info.max_tokens),
            (architecture, dimensions, max_tokens)
        );
        assert_eq!((info.model.as_str(), info.texts), ("tiny", max_tokens.is_some()));
    }
}
