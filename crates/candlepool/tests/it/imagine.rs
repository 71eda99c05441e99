//! `candlepool imagine`, with a tiny Stable Diffusion of random weights.

use std::path::{Path, PathBuf};
use std::process::Output;

use imaging::{EncodedImage, Format, Limits};
use serde_json::Value;

use crate::process::{PATIENCE, candlepool, failed, stderr, stdout};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../text-to-image/tests/fixtures").canonicalize().unwrap()
}

fn model(name: &str) -> String {
    fixtures().join("pipelines").join(name).to_str().unwrap().to_owned()
}

fn picture(name: &str) -> String {
    fixtures().join("pictures").join(name).to_str().unwrap().to_owned()
}

/// Runs the command in a folder, with the tiny model.
async fn imagine(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = candlepool();
    command.args(["imagine", "--model", &model("sd1")]).args(arguments).current_dir(folder);
    tokio::time::timeout(PATIENCE, command.output()).await.expect("it hangs").unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let names = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Checks a file against what diffusers drew, of which every fifth number is kept.
#[track_caller]
fn check(file: &Path, run: &Value) {
    let picture = imaging::decode(&std::fs::read(file).unwrap(), &Limits::default()).unwrap();
    assert_eq!((run["width"].as_u64(), run["height"].as_u64()), (Some(32), Some(32)));
    let channels = (0..3).flat_map(|channel| picture.pixels().iter().skip(channel).step_by(3));
    let found: Vec<f64> = channels.step_by(5).map(|level| f64::from(*level) / 255.0).collect();
    let wanted = run["picture"].as_array().unwrap();
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted.as_f64().unwrap()).abs() <= 1.0 / 255.0, "{found} for {wanted}");
    }
}

fn reference(name: &str) -> Value {
    let expected = std::fs::read(Path::new(&model("sd1")).join("expected.json")).unwrap();
    let mut expected: Value = serde_json::from_slice(&expected).unwrap();
    let runs = expected["runs"].as_array_mut().unwrap();
    runs.iter_mut().find(|run| run["name"] == name).unwrap().take()
}

#[tokio::test]
async fn a_picture_is_the_references_and_the_document_says_how_it_was_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let run = reference("ddim-5");
    let asked =
        ["--scheduler", "ddim", "--steps", "5", "--guidance", "7.5", "--seed", "1", "--size", "32x32"];
    let more =
        ["--negative", "the sofa!", "--out", "fox.png", "--format", "json", run["prompt"].as_str().unwrap()];
    let output = imagine(folder.path(), &[&asked[..], &more].concat()).await;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "", "the seed was given, and this is no terminal");
    check(&folder.path().join("fox.png"), &run);
    let document: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(stdout(&output).lines().count(), 1);
    let wanted = serde_json::json!({
        "model": model("sd1"), "paths": ["fox.png"], "prompt": run["prompt"], "negative": "the sofa!", "steps": 5,
        "guidance": 7.5, "seed": 1, "width": 32, "height": 32, "scheduler": "ddim",
    });
    assert_eq!(document, wanted);
}

#[tokio::test]
async fn an_edited_picture_is_the_references() {
    let folder = tempfile::tempdir().unwrap();
    for (name, more) in [("edit", &[][..]), ("inpaint", &["--mask", &picture("mask.png")])] {
        let run = reference(name);
        let (steps, strength) = (run["steps"].to_string(), run["strength"].to_string());
        let asked =
            ["--scheduler", "ddim", "--steps", &steps, "--guidance", "7.5", "--seed", "1", "--size", "32x32"];
        let edit = ["--image", &picture("waves.png"), "--strength", &strength, "--out", "edit.png"];
        let prompt = run["prompt"].as_str().unwrap();
        let output = imagine(folder.path(), &[&asked[..], &edit, more, &[prompt]].concat()).await;
        assert!(output.status.success(), "{}", stderr(&output));
        check(&folder.path().join("edit.png"), &run);
    }
}

#[tokio::test]
async fn a_file_is_named_after_the_prompt_and_replaces_none() {
    let folder = tempfile::tempdir().unwrap();
    let output = imagine(folder.path(), &["--steps", "1", "A cat, asleep"]).await;
    assert_eq!(
        (output.status.code(), stdout(&output)),
        (Some(0), "a-cat-asleep.png\n"),
        "{}",
        stderr(&output)
    );
    let seed: u64 = stderr(&output).trim_end().strip_prefix("seed ").unwrap().parse().unwrap();
    let first = std::fs::read(folder.path().join("a-cat-asleep.png")).unwrap();
    let again = ["--steps", "1", "--seed", &seed.to_string(), "A cat, asleep"];
    let output = imagine(folder.path(), &again).await;
    assert_eq!(stdout(&output), "a-cat-asleep-2.png\n");
    assert_eq!(std::fs::read(folder.path().join("a-cat-asleep-2.png")).unwrap(), first);
    assert_eq!(names(folder.path()), ["a-cat-asleep-2.png", "a-cat-asleep.png"]);
}

