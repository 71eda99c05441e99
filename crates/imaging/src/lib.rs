//! Pictures in: decoded, the right way up, resized and made into what a vision tower reads. And out: encoded as files.
//!
//! Three steps, each of them whole by itself:
//!
//! - [`header()`] says what a file holds, from its first bytes and within [`Limits`]; [`decode`] makes an [`Image`] of it:
//!   8-bit RGB, EXIF orientation applied, alpha on white. [`data_url`] takes the file out of a `data:` URL.
//! - [`resize`] is Pillow's, bit for bit; [`resize_window`] computes a part of the result only.
//! - [`Processor`] is one of the image processors of transformers, with the configuration of a checkpoint:
//!   [`Processor::layout`] says how many tiles of which size a picture becomes, before there are pixels;
//!   [`Processor::process`] makes them.
//!
//! [`EncodedImage`] is a picture on its way there, as callers hand it in: bytes, a file or a `data:` URL.
//!
//! For models that draw, [`Image::planes`] and [`Image::from_planes`] are pixels as their numbers and back, [`Mask`] says which
//! pixels are to be drawn anew, and [`encode`] makes a file of a picture.
//!
//! Nothing here reaches a network or starts a task. [`header()`] is cheap; all else is arithmetic that belongs on a compute
//! lane.
//!
//! ```
//! use imaging::{Filter, Image, Processor};
//!
//! let image = Image::new(4, 2, vec![255; 24])?;
//! assert_eq!(imaging::resize(&image, 2, 1, Filter::Bicubic)?.pixels(), [255; 6]);
//!
//! let processor = Processor::from_config(&serde_json::json!({
//!     "image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 8}, "crop_size": 8,
//! }))?;
//! let pixels = processor.process(&image)?;
//! assert_eq!((pixels.layout().tiles, pixels.layout().tile_height, pixels.layout().tile_width), (1, 8, 8));
//! assert_eq!(pixels.tile(0).len(), 3 * 8 * 8);
//! # Ok::<(), imaging::ImagingError>(())
//! ```

mod data_url;
mod decode;
mod encode;
mod encoded;
mod error;
mod header;
mod limits;
mod mask;
mod picture;
mod processor;
mod resize;

pub use data_url::data_url;
pub use decode::{decode, decode_mask};
pub use encode::{Encoding, encode};
pub use encoded::{DECODING_WORKING_SET, EncodedImage};
pub use error::ImagingError;
pub use header::{Format, Header, header};
pub use limits::Limits;
pub use mask::Mask;
pub use picture::Image;
pub use processor::{Layout, PixelValues, Processor};
pub use resize::{Filter, Window, resize, resize_window};
