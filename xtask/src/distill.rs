//! The built-in static embedding model, made from all-MiniLM-L6-v2. The recipe is `xtask/python/distill.py`.

use std::process::ExitCode;

use anyhow::Result;

use crate::python::{Python, trained_model, workspace_root};

/// Arguments of `distill`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Stop encoding text with MiniLM after so many seconds and learn from what is there; a later run goes on.
    #[arg(long, default_value_t = 3600)]
    encode_seconds: u32,
    /// Write the model elsewhere, to compare it with the committed one.
    #[arg(long)]
    out: Option<std::path::PathBuf>,
    /// Further arguments for the recipe, such as `--epochs 12`.
    #[arg(last = true)]
    recipe: Vec<String>,
}

/// Makes the model. Sources, corpus and MiniLM's vectors stay in `target/distill` and are used again.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let root = workspace_root();
    let minilm = trained_model(&root, "all-MiniLM-L6-v2")?;
    let out = args.out.unwrap_or_else(|| root.join("crates/builtin-models/data/static-minilm"));
    Python::prepare(&root)?.script("distill.py", |command| {
        command.arg("--minilm").arg(minilm);
        command.arg("--work").arg(root.join("target/distill"));
        command.arg("--pairs").arg(root.join("crates/text-embedding/tests/fixtures/static_pairs.json"));
        command.arg("--out").arg(out);
        command.arg("--encode-seconds").arg(args.encode_seconds.to_string());
        command.args(&args.recipe);
    })?;
    Ok(ExitCode::SUCCESS)
}
