//! `candlepool embed-image`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::process::{failed, run, stderr, stdout};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../image-embedding/tests/fixtures")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A vector, scaled to length 1.
fn unit(vector: &Value) -> Vec<f64> {
    let vector: Vec<f64> = serde_json::from_value(vector.clone()).unwrap();
    let length = vector.iter().map(|number| number * number).sum::<f64>().sqrt();
    vector.iter().map(|number| number / length).collect()
}

#[tokio::test]
async fn pictures_come_first_and_texts_behind_them_as_the_reference_has_them() {
    let model = fixtures().join("checkpoints/clip");
    let expected: Value =
        serde_json::from_slice(&std::fs::read(model.join("expected.json")).unwrap()).unwrap();
    let (pictures, texts) = (expected["pictures"].as_array().unwrap(), expected["texts"].as_array().unwrap());
    let files: Vec<PathBuf> = pictures
        .iter()
        .map(|case| fixtures().join("pictures").join(case["file"].as_str().unwrap()))
        .collect();
    let mut arguments = vec!["embed-image", "--model", text(&model)];
    for case in texts {
        arguments.extend(["--text", case["text"].as_str().unwrap()]);
    }
    arguments.extend(files.iter().map(|file| text(file)));
    let output = run(&arguments).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let document: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(document["model"], text(&model));
    let vectors = document["embeddings"].as_array().unwrap();
    assert_eq!(vectors.len(), pictures.len() + texts.len());
    for (vector, case) in vectors.iter().zip(pictures.iter().chain(texts)) {
        let apart =
            unit(vector).iter().zip(unit(&case["embedding"])).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        assert!(apart.sqrt() < 2e-4, "{case}: {apart}");
    }
}

#[tokio::test]
async fn what_fails_is_told_in_its_place_and_the_rest_goes_on() {
    let model = fixtures().join("checkpoints/dinov2");
    let picture = fixtures().join("pictures/square.png");
    let config = model.join("config.json");
    let arguments = [
        "embed-image",
        "--model",
        text(&model),
        "--format",
        "jsonl",
        "--text",
        "a cat",
        text(&picture),
        text(&config),
        "no.png",
    ];
    let output = run(&arguments).await;
    let error = failed(&output, 1);
    assert!(error.contains("3 of 4"), "{error}");
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines[0]["embedding"].as_array().is_some_and(|vector| !vector.is_empty()));
    for (line, told) in
        lines[1..].iter().zip(["is not a picture", "cannot read the picture no.png", "sees pictures only"])
    {
        assert!(line["error"].as_str().is_some_and(|error| error.contains(told)), "{line}");
    }
    let output = run(&["embed-image", "--model", text(&model)]).await;
    assert!(failed(&output, 2).contains("nothing to embed is given"), "{}", stderr(&output));
}
