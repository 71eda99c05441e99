//! Pictures inside URLs. RFC 2397.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::ImagingError;

/// Padding may be missing: browsers accept that, and so do other servers.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// The bytes that a `data:` URL holds, in its base64 or its percent form. What media type it claims does not matter:
/// formats are told by their bytes.
///
/// The result is at most as long as the URL. Over 64 kB this belongs on a compute lane.
///
/// # Errors
///
/// [`ImagingError::DataUrl`] where it is no data URL, or its payload is not written as it says.
///
/// ```
/// assert_eq!(imaging::data_url("data:image/gif;base64,R0lGODlh")?, b"GIF89a");
/// assert_eq!(imaging::data_url("data:,GIF%389a")?, b"GIF89a");
/// assert!(imaging::data_url("https://example.com/cat.png").is_err());
/// # Ok::<(), imaging::ImagingError>(())
/// ```
pub fn data_url(url: &str) -> Result<Vec<u8>, ImagingError> {
    let wrong = |reason: &str| ImagingError::DataUrl { reason: reason.into() };
    let scheme = url.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("data:"));
    scheme.ok_or_else(|| wrong("it does not begin with data:"))?;
    let (head, payload) =
        url[5..].split_once(',').ok_or_else(|| wrong("it has no comma before its payload"))?;
    let last = head.rsplit(';').next().unwrap_or_default();
    let is_base64 = head.contains(';') && last.trim().eq_ignore_ascii_case("base64");
    // A base64 payload may itself be percent-coded, its padding above all.
    let mut bytes =
        unescape(payload).ok_or_else(|| wrong("a % is not followed by two hexadecimal digits"))?;
    if is_base64 {
        bytes.retain(|byte| !byte.is_ascii_whitespace());
        bytes = BASE64.decode(&bytes).map_err(|error| wrong(&format!("its base64 is broken: {error}")))?;
    }
    if bytes.is_empty() {
        return Err(wrong("its payload is empty"));
    }
    Ok(bytes)
}

/// `None` where a percent sign does not begin a code.
fn unescape(payload: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(payload.len());
    let mut rest = payload.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        if *byte == b'%' {
            let (code, after) = after.split_at_checked(2)?;
            let digit = |letter: u8| char::from(letter).to_digit(16);
            bytes.push((digit(code[0])? * 16 + digit(code[1])?) as u8);
            rest = after;
        } else {
            bytes.push(*byte);
            rest = after;
        }
    }
    Some(bytes)
}
