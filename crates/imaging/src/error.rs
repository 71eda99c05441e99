use std::path::PathBuf;

use crate::Format;

/// Why there is no picture, or no processor. Variants differ by what the caller can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImagingError {
    /// The bytes are no picture of a format that is read. Another file is needed.
    #[error("{what} is not a picture that can be read: send JPEG, PNG, WebP, GIF, BMP or TIFF")]
    Unrecognised {
        /// What the bytes look like.
        what: &'static str,
    },
    /// The header claims more than the limits allow; nothing was decoded. A smaller picture is needed.
    #[error(
        "the picture claims to be {width}x{height}, and at most {pixels} pixels and sides of {side} are read; \
         send a smaller one"
    )]
    TooLarge {
        /// The width that the header claims.
        width: u64,
        /// The height that the header claims.
        height: u64,
        /// The most pixels allowed.
        pixels: u64,
        /// The longest side allowed.
        side: u32,
    },
    /// The file is cut off or contradicts itself. The original file is needed.
    #[error("the {format} picture is damaged or cut off: {reason}; send the original file")]
    Damaged {
        /// The format that the file says it has.
        format: Format,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is of a known format, in a form that is not read. Another encoding is needed.
    #[error("the {format} picture cannot be read: {reason}; save it as an ordinary 8-bit PNG or JPEG")]
    Unsupported {
        /// The format that the file has.
        format: Format,
        /// What is not supported.
        reason: String,
    },
    /// A file that cannot be read.
    #[error("cannot read the picture {}: {reason}; check the path", .path.display())]
    File {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A `data:` URL that cannot be taken apart.
    #[error("not a data URL with a picture: {reason}; write data:image/png;base64,...")]
    DataUrl {
        /// What is wrong with it.
        reason: String,
    },
    /// A size that no picture can be given.
    #[error("cannot make a picture of {width}x{height}: {reason}")]
    Size {
        /// The width asked for.
        width: u64,
        /// The height asked for.
        height: u64,
        /// Why not.
        reason: &'static str,
    },
    /// A picture that a format cannot hold, or not as asked for.
    #[error("cannot write the picture as {format}: {reason}")]
    Encoding {
        /// The format asked for.
        format: Format,
        /// Why not.
        reason: String,
    },
    /// The configuration of the image processor asks for something that is not done, or contradicts itself.
    #[error("image processor: {field} = {value} is not supported; {supported}")]
    Processor {
        /// The field's name.
        field: String,
        /// Its value, as JSON.
        value: String,
        /// What may stand there.
        supported: String,
    },
}

impl ImagingError {
    pub(crate) fn damaged(format: Format, reason: impl Into<String>) -> Self {
        Self::Damaged { format, reason: reason.into() }
    }

    pub(crate) fn unsupported(format: Format, reason: impl Into<String>) -> Self {
        Self::Unsupported { format, reason: reason.into() }
    }
}
