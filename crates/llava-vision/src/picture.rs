//! Pictures as callers hand them in.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use imaging::{Header, ImagingError, Limits};
use pool_core::ModelError;

use crate::Error;

/// The largest file that is read: pictures within the default [`Limits`] are smaller, and one that is not is no picture.
const LONGEST_FILE: u64 = 256 << 20;

/// A picture as it came: the bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF file. Cheap to clone.
///
/// Making one looks at the file's header and decodes nothing. What is wrong with it is told by the call that it is given to.
#[derive(Clone)]
pub struct Picture {
    encoded: Arc<[u8]>,
    limits: Limits,
    header: Result<Header, Arc<str>>,
}

impl Picture {
    /// From the bytes of a file.
    pub fn new(encoded: impl Into<Arc<[u8]>>) -> Self {
        Self::with_limits(encoded, Limits::default())
    }

    /// From the bytes of a file, which may claim to be as large as this.
    pub fn with_limits(encoded: impl Into<Arc<[u8]>>, limits: Limits) -> Self {
        let encoded = encoded.into();
        let header = imaging::header(&encoded, &limits).map_err(|error| error.to_string().into());
        Self { encoded, limits, header }
    }

    /// From a `data:` URL.
    ///
    /// # Errors
    /// [`Error::Pool`] if it is none.
    pub fn from_data_url(url: &str) -> Result<Self, Error> {
        match imaging::data_url(url) {
            Ok(encoded) => Ok(Self::new(encoded)),
            Err(error) => Err(invalid(error.to_string())),
        }
    }

    /// From a file.
    ///
    /// # Errors
    /// [`Error::Pool`] if it cannot be read or is larger than a picture can be.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let unreadable = |error: std::io::Error| invalid(format!("cannot read {}: {error}", path.display()));
        let metadata = tokio::fs::metadata(path).await.map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(invalid(format!("{} is not a file; give that of a picture", path.display())));
        }
        if metadata.len() > LONGEST_FILE {
            let (file, bytes) = (path.display(), metadata.len());
            return Err(invalid(format!("{file} has {bytes} bytes; pictures have at most {LONGEST_FILE}")));
        }
        Ok(Self::new(tokio::fs::read(path).await.map_err(unreadable)?))
    }

    /// Width and height in pixels, as the picture is to be looked at. `None`: the file cannot be read.
    pub fn size(&self) -> Option<(u32, u32)> {
        self.header.as_ref().ok().map(|header| (header.width, header.height))
    }

    /// The bytes it came as.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Width and height, or what is wrong with the file.
    pub(crate) fn checked_size(&self) -> Result<(u32, u32), ModelError> {
        match &self.header {
            Ok(header) => Ok((header.width, header.height)),
            Err(reason) => Err(ModelError::invalid(&**reason)),
        }
    }

    /// Decodes it.
    pub(crate) fn decode(&self) -> Result<imaging::Image, ImagingError> {
        imaging::decode(&self.encoded, &self.limits)
    }
}

impl language_model::Picture for Picture {
    fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

impl From<Vec<u8>> for Picture {
    fn from(encoded: Vec<u8>) -> Self {
        Self::new(encoded)
    }
}

impl From<&[u8]> for Picture {
    fn from(encoded: &[u8]) -> Self {
        Self::new(encoded)
    }
}

impl From<Arc<[u8]>> for Picture {
    fn from(encoded: Arc<[u8]>) -> Self {
        Self::new(encoded)
    }
}

impl From<&Picture> for Picture {
    fn from(picture: &Picture) -> Self {
        picture.clone()
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture")
            .field("bytes", &self.encoded.len())
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

fn invalid(message: String) -> Error {
    Error::Pool(pool_core::Error::Invalid { message: message.into() })
}
