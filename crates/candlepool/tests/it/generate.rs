use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use crate::decoder::{LETTERS, bare, endless, path, trained};
#[cfg(unix)]
use crate::process::interruptible;
use crate::process::{PATIENCE, candlepool, checkpoint, failed, run, run_with, stderr, stdout};

#[tokio::test]
async fn the_document_has_the_text_its_tokens_and_why_it_ended() {
    let model = endless();
    let model = path(&model);
    let arguments = ["generate", "--model", model, "--max-tokens", "9", "--temperature", "1.5"];
    let ask = |more: &[&str]| {
        let arguments = [&arguments[..], more].concat().iter().map(|a| (*a).to_owned()).collect::<Vec<_>>();
        async move { run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };
    let output = ask(&["--seed", "5", "--format", "json", "Hello"]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let document: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(document.as_object().unwrap().len(), 3);
    assert_eq!((stdout(&output).lines().count(), &document["finish_reason"]), (1, &"length".into()));
    let tokens = document["tokens"].as_array().unwrap();
    let letter = |id: &Value| LETTERS.chars().nth(id.as_u64().unwrap() as usize).unwrap();
    assert_eq!(tokens.len(), 9);
    assert_eq!(document["text"], tokens.iter().map(letter).collect::<String>());

    let text = document["text"].as_str().unwrap();
    assert_eq!(stdout(&ask(&["--seed", "5", "Hello"]).await), format!("{text}\n"));
    assert_ne!(stdout(&ask(&["--seed", "6", "Hello"]).await), format!("{text}\n"));
    assert_ne!(stdout(&ask(&["--seed", "5", "--raw", "Hello"]).await), format!("{text}\n"));
    let piped = run_with(&[&arguments[..], &["--seed", "5"]].concat(), b"Hello\r\n").await;
    assert_eq!(stdout(&piped), format!("{text}\n"));
}

#[tokio::test]
async fn a_prompt_goes_through_the_chat_template_unless_it_is_raw() {
    let model = endless();
    let ask = ["generate", "--model", path(&model), "--max-tokens", "2"];
    let told = failed(&run(&[&ask[..], &["look"]].concat()).await, 1).to_owned();
    assert!(told.ends_with("the model's chat template refuses these messages: roles user"), "{told}");
    let output = run(&[&ask[..], &["--raw", "look"]].concat()).await;
    assert_eq!((output.status.code(), stdout(&output).len()), (Some(0), 3), "{}", stderr(&output));

    let model = bare();
    let ask = ["generate", "--model", path(&model), "--max-tokens", "2"];
    let told = failed(&run(&[&ask[..], &["Hello"]].concat()).await, 1).to_owned();
    assert!(told.contains("has no chat template; give --raw"), "{told}");
    let output = run(&[&ask[..], &["--raw", "Hello"]].concat()).await;
    assert_eq!((output.status.code(), stdout(&output).len()), (Some(0), 3), "{}", stderr(&output));
    let told = failed(&run(&["chat", "--model", path(&model), "Hello"]).await, 1).to_owned();
    assert!(told.contains("has no chat template") && told.contains("generate --raw"), "{told}");
}

#[tokio::test]
async fn what_cannot_be_generated_is_told_in_one_line() {
    let embedder = checkpoint("pool-mean");
    for model in ["builtin", embedder.to_str().unwrap(), "no/such/folder"] {
        for command in ["generate", "chat"] {
            failed(&run(&[command, "--model", model, "Hello"]).await, 1);
        }
    }
    let model = bare();
    let arguments = ["generate", "--raw", "--model", path(&model)];
    let told = failed(&run_with(&arguments, &[b'a'; 500]).await, 1).to_owned();
    assert!(told.contains("the prompt has 500 tokens; the model takes 192"), "{told}");
    failed(&run_with(&arguments, b"a\xff").await, 1);
    for nothing in ["", "\n"] {
        let told = failed(&run_with(&arguments, nothing.as_bytes()).await, 2).to_owned();
        assert!(told.contains("no prompt is given"), "{told}");
    }
}

#[tokio::test]
async fn nobody_who_reads_ends_it_quietly() {
    let model = endless();
    for command in ["generate", "chat"] {
        let mut child = candlepool();
        child.args([command, "--model", path(&model), "Hello"]);
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut some = [0; 50];
        child.stdout.take().unwrap().read_exact(&mut some).await.unwrap();
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("it goes on");
        let output = output.unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    }
}

/// The convention of shells: a command that is interrupted ends by the signal.
#[cfg(unix)]
#[tokio::test]
async fn an_interrupted_text_stays_as_far_as_it_came() {
    use std::os::unix::process::ExitStatusExt as _;

    let model = endless();
    for command in ["generate", "chat"] {
        let mut child = interruptible();
        child.args([command, "--model", path(&model), "Hello"]);
        let mut child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut text = [0; 50];
        child.stdout.as_mut().unwrap().read_exact(&mut text).await.unwrap();
        let process = child.id().unwrap().to_string();
        tokio::process::Command::new("kill").args(["-INT", &process]).status().await.unwrap();
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("it goes on");
        let output = output.unwrap();
        assert_eq!((output.status.signal(), stderr(&output)), (Some(2), ""));
        assert!(text.iter().chain(&output.stdout).all(|byte| LETTERS.as_bytes().contains(byte)));
    }
}

#[tokio::test]
async fn a_trained_model_knows_the_capital_of_france() {
    let Some(folder) = trained("SmolLM2-135M-Instruct") else { return };
    let file = folder.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    let model = ["--model", file.to_str().unwrap(), "--max-tokens", "12"];
    let question = "What is the capital of France?";
    let output = run(&[&["generate", "--format", "json"], &model[..], &[question]].concat()).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let document: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert!(document["text"].as_str().unwrap().contains("Paris"), "{document}");
    let tokens = document["tokens"].as_array().unwrap().len();
    let finish = document["finish_reason"].as_str().unwrap();
    assert!(
        finish == "stop" && (1..12).contains(&tokens) || finish == "length" && tokens == 12,
        "{document}"
    );
    let output = run(&[&["chat"], &model[..], &[question]].concat()).await;
    assert_eq!(stdout(&output), format!("{}\n", document["text"].as_str().unwrap()), "{}", stderr(&output));

    let talk = format!("My name is Ada.\n/reset\n{question}\n");
    let output = run_with(&[&["chat"], &model[..]].concat(), talk.as_bytes()).await;
    assert!(output.status.success(), "{}", stderr(&output));
    // After /reset it is asked the very same as above.
    let last = format!("{}\n", document["text"].as_str().unwrap());
    assert!(stdout(&output).ends_with(&last), "{}", stdout(&output));
    assert!(stdout(&output).lines().count() >= 2, "{}", stdout(&output));
}
