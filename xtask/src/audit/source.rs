//! The files of the audited tree: which there are, and what they hold.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{comments, finding::Position};

/// Deeper nesting than any code has; the parser recurses, so it must not see more.
const DEEPEST_NESTING: usize = 512;

/// The folders whose files are tests, where they lie outside `src`.
const TEST_FOLDERS: [&str; 3] = ["tests", "benches", "examples"];

/// A Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// Relative to the root, with forward slashes.
    pub(crate) relative: String,
    pub(crate) text: String,
    /// The syntax tree, or where and why there is none.
    pub(crate) ast: Result<syn::File, (Position, String)>,
}

impl Source {
    /// Reads and parses a file.
    pub(crate) fn read(file: Listed) -> anyhow::Result<Self> {
        let bytes = fs::read(&file.path).with_context(|| format!("cannot read {}", file.relative))?;
        let (text, ast) = match String::from_utf8(bytes) {
            Ok(text) => {
                let ast = parse(&text);
                (text, ast)
            }
            Err(error) => {
                let valid = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()])
                    .into_owned();
                let position = Position::at(&valid, valid.len());
                (String::new(), Err((position, "the file is not UTF-8".to_owned())))
            }
        };
        Ok(Self { path: file.path, relative: file.relative, text, ast })
    }
}

/// Parses a file's text.
pub(crate) fn parse(text: &str) -> Result<syn::File, (Position, String)> {
    // A byte order mark is no column.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(position) = comments::deeper_than(text, DEEPEST_NESTING) {
        return Err((position, format!("brackets are nested more than {DEEPEST_NESTING} deep")));
    }
    syn::parse_file(text).map_err(|error| (Position::of(error.span()), error.to_string()))
}

/// A file found in the tree.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    pub(crate) relative: String,
}

/// What the tree holds, sorted.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) sources: Vec<Listed>,
    /// Every `Cargo.toml`, those of test packages too.
    pub(crate) manifests: Vec<Listed>,
}

/// Lists the tree under `root`: neither hidden folders nor build output nor the audit's own fixtures, and test folders
/// only on request.
pub(crate) fn list(root: &Path, include_tests: bool) -> anyhow::Result<Listing> {
    let mut listing = Listing::default();
    let mut folders = vec![(root.to_path_buf(), String::new(), false)];
    while let Some((folder, relative, in_tests)) = folders.pop() {
        let entries = read_folder(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            let kind = entry.file_type().with_context(|| format!("cannot inspect {}", path.display()))?;
            let relative = if relative.is_empty() { name.clone() } else { format!("{relative}/{name}") };
            if kind.is_dir() {
                if !(name.starts_with('.')
                    || is_build_output(&folder, &name, &relative)
                    || is_own_fixtures(&folder, &name))
                {
                    let is_tests = TEST_FOLDERS.contains(&name.as_str())
                        && !relative.split('/').any(|part| part == "src");
                    folders.push((path, relative, in_tests || is_tests));
                }
            } else if name == "Cargo.toml" {
                listing.manifests.push(Listed { path, relative });
            } else if name.ends_with(".rs") && path.is_file() && (include_tests || !in_tests) {
                listing.sources.push(Listed { path, relative });
            }
        }
    }
    listing.sources.sort_by(|one, other| one.relative.cmp(&other.relative));
    listing.manifests.sort_by(|one, other| one.relative.cmp(&other.relative));
    Ok(listing)
}

fn read_folder(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    fs::read_dir(folder)?.collect()
}

/// Cargo's build folder; a module may be called `target` too.
fn is_build_output(folder: &Path, name: &str, relative: &str) -> bool {
    name == "target"
        && (folder.join("Cargo.toml").is_file()
            || folder.join(name).join("CACHEDIR.TAG").is_file()
            || !relative.split('/').any(|part| part == "src"))
}

/// The folder of code that the audit's tests must find fault with.
fn is_own_fixtures(folder: &Path, name: &str) -> bool {
    name == "fixtures" && folder.ends_with("xtask") && folder.join("Cargo.toml").is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_nesting_is_refused_before_the_parser_sees_it() {
        let deep = format!("fn f() {{ {}{} }}", "(".repeat(100_000), ")".repeat(100_000));
        let (position, message) = parse(&deep).unwrap_err();
        assert_eq!(position.line, 1);
        assert!(message.contains("nested"));
        assert!(parse(&format!("fn f() {{ {}1{}; }}", "(".repeat(500), ")".repeat(500))).is_ok());
    }

    #[test]
    fn errors_have_a_place_in_characters() {
        let (position, _) = parse("// é\nfn f() { let é = ; }\n").unwrap_err();
        assert_eq!(position, Position { line: 2, column: 18 });
    }
}
