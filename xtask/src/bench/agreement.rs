//! What rounding activations changes: llama.cpp's logits and this project's, against those of f32 activations.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::llama_cpp::LlamaCpp;
use super::{built_example, chosen, fixtures, gguf};
use crate::python::workspace_root;

/// Arguments of `bench agreement`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Put tokens and figures where the tests find them.
    #[arg(long)]
    record: bool,
    /// The models to compare [default: all]
    #[arg(value_name = "NAME")]
    models: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let models = chosen(&args.models)?;
    let root = workspace_root();
    let peer = LlamaCpp::prepare(&root)?;
    let example = built_example(&root, "nn", "agreement")?;
    let mut rows = Vec::new();
    for model in models {
        let figures = compare(&root, &peer, &example, model)?;
        for (side, key) in [("candlepool", "candlepool"), ("llama.cpp", "llama_cpp")] {
            rows.push(row(model, side, &figures[key], &figures["exact_perplexity"])?);
        }
        if args.record {
            record(&root, model, figures)?;
        }
    }
    println!(
        "| model | with rounded activations | same top-1 | mean KL, nats | perplexity | with f32 ones |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for row in rows {
        println!("{row}");
    }
    Ok(())
}

/// Pipes llama.cpp's logits of the text into the example, which computes its own beside them.
fn compare(root: &Path, peer: &LlamaCpp, example: &Path, model: &str) -> Result<Value> {
    let file = gguf(root, model)?;
    let mut theirs = peer.command("logits", &file);
    theirs.arg("--text").arg(fixtures(root).join("text.txt"));
    let mut theirs = theirs.stdout(Stdio::piped()).spawn().context("cannot start llama.cpp's side")?;
    let logits = theirs.stdout.take().context("a child's output is piped")?;
    let ours = Command::new(example).arg(&file).stdin(logits).stderr(Stdio::inherit()).output();
    let ended = theirs.wait()?;
    let ours = ours.context("cannot start the example")?;
    ensure!(ended.success(), "llama.cpp's side ended with {ended}");
    ensure!(ours.status.success(), "the example agreement ended with {}", ours.status);
    serde_json::from_slice(&ours.stdout).context("the example agreement printed no JSON")
}

fn row(model: &str, side: &str, figures: &Value, exact: &Value) -> Result<String> {
    let number = |value: &Value| value.as_f64().context("the example agreement left out a figure");
    Ok(format!(
        "| {model} | {side} | {:.2} % | {:.5} | {:.3} | {:.3} |",
        number(&figures["top_1"])? * 100.0,
        number(&figures["divergence"])?,
        number(&figures["perplexity"])?,
        number(exact)?
    ))
}

/// This project's own figures are left out: the test measures them.
fn record(root: &Path, model: &str, mut figures: Value) -> Result<()> {
    if let Some(figures) = figures.as_object_mut() {
        figures.remove("candlepool");
        figures.insert("model".to_owned(), model.into());
    }
    let path = fixtures(root).join(format!("{model}.json"));
    std::fs::write(&path, format!("{figures}\n")).with_context(|| format!("cannot write {}", path.display()))
}
