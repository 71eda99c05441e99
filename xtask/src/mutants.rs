//! `cargo xtask mutants`: plants known defects, one at a time, and runs the test that must notice each.
//!
//! Works on a copy of the workspace under `target/mutants`, so that the working tree is never touched. A mutant survives
//! if its test passes; that is a failure of this task, as is a test that fails without any defect.

use std::collections::HashSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// A mutant's test that takes longer than this is stopped: it hangs, and so has noticed. Builds are waited for.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only mutants whose name contains this.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    mutant: Vec<Mutant>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutant {
    name: String,
    file: PathBuf,
    find: String,
    replace: String,
    target: Target,
    test: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Target {
    Lib,
    It,
}

/// What a test had to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Passed,
    Failed,
    Hung,
    NotThere,
    DoesNotCompile,
}

pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let root = crate::python::workspace_root();
    let catalogue = catalogue(&root)?;
    let wanted =
        |mutant: &Mutant| args.names.is_empty() || args.names.iter().any(|name| mutant.name.contains(name));
    let mutants: Vec<_> = catalogue.mutant.into_iter().filter(|mutant| wanted(mutant)).collect();
    ensure!(!mutants.is_empty(), "no mutant has {:?} in its name", args.names);
    let tree = root.join("target/mutants/tree");
    copy_workspace(&root, &tree)?;

    let said = cargo_test(&tree, &["--lib", "--test", "it"], "baseline")?.said;
    for mutant in &mutants {
        let passed = said.lines().any(|line| line.trim() == format!("test {} ... ok", mutant.test));
        ensure!(
            passed,
            "without any defect, the test {} does not pass; see {}",
            mutant.test,
            log(&tree, "baseline").display()
        );
    }
    println!("{} tests pass without a defect", mutants.len());
    let mut survivors = 0;
    for mutant in &mutants {
        let file = tree.join(&mutant.file);
        let original =
            fs::read_to_string(&file).with_context(|| format!("reading {}", mutant.file.display()))?;
        write(&file, &mutant.planted_in(&original)?)?;
        let verdict = test(&tree, mutant);
        write(&file, &original)?;
        let noticed = match verdict? {
            Verdict::Failed => "noticed",
            Verdict::Hung => "noticed (hangs)",
            Verdict::Passed => {
                survivors += 1;
                "SURVIVED"
            }
            verdict => bail!("mutant {:?}: its test has {verdict:?}", mutant.name),
        };
        println!("{noticed:>16}  {}  <- {}", mutant.name, mutant.test);
    }
    if survivors > 0 {
        bail!("{survivors} of {} mutants survived", mutants.len());
    }
    println!("all {} mutants were noticed", mutants.len());
    Ok(ExitCode::SUCCESS)
}

/// Every mutant there is.
fn catalogue(root: &Path) -> Result<Catalogue> {
    let path = root.join("xtask/mutants.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    toml::from_str(&text).context("xtask/mutants.toml is malformed")
}

impl Mutant {
    /// The file with the defect in it.
    fn planted_in(&self, original: &str) -> Result<String> {
        let found = original.matches(&self.find).count();
        let (name, file) = (&self.name, self.file.display());
        ensure!(found == 1, "mutant {name:?}: its text stands {found} times in {file}");
        ensure!(self.find != self.replace, "mutant {name:?} changes nothing");
        Ok(original.replace(&self.find, &self.replace))
    }
}

/// Copies what git tracks, and what it would track; only files that differ, so that little is compiled again.
fn copy_workspace(root: &Path, tree: &Path) -> Result<()> {
    let listing = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root)
        .output()
        .context("running git ls-files")?;
    ensure!(listing.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&listing.stderr));
    let mut kept = HashSet::new();
    for name in listing.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = std::str::from_utf8(name).context("a file name is not UTF-8")?;
        let (from, to) = (root.join(name), tree.join(name));
        let Ok(bytes) = fs::read(&from) else { continue };
        kept.insert(to.clone());
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&to, bytes).with_context(|| format!("writing {}", to.display()))?;
    }
    prune(tree, &kept)
}

