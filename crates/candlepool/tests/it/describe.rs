//! `candlepool describe`.

use serde_json::Value;

use crate::process::{failed, run, stderr, stdout};
use crate::vision_models::{Tiny, fixtures};

fn picture(name: &str) -> String {
    fixtures().join("pictures").join(name).with_extension("png").to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_question_about_a_picture_is_answered_as_the_reference_does() {
    let tiny = Tiny::new("llava-llama");
    let model = tiny.folder.path().to_str().unwrap();
    let conversation = &tiny.conversations()[0];
    let question = conversation.text().trim_start_matches("USER: <image>\n").trim_end_matches(" ASSISTANT:");
    let greedy = conversation.ids("greedy");
    let (image, most) = (picture(&conversation.names()[0]), greedy.len().to_string());
    let asked = ["describe", "--model", model, "--max-tokens", &most, &image, question];
    let output = run(&[&asked[..], &["--format", "json"]].concat()).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let document: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(document["tokens"], serde_json::json!(greedy));
    let output = run(&asked).await;
    assert_eq!(stdout(&output).strip_suffix('\n'), document["text"].as_str());
}

#[tokio::test]
async fn a_language_model_and_its_eyes_may_be_two_gguf_files() {
    let tiny = Tiny::gguf("llava-llama");
    let file = |name: &str| tiny.folder.path().join(name).to_str().unwrap().to_owned();
    let (language, vision) = (file("model.gguf"), file("mmproj-model-f16.gguf"));
    let model = ["describe", "--model", &language, "--vision", &vision, "--max-tokens", "4"];
    let output = run(&[&model[..], &[&picture("square")]].concat()).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!stdout(&output).is_empty());
}

#[tokio::test]
async fn what_cannot_be_described_is_told_in_one_line() {
    let tiny = Tiny::new("llava-llama");
    let model = tiny.folder.path().to_str().unwrap();
    let text = tiny.folder.path().join("config.json");
    for (image, told) in [
        ("no/such/picture.png", "no/such/picture.png"),
        (model, "it is not a file"),
        (text.to_str().unwrap(), "is not a picture that can be read"),
    ] {
        let output = run(&["describe", "--model", model, image]).await;
        let error = failed(&output, 1);
        assert!(error.contains(told), "{error}");
    }
    let output = run(&["describe", "--model", model, &picture("square"), ""]).await;
    let error = failed(&output, 2);
    assert!(error.contains("the question is empty"), "{error}");
    let language_model = tiny.folder.path().join("language");
    std::fs::create_dir(&language_model).unwrap();
    let output = run(&["describe", "--model", language_model.to_str().unwrap(), &picture("square")]).await;
    let error = failed(&output, 1);
    assert!(error.contains("has no weights"), "{error}");
}
