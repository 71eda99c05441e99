//! `cargo xtask bench`: this project measured beside its peer, on the same files, in the same run.

mod agreement;
mod diffusion;
mod llama_cpp;
mod machine;
mod rooms;
mod side;
mod spread;
mod text;
mod vision;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};
use cargo_metadata::MetadataCommand;

/// What both targets of language models measure: folders under `target/models` with one GGUF file each.
const MODELS: [&str; 2] = ["SmolLM2-135M-Instruct", "gemma-3-270m"];

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    target: Target,
}

#[derive(Debug, clap::Subcommand)]
enum Target {
    /// Tokens a second of language models, beside llama.cpp: a table of medians and spreads.
    Text(text::Args),
    /// Pictures a second of vision towers, beside torch: a table of medians and spreads.
    Vision(vision::Args),
    /// Seconds of Stable Diffusion's parts, beside torch, and what a picture takes in memory.
    Diffusion(diffusion::Args),
    /// People in rooms, cut off and resumed: whether all are sent the same, how soon, and what it takes in memory.
    Rooms(rooms::Args),
    /// What rounded activations change on trained GGUF files, here and in llama.cpp, against f32 ones.
    Agreement(agreement::Args),
}

/// Runs one of the benchmarks.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    match args.target {
        Target::Text(args) => text::run(&args)?,
        Target::Vision(args) => vision::run(&args)?,
        Target::Diffusion(args) => diffusion::run(&args)?,
        Target::Rooms(args) => rooms::run(&args)?,
        Target::Agreement(args) => agreement::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The one GGUF file of a model.
fn gguf(root: &Path, model: &str) -> Result<PathBuf> {
    let folder = root.join("target/models").join(model);
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("{} is not there; run `cargo xtask models` first", folder.display()))?;
    let mut files = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "gguf"));
    match (files.next(), files.next()) {
        (Some(file), None) => Ok(file),
        _ => bail!("{} must hold one GGUF file; run `cargo xtask models` first", folder.display()),
    }
}

/// Where what both sides read is committed, and llama.cpp's figures with it.
fn fixtures(root: &Path) -> PathBuf {
    root.join("crates/nn/tests/fixtures/teacher_forced")
}

/// Which models to measure: those named, or all.
fn chosen(names: &[String]) -> Result<Vec<&'static str>> {
    for name in names {
        ensure!(
            MODELS.contains(&name.as_str()),
            "there is no model `{name}` here, only {}",
            MODELS.join(", ")
        );
    }
    Ok(MODELS
        .into_iter()
        .filter(|model| names.is_empty() || names.iter().any(|name| name == model))
        .collect())
}

/// Builds an example of a crate in release, and gives its path.
fn built_example(root: &Path, package: &str, example: &str) -> Result<PathBuf> {
    built(root, &["--package", package, "--example", example], &format!("examples/{example}"))
}

/// The program itself, built in release.
fn built_binary(root: &Path) -> Result<PathBuf> {
    built(root, &["--package", "candlepool", "--bin", "candlepool"], "candlepool")
}

/// What a release build of the arguments leaves under this name.
fn built(root: &Path, arguments: &[&str], name: &str) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release"])
        .args(arguments)
        .current_dir(root)
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "{name} does not build");
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    Ok(metadata.target_directory.join("release").join(name).into())
}
