use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use imaging::{Encoding, ImagingError};
use tokio::io::AsyncWriteExt as _;

use crate::drawing::Parameters;

/// What a drawn picture is written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PictureFormat {
    /// PNG, with the [parameters](crate::Parameters) in its text chunk `parameters`.
    #[default]
    Png,
    /// JPEG.
    Jpeg {
        /// From 1, the smallest file, to 100.
        quality: u8,
    },
    /// WebP, without loss.
    Webp,
}

impl PictureFormat {
    /// Every name that [`FromStr`] accepts.
    pub const NAMES: [&'static str; 3] = ["png", "jpeg", "webp"];

    /// JPEG of a quality at which its losses are hard to see.
    pub const JPEG: Self = Self::Jpeg { quality: 90 };

    /// Its name, which is also what a file's name ends in.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg { .. } => "jpeg",
            Self::Webp => "webp",
        }
    }

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg { .. } => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }

    /// How imaging writes it, with what the picture was drawn with where the format has a place for that.
    pub(crate) fn encoding(self, parameters: Option<&Parameters>) -> Encoding {
        let texts = parameters.map(|parameters| ("parameters".to_owned(), parameters.to_string()));
        match self {
            Self::Png => Encoding::Png { texts: texts.into_iter().collect() },
            Self::Jpeg { quality } => Encoding::Jpeg { quality },
            Self::Webp => Encoding::WebP,
        }
    }

    /// The format that a file's name ends in: `.png`, `.jpg`, `.jpeg` or `.webp`.
    pub fn of_path(path: &Path) -> Option<Self> {
        let end = path.extension()?.to_str()?.to_ascii_lowercase();
        if end == "jpg" { Some(Self::JPEG) } else { end.parse().ok() }
    }
}

impl fmt::Display for PictureFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown picture format {0:?}: use png, jpeg or webp")]
pub struct UnknownFormat(String);

impl FromStr for PictureFormat {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        [Self::Png, Self::JPEG, Self::Webp]
            .into_iter()
            .find(|format| name.eq_ignore_ascii_case(format.as_str()))
            .ok_or_else(|| UnknownFormat(name.chars().take(40).collect()))
    }
}

/// How many pictures this process has begun to save.
static SAVED: AtomicU64 = AtomicU64::new(0);

/// A picture as it was drawn: a file's bytes. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Picture {
    /// What the bytes are.
    pub format: PictureFormat,
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The file.
    pub bytes: Arc<[u8]>,
}

impl Picture {
    /// Writes the file, whole or not at all: it is put beside its place first.
    ///
    /// # Errors
    ///
    /// [`ImagingError::File`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may leave the file beside its place behind, never half of one in it.
    pub async fn save(&self, path: impl AsRef<Path>) -> Result<(), ImagingError> {
        let path = path.as_ref();
        let failed =
            |error: std::io::Error| ImagingError::File { path: path.to_owned(), reason: error.to_string() };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        let number = SAVED.fetch_add(1, Ordering::Relaxed);
        name.push(format!(".{}-{number}.part", std::process::id()));
        let beside = path.with_file_name(name);
        let mut new = tokio::fs::OpenOptions::new();
        let mut file = new.write(true).create_new(true).open(&beside).await.map_err(failed)?;
        let written = async {
            file.write_all(&self.bytes).await?;
            file.flush().await?;
            tokio::fs::rename(&beside, path).await
        };
        let written = written.await;
        if written.is_err() {
            // What went wrong first is what counts.
            let _ = tokio::fs::remove_file(&beside).await;
        }
        written.map_err(failed)
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture")
            .field("format", &self.format)
            .field("width", &self.width)
            .field("height", &self.height)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}
