//! Where pictures go: files that are named, or files named after the prompt that were not there before.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use text_to_image::{Picture, PictureFormat};
use tokio::fs::{self, OpenOptions};

use crate::failure::Usage;

/// The files of a command.
#[derive(Debug)]
pub(super) enum Destination {
    /// As named; what was there is replaced.
    Named { path: PathBuf, format: PictureFormat },
    /// New files in this folder that begin so.
    New { stem: String },
}

/// A prompt may be long, and a file's name is not.
const LONGEST_STEM: usize = 48;

impl Destination {
    /// Checks what can be checked before there is anything to write.
    ///
    /// # Errors
    ///
    /// The name says no format, or there is no place for it.
    pub(super) async fn new(out: Option<PathBuf>, prompt: &str) -> anyhow::Result<Self> {
        let Some(path) = out else {
            return Ok(Self::New { stem: stem(prompt) });
        };
        let Some(format) = PictureFormat::of_path(&path) else {
            let told = format!(
                "--out {} says no format: let the file's name end in .png, .jpg, .jpeg or .webp",
                path.display()
            );
            return Err(Usage::new(told).into());
        };
        if fs::metadata(&path).await.is_ok_and(|metadata| metadata.is_dir()) {
            bail!("--out {} is a folder; name a file", path.display());
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder
            && !fs::metadata(folder).await.is_ok_and(|metadata| metadata.is_dir())
        {
            bail!("the folder {} does not exist; make it, or check --out", folder.display());
        }
        Ok(Self::Named { path, format })
    }

    /// What pictures are to be written as.
    pub(super) const fn format(&self) -> PictureFormat {
        match self {
            Self::Named { format, .. } => *format,
            Self::New { .. } => PictureFormat::Png,
        }
    }

    /// Writes all of them; gives their paths.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub(super) async fn write(&self, pictures: &[Picture]) -> anyhow::Result<Vec<PathBuf>> {
        let mut paths = Vec::with_capacity(pictures.len());
        for (index, picture) in pictures.iter().enumerate() {
            let path = match self {
                Self::Named { path, .. } if pictures.len() == 1 => path.clone(),
                Self::Named { path, .. } => numbered(path, index + 1),
                Self::New { stem } => claimed(Path::new(""), stem, picture.format).await?,
            };
            if let Err(error) = picture.save(&path).await {
                if matches!(self, Self::New { .. }) {
                    // Nothing is in it, and what went wrong first is what counts.
                    let _ = fs::remove_file(&path).await;
                }
                return Err(error.into());
            }
            paths.push(path);
        }
        Ok(paths)
    }
}

/// `fox.png` becomes `fox-2.png`.
fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Makes the first file of `fox.png`, `fox-2.png`, `fox-3.png` and so on that was not there.
async fn claimed(folder: &Path, stem: &str, format: PictureFormat) -> anyhow::Result<PathBuf> {
    for number in 1_usize.. {
        let name = match number {
            1 => format!("{stem}.{format}"),
            number => format!("{stem}-{number}.{format}"),
        };
        let path = folder.join(OsString::from(name));
        match OpenOptions::new().write(true).create_new(true).open(&path).await {
            Ok(_) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                let told = format!("cannot write {}: {error}; name a file with --out", path.display());
                return Err(anyhow!(error).context(told));
            }
        }
    }
    bail!("every name that begins with {stem} is taken; name a file with --out")
}

/// The prompt as a file's name: its letters and digits, with hyphens between.
fn stem(prompt: &str) -> String {
    let words = prompt.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.flat_map(|word| [word, "-"]).collect::<String>().to_lowercase();
    let name: String = name.chars().take(LONGEST_STEM).collect();
    match name.trim_end_matches('-') {
        "" => "picture".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_after_its_prompt() {
        for (prompt, name) in [
            ("A red fox, in the snow!", "a-red-fox-in-the-snow"),
            ("../../etc/passwd", "etc-passwd"),
            ("Füchse \u{1b}[31m", "füchse-31m"),
            ("...", "picture"),
            ("", "picture"),
        ] {
            assert_eq!(stem(prompt), name);
        }
        let long = stem(&"fox ".repeat(40));
        assert!(long.chars().count() <= LONGEST_STEM && long.ends_with("-fox"), "{long}");
    }

    #[test]
    fn several_files_have_numbers() {
        for (path, name) in [("a/fox.png", "a/fox-2.png"), ("fox.v1.webp", "fox.v1-2.webp")] {
            assert_eq!(numbered(Path::new(path), 2), Path::new(name));
        }
    }

    #[tokio::test]
    async fn a_file_that_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let claim = async || claimed(folder.path(), "fox", PictureFormat::Png).await.unwrap();
        std::fs::write(folder.path().join("fox-2.png"), "mine").unwrap();
        assert_eq!(claim().await, folder.path().join("fox.png"));
        assert_eq!(claim().await, folder.path().join("fox-3.png"));
        assert_eq!(std::fs::read_to_string(folder.path().join("fox-2.png")).unwrap(), "mine");
        assert!(claimed(&folder.path().join("none"), "fox", PictureFormat::Png).await.is_err());
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_told_before_anything_is_drawn() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("folder.png")).unwrap();
        let new = async |name: &str| Destination::new(Some(folder.path().join(name)), "fox").await;
        for (name, format) in
            [("a.png", PictureFormat::Png), ("a.JPG", PictureFormat::JPEG), ("a.webp", PictureFormat::Webp)]
        {
            assert_eq!(new(name).await.unwrap().format(), format);
        }
        for name in ["fox", "fox.gif", "fox.", ".png"] {
            let error = new(name).await.unwrap_err();
            assert!(error.is::<Usage>() && error.to_string().contains("says no format"), "{error}");
        }
        assert!(new("folder.png").await.unwrap_err().to_string().contains("is a folder"));
        assert!(new("none/a.png").await.unwrap_err().to_string().contains("does not exist"));
    }
}
