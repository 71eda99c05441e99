//! The Python that makes references: one virtual environment under `target/`, with pinned packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// A virtual environment that holds exactly what `xtask/python/requirements-parity.txt` pins.
#[derive(Debug)]
pub(crate) struct Python {
    interpreter: PathBuf,
    scripts: PathBuf,
}

impl Python {
    /// Makes the environment where it is absent or was made from other pins; several gigabytes and some minutes the
    /// first time.
    pub(crate) fn prepare(root: &Path) -> Result<Self> {
        let scripts = root.join("xtask/python");
        let requirements = scripts.join("requirements-parity.txt");
        let folder = root.join("target/venv-parity");
        let python = Self { interpreter: folder.join("bin/python"), scripts };
        let pins = std::fs::read_to_string(&requirements)
            .with_context(|| format!("cannot read {}", requirements.display()))?;
        let stamp = folder.join("installed-requirements.txt");
        if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == pins) {
            return Ok(python);
        }
        eprintln!("installing {} into {}", requirements.display(), folder.display());
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        run(Command::new(&python.interpreter)
            .args(["-m", "pip", "install", "--quiet", "-r"])
            .arg(&requirements))?;
        std::fs::write(&stamp, pins).with_context(|| format!("cannot write {}", stamp.display()))?;
        Ok(python)
    }

    /// Runs one script of `xtask/python`; an exit status other than 0 is an error.
    pub(crate) fn script(&self, name: &str, arguments: impl FnOnce(&mut Command)) -> Result<()> {
        let mut command = self.command(name);
        arguments(&mut command);
        run(&mut command)
    }

    /// What runs one script of `xtask/python`.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.interpreter);
        command
            .arg(self.scripts.join(name))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("TOKENIZERS_PARALLELISM", "false");
        command
    }

    /// The scripts whose names begin so, without that beginning and the suffix, in order.
    pub(crate) fn names(&self, beginning: &str) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.scripts)? {
            let file = entry?.file_name();
            if let Some(name) = file
                .to_str()
                .and_then(|name| name.strip_prefix(beginning))
                .and_then(|name| name.strip_suffix(".py"))
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

/// The folder of the workspace that this program was built from.
pub(crate) fn workspace_root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// The trained model that the scripts read, or what to run to get it.
pub(crate) fn trained_model(root: &Path, name: &str) -> Result<PathBuf> {
    let folder = root.join("target/models").join(name);
    ensure!(
        folder.join("model.safetensors").is_file(),
        "{} is not there; run `cargo xtask models` first",
        folder.display()
    );
    Ok(folder)
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("cannot run {program}; is Python 3.10 or newer installed?"))?;
    if !status.success() {
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        bail!("{program} {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}
