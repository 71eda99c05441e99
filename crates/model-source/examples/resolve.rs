//! Resolves a source and shows what it holds, with the progress of the download:
//!
//! ```text
//! cargo run -p model-source --example resolve -- hf:sentence-transformers/all-MiniLM-L6-v2
//! ```
#![allow(clippy::print_stdout, reason = "printing is what an example does")]

use std::process::ExitCode;

use model_source::{HubOptions, Progress, Source, SourceError, Wanted, Weights};

struct Printed;

impl Progress for Printed {
    fn planned(&self, files: usize, bytes: u64) {
        println!("downloading {files} files, {bytes} bytes");
    }
    fn waiting(&self, file: &str) {
        println!("{file}: another process downloads it");
    }
    fn finished(&self, file: &str) {
        println!("{file}: done");
    }
}

async fn show(source: &str) -> Result<(), SourceError> {
    let source: Source = source.parse()?;
    let files = source.resolve(&Wanted::model("text-embedding"), &HubOptions::from_env()?, &Printed).await?;
    println!("{source} at revision {}", files.revision());
    for name in files.names() {
        println!("  {name}");
    }
    if files.gguf().is_none() {
        let weights = Weights::open(&files)?;
        println!(
            "{} tensors, {} bytes, {:?}",
            weights.names().count(),
            weights.total_bytes(),
            weights.dtype()
        );
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(source) = std::env::args().nth(1) else {
        eprintln!("usage: resolve SOURCE");
        return ExitCode::from(2);
    };
    match show(&source).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
