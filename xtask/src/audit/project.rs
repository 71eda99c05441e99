//! What cargo says of the audited tree: its packages and their targets; or, where cargo cannot say, what the usual
//! layout tells.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use cargo_metadata::{DependencyKind, MetadataCommand, TargetKind};

use super::{manifest::Manifest, manifest::Table, names::graph::CrateKind};

/// One target: where its crate begins.
#[derive(Debug)]
pub(crate) struct Target {
    /// The crate's name in paths.
    pub(crate) name: String,
    pub(crate) kind: CrateKind,
    pub(crate) root: PathBuf,
    pub(crate) package_folder: PathBuf,
    /// Names that the manifest gives to other crates, and theirs.
    pub(crate) renames: HashMap<String, String>,
    /// Files beside its modules that no `mod` declares are taken for its own.
    pub(crate) adopts: bool,
}

/// A package of the workspace, as cargo sees it.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Edge>,
}

/// A dependency of a package, as cargo sees it.
#[derive(Debug)]
pub(crate) struct Edge {
    /// The package depended on.
    pub(crate) to: String,
    /// The name in the manifest.
    pub(crate) key: String,
    pub(crate) table: Table,
}

/// The tree's packages and targets.
#[derive(Debug, Default)]
pub(crate) struct Project {
    pub(crate) packages: Vec<Package>,
    pub(crate) targets: Vec<Target>,
    /// The tree is this very workspace: rules that hold here alone apply.
    pub(crate) is_this_workspace: bool,
    /// Where the workspace's own manifest lies.
    pub(crate) workspace_root: Option<PathBuf>,
}

impl Project {
    /// Asks cargo about the workspace at `root`; packages that are not in it are read off `manifests`, paired with
    /// their folders.
    pub(crate) fn load(root: &Path, manifests: &[(PathBuf, Manifest)]) -> Self {
        let mut project = Self::default();
        if root.join("Cargo.toml").is_file()
            && let Err(error) = project.ask_cargo(root)
        {
            // A tree that cargo refuses is still audited, by its layout.
            eprintln!("warning: {error:#}; auditing the folder by its layout");
        }
        for (folder, manifest) in manifests {
            if manifest.package.is_some()
                && !project.targets.iter().any(|target| target.package_folder == *folder)
            {
                project.add_by_layout(folder, manifest);
            }
        }
        let has = |name: &str| project.packages.iter().any(|package| package.name == name);
        project.is_this_workspace = has("pool-core") && has("candlepool");
        project
    }

    fn ask_cargo(&mut self, root: &Path) -> anyhow::Result<()> {
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .no_deps()
            .exec()
            .map_err(|error| match error {
                cargo_metadata::Error::CargoMetadata { stderr } => anyhow::anyhow!("{}", one_line(&stderr)),
                other => other.into(),
            })
            .context("cargo metadata failed")?;
        self.workspace_root = Some(metadata.workspace_root.clone().into_std_path_buf());
        for package in metadata.workspace_packages() {
            let manifest_path = package.manifest_path.clone().into_std_path_buf();
            let package_folder = manifest_path.parent().map(Path::to_path_buf).unwrap_or_default();
            let renames: HashMap<String, String> = package
                .dependencies
                .iter()
                .filter_map(|dependency| {
                    let rename = dependency.rename.as_ref()?;
                    Some((rename.replace('-', "_"), dependency.name.replace('-', "_")))
                })
                .collect();
            for target in &package.targets {
                let kind = kind_of(&target.kind);
                self.targets.push(Target {
                    name: target.name.replace('-', "_"),
                    kind,
                    root: target.src_path.clone().into_std_path_buf(),
                    package_folder: package_folder.clone(),
                    renames: renames.clone(),
                    adopts: matches!(kind, CrateKind::Library | CrateKind::Binary),
                });
            }
            let dependencies = package.dependencies.iter().map(|dependency| Edge {
                to: dependency.name.clone(),
                key: dependency.rename.clone().unwrap_or_else(|| dependency.name.clone()),
                table: match dependency.kind {
                    DependencyKind::Development => Table::Dev,
                    DependencyKind::Build => Table::Build,
                    _ => Table::Normal,
                },
            });
            self.packages.push(Package {
                name: package.name.to_string(),
                manifest_path,
                dependencies: dependencies.collect(),
            });
        }
        Ok(())
    }

    /// The targets of cargo's usual layout.
    fn add_by_layout(&mut self, folder: &Path, manifest: &Manifest) {
        let Some((package, _)) = &manifest.package else {
            return;
        };
        let renames: HashMap<String, String> = manifest
            .dependencies
            .iter()
            .filter_map(|dependency| {
                let package = dependency.package.as_ref()?;
                Some((dependency.key.replace('-', "_"), package.replace('-', "_")))
            })
            .collect();
        let mut add = |name: &str, kind: CrateKind, root: PathBuf| {
            if root.is_file() {
                self.targets.push(Target {
                    name: name.replace('-', "_"),
                    kind,
                    root,
                    package_folder: folder.to_path_buf(),
                    renames: renames.clone(),
                    adopts: matches!(kind, CrateKind::Library | CrateKind::Binary),
                });
            }
        };
        let lib = manifest.lib_path.as_deref().unwrap_or("src/lib.rs");
        add(manifest.lib_name.as_deref().unwrap_or(package), CrateKind::Library, folder.join(lib));
        add(package, CrateKind::Binary, folder.join("src/main.rs"));
        add("build-script-build", CrateKind::BuildScript, folder.join("build.rs"));
        for path in &manifest.bin_paths {
            add(path, CrateKind::Binary, folder.join(path));
        }
        for (folder_name, kind) in [
            ("src/bin", CrateKind::Binary),
            ("tests", CrateKind::Test),
            ("benches", CrateKind::Test),
            ("examples", CrateKind::Test),
        ] {
            let Ok(entries) = folder.join(folder_name).read_dir() else {
                continue;
            };
            for entry in entries.flatten() {
                let path = entry.path();
                let name =
                    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
                if path.extension().is_some_and(|extension| extension == "rs") {
                    add(&name, kind, path);
                } else {
                    add(&name, kind, path.join("main.rs"));
                }
            }
        }
    }
}

fn kind_of(kinds: &[TargetKind]) -> CrateKind {
    let is = |kind: &TargetKind| kinds.contains(kind);
    if is(&TargetKind::Bin) {
        CrateKind::Binary
    } else if is(&TargetKind::CustomBuild) {
        CrateKind::BuildScript
    } else if is(&TargetKind::Test) || is(&TargetKind::Bench) || is(&TargetKind::Example) {
        CrateKind::Test
    } else {
        CrateKind::Library
    }
}

/// The first line of what cargo said, without its own `error:`.
fn one_line(stderr: &str) -> String {
    let line = stderr.lines().find(|line| line.starts_with("error")).or_else(|| stderr.lines().next());
    line.unwrap_or("no reason given").trim_start_matches("error:").trim().to_owned()
}
