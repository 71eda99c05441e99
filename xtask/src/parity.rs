//! Reference fixtures: what the reference implementations produce, kept beside the tests that compare with it.
//!
//! Each `xtask/python/parity_NAME.py` writes a folder of fixtures. Without `--regenerate` that folder is compared
//! with the committed one; nothing is ever overwritten then.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::python::{Python, trained_model, workspace_root};

/// Where the fixtures of a script live, from the workspace's root: beside the tests that compare with them.
fn fixtures(name: &str) -> &'static str {
    match name {
        "chat_templates" | "real_chat_templates" => "crates/generation/tests/fixtures",
        "decoders" | "gguf_decoders" | "towers" | "unet" | "vae" => "crates/nn/tests/fixtures",
        "image_embedding" => "crates/image-embedding/tests/fixtures",
        "imaging" => "crates/imaging/tests/fixtures",
        "llava" => "crates/llava-vision/tests/fixtures",
        "schedulers" | "text_to_image" => "crates/text-to-image/tests/fixtures",
        _ => "crates/text-embedding/tests/fixtures",
    }
}

/// How far two runs of a script may be apart in a number: floating-point sums differ in their last bits between
/// processors. Absolute below 1, relative above.
const TOLERANCE: f64 = 2e-6;

/// Arguments of `parity`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Replace the committed fixtures by what the scripts produce now.
    #[arg(long)]
    regenerate: bool,
    /// Only these: `chat_templates`, `checkpoints`, `decoders`, `gguf_decoders`, `hard_texts`, `image_embedding`,
    /// `imaging`, `llava`, `real_chat_templates`, `schedulers`, `static_pairs`, `text_to_image`, `towers`, `unet`, `vae`.
    names: Vec<String>,
}

/// Checks or regenerates the fixtures.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let root = workspace_root();
    let python = Python::prepare(&root)?;
    let known = python.names("parity_")?;
    for name in &args.names {
        ensure!(known.contains(name), "no fixture is called {name}; there are {}", known.join(", "));
    }
    trained_model(&root, "all-MiniLM-L6-v2")?;
    let mut differences = Vec::new();
    for name in known.iter().filter(|name| args.names.is_empty() || args.names.contains(name)) {
        let committed = root.join(fixtures(name));
        let fresh = root.join("target/parity").join(name);
        if fresh.exists() {
            std::fs::remove_dir_all(&fresh)?;
        }
        std::fs::create_dir_all(&fresh)?;
        python.script(&format!("parity_{name}.py"), |command| {
            command.arg("--models").arg(root.join("target/models")).arg("--out").arg(&fresh);
        })?;
        if args.regenerate {
            replace(&fresh, &committed)?;
        } else {
            differences.extend(compare(&fresh, &committed)?);
        }
    }
    for difference in &differences {
        println!("{difference}");
    }
    if !differences.is_empty() {
        eprintln!(
            "error: {} differences; if the reference was meant to change: cargo xtask parity --regenerate",
            differences.len()
        );
        return Ok(ExitCode::FAILURE);
    }
    println!("{}", if args.regenerate { "fixtures written" } else { "fixtures agree with the reference" });
    Ok(ExitCode::SUCCESS)
}

/// Puts each top-level entry of `fresh` in the place of the committed one; what other scripts wrote stays.
fn replace(fresh: &Path, committed: &Path) -> Result<()> {
    for entry in std::fs::read_dir(fresh)? {
        let entry = entry?;
        let target = committed.join(entry.file_name());
        if target.is_dir() {
            std::fs::remove_dir_all(&target)?;
        }
        for file in files(&entry.path())? {
            let target = committed.join(file.strip_prefix(fresh)?);
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::copy(&file, &target).with_context(|| format!("cannot write {}", target.display()))?;
        }
    }
    Ok(())
}

