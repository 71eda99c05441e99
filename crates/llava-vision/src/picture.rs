//! Pictures as callers hand them in.

use std::path::Path;
use std::sync::Arc;

use imaging::{EncodedImage, Image, ImagingError};
use pool_core::ModelError;

use crate::Error;

/// A picture as it came: the bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF file. Cheap to clone.
///
/// Making one looks at the file's header and decodes nothing. What is wrong with it is told by the call that it is given to.
/// Other limits than the usual ones are those of an [`EncodedImage`].
#[derive(Clone, Debug)]
pub struct Picture(EncodedImage);

impl Picture {
    /// From the bytes of a file.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(EncodedImage::new(bytes))
    }

    /// From a `data:` URL. Decodes its base64 before it returns, on the thread it is called on: one of more than 64 kB
    /// belongs on a compute lane, as the decoding of pictures does.
    ///
    /// # Errors
    /// [`Error::Pool`] if it is none.
    pub fn from_data_url(url: &str) -> Result<Self, Error> {
        EncodedImage::from_data_url(url).map(Self).map_err(invalid)
    }

    /// From a file.
    ///
    /// # Errors
    /// [`Error::Pool`] if it cannot be read or is longer than a picture can be.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        EncodedImage::open(path).await.map(Self).map_err(invalid)
    }

    /// Width and height in pixels, as the picture is to be looked at; or what is wrong with the file.
    pub(crate) fn size(&self) -> Result<(u32, u32), ModelError> {
        match self.0.header() {
            Ok(header) => Ok((header.width, header.height)),
            Err(error) => Err(ModelError::invalid(error.to_string())),
        }
    }

    /// What its job is charged for decoding it.
    pub(crate) fn charged_bytes(&self) -> u64 {
        self.0.charged_bytes()
    }

    pub(crate) fn decode(&self) -> Result<Image, ImagingError> {
        self.0.decode()
    }
}

impl language_model::Picture for Picture {
    fn encoded(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl From<EncodedImage> for Picture {
    fn from(image: EncodedImage) -> Self {
        Self(image)
    }
}

impl From<Vec<u8>> for Picture {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<&[u8]> for Picture {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl From<Arc<[u8]>> for Picture {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::new(bytes)
    }
}

impl From<&Self> for Picture {
    fn from(picture: &Self) -> Self {
        picture.clone()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it stands behind map_err")]
fn invalid(error: ImagingError) -> Error {
    Error::Pool(pool_core::Error::Invalid { message: error.to_string().into() })
}