/// Removes what is no longer part of the workspace: an old copy is brought up to date, not made anew.
fn prune(folder: &Path, kept: &HashSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            prune(&path, kept)?;
        } else if !kept.contains(&path) {
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// Writes a file so that cargo sees the change, however coarse the file system's clock.
fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text)?;
    let later = SystemTime::now() + Duration::from_secs(1);
    fs::File::options().write(true).open(file)?.set_modified(later)?;
    Ok(())
}

/// Runs a mutant's test in the copy.
fn test(tree: &Path, mutant: &Mutant) -> Result<Verdict> {
    let target: &[&str] = match mutant.target {
        Target::Lib => &["--lib"],
        Target::It => &["--test", "it"],
    };
    let built = cargo_test(tree, &[target, &["--no-run"]].concat(), "mutant")?;
    if built.success != Some(true) {
        return Ok(Verdict::DoesNotCompile);
    }
    let ran = cargo_test(tree, &[target, &["--", "--exact", &mutant.test]].concat(), "mutant")?;
    Ok(match ran.success {
        None => Verdict::Hung,
        _ if !ran.said.contains("running 1 test\n") => Verdict::NotThere,
        Some(true) => Verdict::Passed,
        Some(false) => Verdict::Failed,
    })
}

/// What a run of tests came to.
struct Ran {
    /// `None` if it had to be stopped.
    success: Option<bool>,
    said: String,
}

fn log(tree: &Path, name: &str) -> PathBuf {
    tree.with_file_name(format!("{name}.log"))
}

/// Builds and runs tests of pool-core in the copy.
fn cargo_test(tree: &Path, arguments: &[&str], name: &str) -> Result<Ran> {
    let log = log(tree, name);
    let output = fs::File::create(&log)?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", tree.with_file_name("target"))
        .args(["test", "--package", "pool-core"])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0);
    let mut child = command.spawn().context("running cargo")?;
    let start = SystemTime::now();
    let success = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status.success());
        }
        let builds = name == "baseline" || arguments.contains(&"--no-run");
        if !builds && start.elapsed().unwrap_or_default() > LIMIT {
            // The whole group: cargo, and the test that hangs beneath it.
            Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    Ok(Ran { success, said: fs::read_to_string(&log)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the tests notice them takes a while to see; that each can still be planted is seen here, at once.
    #[test]
    fn every_mutant_can_be_planted() {
        let root = crate::python::workspace_root();
        let mutants = catalogue(&root).unwrap().mutant;
        assert!(mutants.len() >= 10, "{} mutants", mutants.len());
        let mut stale = Vec::new();
        for (index, mutant) in mutants.iter().enumerate() {
            let planted = fs::read_to_string(root.join(&mutant.file))
                .with_context(|| format!("mutant {:?}: reading {}", mutant.name, mutant.file.display()))
                .and_then(|original| mutant.planted_in(&original));
            stale.extend(planted.err().map(|error| format!("{error:#}")));
            if mutants[..index].iter().any(|other| other.name == mutant.name) {
                stale.push(format!("two mutants are called {:?}", mutant.name));
            }
        }
        assert!(stale.is_empty(), "{}", stale.join("\n"));
    }

    #[test]
    fn a_text_that_is_gone_ambiguous_or_unchanged_plants_nothing() {
        let mutant = |find: &str| Mutant {
            name: "m".into(),
            file: "f.rs".into(),
            find: find.into(),
            replace: "b".into(),
            target: Target::Lib,
            test: "t".into(),
        };
        assert_eq!(mutant("a").planted_in("xay").unwrap(), "xby");
        for (find, original) in [("a", "xy"), ("a", "aya"), ("b", "b")] {
            assert!(mutant(find).planted_in(original).is_err(), "{find} in {original}");
        }
    }

    #[test]
    fn a_copy_loses_what_the_workspace_has_lost() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs::create_dir(file("tests")).unwrap();
        for name in ["kept.rs", "tests/gone.rs", "tests/kept.rs"] {
            fs::write(file(name), "").unwrap();
        }
        prune(folder.path(), &HashSet::from([file("kept.rs"), file("tests/kept.rs")])).unwrap();
        assert!(
            file("kept.rs").exists() && file("tests/kept.rs").exists() && !file("tests/gone.rs").exists()
        );
    }
}
