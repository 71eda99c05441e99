//! Pictures as callers hand them in.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::{Header, Image, ImagingError, Limits, data_url, decode, decode_mask, header};

/// The largest file that is read. A choice: of what is within the default [`Limits`] only uncompressed bitmaps and TIFFs
/// of the very largest can be longer, and a file is held in memory as a whole.
const LONGEST_FILE: u64 = 256 << 20;

/// What decoding a picture may take at most without being charged to its job: that of a photograph of 15 megapixels in the
/// costliest form there is. Few pictures are decoded at a time, many may wait, and hardly any takes that much.
const UNCHARGED: u64 = 256 << 20;

/// Bytes that the working set of a model has for decoding pictures: photographs of 12 megapixels as they mostly are.
pub const DECODING_WORKING_SET: u64 = 64 << 20;

/// A picture as it came: the bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF file. Cheap to clone.
///
/// Making one looks at the file's [header](header()) and decodes nothing. What is wrong with it is kept, and told when
/// somebody wants to know.
#[derive(Clone)]
pub struct EncodedImage {
    // As it came: a file's bytes are many, and moving them would take the caller's time.
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    limits: Limits,
    header: Result<Header, Arc<ImagingError>>,
}

impl EncodedImage {
    /// From the bytes of a file.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::with_limits(bytes, Limits::default())
    }

    /// From the bytes of a file, which may claim to be as large as this.
    pub fn with_limits(bytes: impl Into<Arc<[u8]>>, limits: Limits) -> Self {
        Self::of(Arc::new(bytes.into()), limits)
    }

    fn of(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>, limits: Limits) -> Self {
        let header = header((*bytes).as_ref(), &limits).map_err(Arc::new);
        Self { bytes, limits, header }
    }

    /// From a `data:` URL. See [`data_url`].
    ///
    /// # Errors
    ///
    /// [`ImagingError::DataUrl`].
    pub fn from_data_url(url: &str) -> Result<Self, ImagingError> {
        Ok(data_url(url)?.into())
    }

    /// From a file.
    ///
    /// # Errors
    ///
    /// [`ImagingError::File`] if it cannot be read or is longer than a picture can be.
    ///
    /// # Cancel safety
    ///
    /// Dropping it loses nothing.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, ImagingError> {
        let path = path.as_ref();
        let file = |reason: String| ImagingError::File { path: path.to_owned(), reason };
        let unreadable = |error: std::io::Error| file(error.to_string());
        let metadata = tokio::fs::metadata(path).await.map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(file("it is not a file".to_owned()));
        }
        if metadata.len() > LONGEST_FILE {
            let bytes = metadata.len();
            return Err(file(format!(
                "it has {bytes} bytes, and at most {LONGEST_FILE} are read: save it as a PNG or JPEG"
            )));
        }
        Ok(tokio::fs::read(path).await.map_err(unreadable)?.into())
    }

    /// The bytes it came as.
    pub fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// What its first bytes say.
    ///
    /// # Errors
    ///
    /// As [`header()`].
    pub fn header(&self) -> Result<Header, Arc<ImagingError>> {
        self.header.clone()
    }

    /// Bytes that decoding it takes and that its job is charged, where a model's working set has
    /// [`DECODING_WORKING_SET`] for all of them: what is beyond 256 MiB. None for one that cannot be decoded.
    pub fn charged_bytes(&self) -> u64 {
        self.header.as_ref().map_or(0, |header| header.decoding_bytes().saturating_sub(UNCHARGED))
    }

    /// Decodes it. Belongs on a compute lane.
    ///
    /// # Errors
    ///
    /// As [`decode`].
    pub fn decode(&self) -> Result<Image, ImagingError> {
        decode(self.bytes(), &self.limits)
    }

    /// Decodes it as a mask. Belongs on a compute lane.
    ///
    /// # Errors
    ///
    /// As [`decode`].
    pub fn decode_mask(&self) -> Result<Image, ImagingError> {
        decode_mask(self.bytes(), &self.limits)
    }
}

impl From<Vec<u8>> for EncodedImage {
    fn from(bytes: Vec<u8>) -> Self {
        Self::of(Arc::new(bytes), Limits::default())
    }
}

impl From<&[u8]> for EncodedImage {
    fn from(bytes: &[u8]) -> Self {
        Self::new(bytes)
    }
}

impl From<Arc<[u8]>> for EncodedImage {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::new(bytes)
    }
}

impl From<&Self> for EncodedImage {
    fn from(image: &Self) -> Self {
        image.clone()
    }
}

impl fmt::Debug for EncodedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedImage")
            .field("bytes", &self.bytes().len())
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_looked_at_and_not_decoded() {
        let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let text = EncodedImage::open(picture).await.unwrap();
        assert!(matches!(&*text.header().unwrap_err(), ImagingError::Unrecognised { .. }));
        assert!(matches!(text.decode(), Err(ImagingError::Unrecognised { .. })));
        for (path, wanted) in
            [("nothing.png", "nothing.png"), (env!("CARGO_MANIFEST_DIR"), "it is not a file")]
        {
            let error = EncodedImage::open(path).await.unwrap_err();
            assert!(matches!(error, ImagingError::File { .. }));
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_too_long_is_not_read() {
        let path = std::env::temp_dir().join(format!("imaging-{}.bmp", std::process::id()));
        // Nothing is written: the file has a length and no content.
        std::fs::File::create(&path).unwrap().set_len(LONGEST_FILE + 1).unwrap();
        let error = EncodedImage::open(&path).await.unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(
            error.contains("it has 268435457 bytes, and at most 268435456 are read: save it as"),
            "{error}"
        );
    }

    #[test]
    fn bytes_that_are_handed_over_stay_where_they_are() {
        let bytes = b"\x89PNG\r\n\x1a\n".to_vec();
        let place = bytes.as_ptr();
        assert_eq!(EncodedImage::from(bytes).bytes().as_ptr(), place);
        let bytes: Arc<[u8]> = Arc::from(*b"\x89PNG\r\n\x1a\n");
        assert_eq!(EncodedImage::from(Arc::clone(&bytes)).bytes().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn limits_are_kept_with_the_bytes() {
        // A PNG's signature and header: 300 by 200.
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\x2c\0\0\0\xc8\x08\x02\0\0\0".to_vec();
        bytes.extend([0; 4]);
        let header = EncodedImage::from(&*bytes).header().unwrap();
        assert_eq!((header.width, header.height), (300, 200));
        assert_eq!(EncodedImage::from(&*bytes).charged_bytes(), 0);
        let limits = Limits { pixels: 59_999, ..Limits::default() };
        let small = EncodedImage::with_limits(bytes, limits);
        assert!(matches!(&*small.header().unwrap_err(), ImagingError::TooLarge { .. }));
        assert!(matches!(small.decode(), Err(ImagingError::TooLarge { .. })));
    }

    #[test]
    fn a_job_is_charged_what_is_beyond_the_working_sets_share() {
        let png = |width: u32, height: u32| {
            let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
            bytes.extend([width.to_be_bytes(), height.to_be_bytes()].as_flattened());
            bytes.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
            EncodedImage::new(bytes)
        };
        let large = png(8192, 8192);
        assert_eq!(large.charged_bytes(), large.header().unwrap().decoding_bytes() - (256 << 20));
        assert_eq!((png(4000, 3000).charged_bytes(), EncodedImage::new(*b"none").charged_bytes()), (0, 0));
    }
}