/// What differs between the entries that `fresh` has and the committed ones, one line each.
fn compare(fresh: &Path, committed: &Path) -> Result<Vec<String>> {
    let mut paths = BTreeSet::new();
    for entry in std::fs::read_dir(fresh)? {
        let entry = entry?;
        for (base, folder) in [(fresh, entry.path()), (committed, committed.join(entry.file_name()))] {
            for file in files(&folder)? {
                paths.insert(file.strip_prefix(base)?.to_owned());
            }
        }
    }
    let mut differences = Vec::new();
    for path in paths {
        let name = path.display();
        match (std::fs::read(committed.join(&path)), std::fs::read(fresh.join(&path))) {
            (Err(_), _) => differences.push(format!("{name}: not committed")),
            (_, Err(_)) => differences.push(format!("{name}: committed, but the script no longer writes it")),
            (Ok(old), Ok(new)) if old == new => {}
            (Ok(old), Ok(new)) if path.extension().is_some_and(|extension| extension == "json") => {
                let old = serde_json::from_slice(&old).with_context(|| format!("{name} is not JSON"))?;
                let new = serde_json::from_slice(&new).with_context(|| format!("{name} is not JSON"))?;
                if let Some(place) = first_difference(&old, &new, "") {
                    differences.push(format!("{name}: {place}"));
                }
            }
            _ => differences.push(format!("{name}: other bytes")),
        }
    }
    Ok(differences)
}

/// Where two JSON values part by more than the tolerance. A measured `noise` is only a record of one run.
fn first_difference(old: &Value, new: &Value, place: &str) -> Option<String> {
    match (old, new) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64()?, b.as_f64()?);
            ((a - b).abs() > TOLERANCE * a.abs().max(1.0)).then(|| format!("{place} was {a} and is {b}"))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(index, (a, b))| first_difference(a, b, &format!("{place}[{index}]"))),
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => a
            .iter()
            .zip(b.values())
            .filter(|((key, _), _)| *key != "noise")
            .find_map(|((key, a), b)| first_difference(a, b, &format!("{place}.{key}"))),
        _ => (old != new).then(|| format!("{place} differs")),
    }
}

/// All files under a path, which may be a file itself or absent.
fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            found.extend(files(&entry?.path())?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn write(folder: &Path, name: &str, content: &str) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    #[test]
    fn numbers_within_the_tolerance_agree_and_others_are_named() {
        let old = json!({"a": [1.0, {"b": 0.5}], "noise": 1e-7});
        let near = json!({"a": [1.000_000_1, {"b": 0.5}], "noise": 3e-7});
        let far = json!({"a": [1.0, {"b": 0.5001}], "noise": 1e-7});
        assert_eq!(first_difference(&old, &near, ""), None);
        assert_eq!(first_difference(&old, &far, "").unwrap(), ".a[1].b was 0.5 and is 0.5001");
        assert!(first_difference(&json!([1]), &json!([1, 2]), "").is_some());
        assert!(first_difference(&json!({"a": 1}), &json!({"b": 1}), "").is_some());
        assert!(first_difference(&json!("a"), &json!("b"), "").is_some());
    }

    #[test]
    fn missing_surplus_and_changed_files_are_told_and_nothing_is_written() {
        let (fresh, committed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(fresh.path(), "checkpoints/a/model.safetensors", "new");
        write(committed.path(), "checkpoints/a/model.safetensors", "old");
        write(fresh.path(), "checkpoints/b/config.json", "{}");
        write(committed.path(), "checkpoints/c/config.json", "{}");
        write(committed.path(), "README.md", "another script's");
        let told = compare(fresh.path(), committed.path()).unwrap();
        assert_eq!(
            told,
            [
                "checkpoints/a/model.safetensors: other bytes",
                "checkpoints/b/config.json: not committed",
                "checkpoints/c/config.json: committed, but the script no longer writes it",
            ]
        );
        let kept = std::fs::read_to_string(committed.path().join("checkpoints/a/model.safetensors")).unwrap();
        assert_eq!(kept, "old");
    }

    #[test]
    fn regenerating_drops_what_the_script_no_longer_writes_and_keeps_the_rest() {
        let (fresh, committed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(fresh.path(), "checkpoints/a/config.json", "{}");
        write(committed.path(), "checkpoints/gone/config.json", "{}");
        write(committed.path(), "README.md", "another script's");
        replace(fresh.path(), committed.path()).unwrap();
        assert!(compare(fresh.path(), committed.path()).unwrap().is_empty());
        assert!(!committed.path().join("checkpoints/gone").exists());
        assert!(committed.path().join("README.md").exists());
    }
}
