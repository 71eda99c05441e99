//! Files that are cut off, spoiled or made to do harm.

use imaging::{Image, ImagingError, Limits, decode};
use proptest::prelude::*;

use crate::fixture::{bytes, pictures};
use crate::progressive::Progressive;

/// Small enough that whatever a spoiled header claims is decoded quickly.
const SMALL: Limits = Limits { pixels: 1 << 16, side: 4_096 };

fn decoded(bytes: &[u8]) -> Result<Image, ImagingError> {
    decode(bytes, &SMALL)
}

#[test]
fn a_file_that_is_cut_off_is_refused_unless_nothing_of_the_picture_is_missing() {
    for (name, content) in pictures() {
        let whole = decoded(&content).unwrap();
        let mut complete = 0;
        for length in 0..content.len() {
            if let Ok(image) = decoded(&content[..length]) {
                complete += 1;
                // What is turned at the end of a file is not turned without it.
                let same = image == whole || name == "turned-6.webp";
                assert!(same, "{name}: another picture from {length} of {} bytes", content.len());
            }
        }
        let animated = name.starts_with("animated");
        assert!(animated || complete < 60, "{name}: {complete} of {} prefixes are read", content.len());
    }
}

#[test]
fn a_truncated_jpeg_is_refused() {
    let content = bytes("pictures/420.jpg");
    for length in [content.len() / 4, content.len() / 2, content.len() - 20] {
        let error = decoded(&content[..length]).unwrap_err().to_string();
        assert!(error.starts_with("the JPEG picture is damaged or cut off: "), "{error}");
        assert!(error.ends_with("; send the original file"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
    let progressive = bytes("pictures/progressive-420.jpg");
    assert!(decoded(&progressive[..progressive.len() * 3 / 4]).is_err());
}

#[test]
fn a_jpeg_of_endless_scans_is_refused_before_decoding() {
    let file =
        |side, scans| Progressive { width: side, height: side, components: 1, sampling: 1, scans }.file();
    // Less than 30 KB that would take a core minutes.
    let long = file(8_192, 2_000);
    assert!(long.len() < 30_000);
    for (bomb, most) in [(long, 32), (file(8_192, 33), 32), (file(64, 101), 100)] {
        let error = decode(&bomb, &Limits::default()).unwrap_err();
        assert!(matches!(error, ImagingError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(&format!("more than {most} scans")), "{error}");
    }
    assert!(decode(&file(64, 100), &Limits::default()).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn spoiled_files_are_pictures_or_errors(
        which: prop::sample::Index, spoils in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let files = files();
        let mut content = which.get(files).clone();
        for (place, byte) in spoils {
            let place = place.index(content.len());
            content[place] = byte;
        }
        match decoded(&content) {
            Ok(image) => prop_assert!(u64::from(image.width()) * u64::from(image.height()) <= SMALL.pixels),
            Err(error) => prop_assert_eq!(error.to_string().lines().count(), 1),
        }
    }

    #[test]
    fn random_bytes_behind_a_signature_are_pictures_or_errors(
        signature in 0_usize..7, rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        const SIGNATURES: [&[u8]; 7] = [
            b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II\x2a\0", b"MM\0\x2a", b"RIFF\0\0\0\0WEBP",
        ];
        let content = [SIGNATURES[signature], &rest].concat();
        prop_assert!(decoded(&content).is_err() || rest.len() > 8);
    }
}

/// Read once.
fn files() -> &'static [Vec<u8>] {
    static FILES: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    FILES.get_or_init(|| pictures().into_iter().map(|(_, content)| content).collect())
}