#[tokio::test]
async fn files_are_as_many_and_of_the_format_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let asked = ["--steps", "1", "--seed", "3", "a cat"];
    let output = imagine(folder.path(), &[&["-n", "2", "--out", "cat.jpg"], &asked[..]].concat()).await;
    assert_eq!(stdout(&output), "cat-1.jpg\ncat-2.jpg\n", "{}", stderr(&output));
    let output = imagine(folder.path(), &[&["--out", "cat.WebP"], &asked[..]].concat()).await;
    assert_eq!(stdout(&output), "cat.WebP\n", "{}", stderr(&output));
    let bytes = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert_ne!(bytes("cat-1.jpg"), bytes("cat-2.jpg"), "two pictures of the same noise");
    for (name, format) in
        [("cat-1.jpg", Format::Jpeg), ("cat-2.jpg", Format::Jpeg), ("cat.WebP", Format::WebP)]
    {
        assert_eq!(EncodedImage::from(bytes(name)).header().unwrap().format, format);
    }
    // A name that is given is meant.
    std::fs::write(folder.path().join("cat.png"), "old").unwrap();
    imagine(folder.path(), &[&["--out", "cat.png"], &asked[..]].concat()).await;
    assert_ne!(bytes("cat.png"), b"old");
    assert_eq!(names(folder.path()), ["cat-1.jpg", "cat-2.jpg", "cat.WebP", "cat.png"]);
}

#[tokio::test]
async fn what_cannot_be_drawn_is_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let waves = picture("waves.png");
    for (arguments, status, wanted) in [
        (&["--size", "7x7", "a"][..], 1, "7x7"),
        (&["--size", "7", "a"], 2, "is no size"),
        (&["--steps", "0", "a"], 2, "0 is not in 1.."),
        (&["--steps", "100000", "a"], 1, "100000"),
        (&["--guidance", "NaN", "a"], 2, "accepted: a number"),
        (&["--seed", "-1", "a"], 2, "--seed"),
        (&["-n", "0", "a"], 2, "--count"),
        (&["-n", "100000", "a"], 1, "100000"),
        (&["--scheduler", "heun", "a"], 1, "heun"),
        (&["--dtype", "bf16", "a"], 1, "bf16"),
        (&["--out", "a.gif", "a"], 2, "says no format"),
        (&["--out", "none/a.png", "a"], 1, "the folder none does not exist"),
        (&["--image", "none.png", "a"], 1, "none.png"),
        (&["--image", &model("sd1"), "a"], 1, "it is not a file"),
        (&["--mask", &waves, "a"], 2, "--image"),
        (&["--strength", "0.5", "a"], 2, "--image"),
        (&["--image", &waves, "--strength", "2", "a"], 2, "accepted: a number above 0 and at most 1"),
        (&[""], 2, "the prompt is empty"),
        (&[], 2, "PROMPT"),
    ] {
        let output = imagine(folder.path(), arguments).await;
        let told = failed(&output, status).to_owned();
        assert!(told.contains(wanted), "{arguments:?} gave {told:?}");
    }
    assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
    let told = failed(&crate::process::run(&["imagine", "a"]).await, 2).to_owned();
    assert!(told.contains("no text-to-image model is built in") && told.contains("--model"), "{told}");
    for (source, wanted) in [("no/such/folder", "does not exist"), ("builtin", "text-to-image")] {
        let told = failed(&crate::process::run(&["imagine", "--model", source, "a"]).await, 1).to_owned();
        assert!(told.contains(wanted), "{told}");
    }
}

/// Steps are shown while they are taken, and Ctrl-C ends them.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_terminal_shows_how_far_it_is_and_an_interrupt_ends_it() {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Stdio;

    use crate::process::interruptible;
    use crate::terminal::Terminal;

    let folder = tempfile::tempdir().unwrap();
    let (model, command) = (model("sd1"), |steps: &'static str, model: &str| {
        let mut command = interruptible();
        command.args([
            "imagine",
            "--model",
            model,
            "--scheduler",
            "ddim",
            "--steps",
            steps,
            "--seed",
            "1",
            "a cat",
        ]);
        command.current_dir(folder.path());
        command
    });
    let mut terminal = Terminal::start(command("500", &model), Some(Stdio::null()));
    terminal.until("drawing [").await;
    terminal.until("/500").await;
    terminal.type_in("\u{3}").await;
    let (status, shown) = terminal.end().await;
    assert_eq!(status.signal(), Some(2), "{shown}");
    assert!(names(folder.path()).is_empty(), "{:?}", names(folder.path()));
    let mut terminal = Terminal::start(command("300", &model), Some(Stdio::null()));
    terminal.until("/300").await;
    let (status, shown) = terminal.end().await;
    assert!(status.success(), "{shown}");
    assert_eq!(names(folder.path()), ["a-cat.png"]);
}
