//! What files say of themselves, and what is made of lies.

use imaging::{Format, ImagingError, Limits, decode, header};

use crate::fixture::bytes;

/// A PNG's first chunk, without any samples.
fn png(width: u32, height: u32) -> Vec<u8> {
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".as_slice(),
        &width.to_be_bytes(),
        &height.to_be_bytes(),
        b"\x08\x02\0\0\0\0\0\0\0",
    ]
    .concat()
}

fn jpeg(width: u16, height: u16) -> Vec<u8> {
    let [size_0, size_1, size_2, size_3] = [height.to_be_bytes(), width.to_be_bytes()].concat()[..] else {
        unreachable!()
    };
    let frame = [8, size_0, size_1, size_2, size_3, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];
    [b"\xff\xd8\xff\xc0\0\x11".as_slice(), &frame, b"\xff\xda"].concat()
}

fn gif(width: u16, height: u16) -> Vec<u8> {
    [b"GIF89a".as_slice(), &width.to_le_bytes(), &height.to_le_bytes(), &[0; 3]].concat()
}

fn bmp(width: i32, height: i32) -> Vec<u8> {
    [
        b"BM".as_slice(),
        &[0; 12],
        &40_u32.to_le_bytes(),
        &width.to_le_bytes(),
        &height.to_le_bytes(),
        &[1, 0, 24, 0],
    ]
    .concat()
}

fn tiff(width: u32, height: u32) -> Vec<u8> {
    let entry = |tag: u16, value: u32| {
        [tag.to_le_bytes().as_slice(), &4_u16.to_le_bytes(), &1_u32.to_le_bytes(), &value.to_le_bytes()]
            .concat()
    };
    [b"II\x2a\0\x08\0\0\0\x02\0".as_slice(), &entry(256, width), &entry(257, height)].concat()
}

fn big_tiff(width: u64, height: u64) -> Vec<u8> {
    let entry = |tag: u16, value: u64| {
        [tag.to_le_bytes().as_slice(), &16_u16.to_le_bytes(), &1_u64.to_le_bytes(), &value.to_le_bytes()]
            .concat()
    };
    [
        b"II\x2b\0\x08\0\0\0".as_slice(),
        &16_u64.to_le_bytes(),
        &2_u64.to_le_bytes(),
        &entry(256, width),
        &entry(257, height),
    ]
    .concat()
}

fn webp_chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [name.as_slice(), &(content.len() as u32).to_le_bytes(), content].concat()
}

fn webp(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = [b"WEBP".to_vec(), chunks.concat()].concat();
    [b"RIFF".as_slice(), &(body.len() as u32).to_le_bytes(), &body].concat()
}

fn webp_canvas(width: u32, height: u32) -> Vec<u8> {
    let side = |side: u32| (side - 1).to_le_bytes()[..3].to_vec();
    webp_chunk(b"VP8X", &[vec![0; 4], side(width), side(height)].concat())
}

fn webp_lossy(width: u16, height: u16) -> Vec<u8> {
    let content = [b"\0\0\0\x9d\x01\x2a".as_slice(), &width.to_le_bytes(), &height.to_le_bytes()].concat();
    webp_chunk(b"VP8 ", &content)
}

fn webp_lossless(width: u32, height: u32) -> Vec<u8> {
    let bits = (width - 1) | (height - 1) << 14;
    webp_chunk(b"VP8L", &[&[0x2f][..], &bits.to_le_bytes(), &[0]].concat())
}

fn webp_animated(chunks: &[Vec<u8>]) -> Vec<u8> {
    webp_chunk(b"ANMF", &[vec![0; 16], chunks.concat()].concat())
}

fn of(bytes: &[u8]) -> Result<(Format, u32, u32), ImagingError> {
    header(bytes, &Limits::default()).map(|header| (header.format, header.width, header.height))
}

#[test]
fn sizes_are_read_from_headers_alone() {
    assert_eq!(of(&png(300, 20)).unwrap(), (Format::Png, 300, 20));
    assert_eq!(of(&jpeg(300, 20)).unwrap(), (Format::Jpeg, 300, 20));
    assert_eq!(of(&gif(300, 20)).unwrap(), (Format::Gif, 300, 20));
    assert_eq!(of(&bmp(300, -20)).unwrap(), (Format::Bmp, 300, 20));
    assert_eq!(of(&tiff(300, 20)).unwrap(), (Format::Tiff, 300, 20));
    assert_eq!(of(&big_tiff(300, 20)).unwrap(), (Format::Tiff, 300, 20));
    assert_eq!(of(&webp(&[webp_lossy(300, 20)])).unwrap(), (Format::WebP, 300, 20));
    assert_eq!(of(&webp(&[webp_lossless(300, 20)])).unwrap(), (Format::WebP, 300, 20));
    assert_eq!(of(&webp(&[webp_canvas(300, 20), webp_lossy(300, 20)])).unwrap(), (Format::WebP, 300, 20));
}

#[test]
fn more_than_the_limits_is_refused_before_decoding() {
    let mut misnamed = webp_lossy(16_383, 16_383);
    misnamed[..4].copy_from_slice(b"VP8L");
    let bombs = [
        png(60_000, 60_000),
        png(u32::MAX, u32::MAX),
        png(1, 65_536),
        jpeg(65_535, 65_535),
        gif(65_535, 65_535),
        bmp(i32::MAX, i32::MIN),
        tiff(u32::MAX, 1),
        tiff(60_000, 60_000),
        big_tiff(u64::MAX, u64::MAX),
        webp(&[webp_lossy(16_383, 16_383)]),
        webp(&[webp_lossless(16_384, 16_384)]),
        webp(&[webp_canvas(1 << 24, 1 << 24)]),
        // What is small outside may be huge inside.
        webp(&[webp_canvas(9, 9), webp_lossless(16_384, 16_384)]),
        webp(&[webp_canvas(9, 9), webp_animated(&[webp_lossy(16_383, 16_383)])]),
        webp(&[
            webp_canvas(9, 9),
            webp_animated(&[webp_chunk(b"ALPH", &[0; 4]), webp_lossy(16_383, 16_383)]),
        ]),
        // Of a picture that stands outside an animation and in it, the decoder takes the one or the other.
        webp(&[webp_canvas(9, 9), webp_lossy(9, 9), webp_animated(&[webp_lossy(16_383, 16_383)])]),
        webp(&[webp_canvas(9, 9), webp_animated(&[webp_lossy(9, 9)]), webp_lossy(16_383, 16_383)]),
        webp(&[webp_canvas(9, 9), webp_lossy(9, 9), webp_lossless(16_384, 16_384)]),
        webp(&[webp_canvas(9, 9), webp_animated(&[webp_lossy(9, 9), webp_lossless(16_384, 16_384)])]),
        // What follows alpha is decoded as lossy, whatever its name.
        webp(&[webp_canvas(9, 9), webp_animated(&[webp_chunk(b"ALPH", &[0; 4]), misnamed])]),
    ];
    for bomb in bombs {
        let error = of(&bomb).unwrap_err();
        assert!(matches!(error, ImagingError::TooLarge { .. }), "{error}");
        assert!(matches!(decode(&bomb, &Limits::default()), Err(ImagingError::TooLarge { .. })));
    }
    let limits = Limits { pixels: 6_000, side: 300 };
    assert!(header(&png(300, 20), &limits).is_ok());
    assert!(header(&png(300, 21), &limits).is_err());
    assert!(header(&png(301, 1), &limits).is_err());
    let error = header(&png(301, 1), &limits).unwrap_err().to_string();
    assert_eq!(
        error,
        "the picture claims to be 301x1, and at most 6000 pixels and sides of 300 are read; send a smaller one"
    );
}

#[test]
fn a_frame_larger_than_its_canvas_is_refused() {
    let error = of(&webp(&[webp_canvas(9, 9), webp_lossy(10, 9)])).unwrap_err().to_string();
    assert!(error.contains("larger than its canvas"), "{error}");
}

#[test]
fn a_file_of_endless_pieces_is_refused_and_not_walked_to_its_end() {
    const MANY: usize = 1 << 20;
    let start = &png(300, 20)[..33];
    let filler = [b"\xff\xd8\xff\xe0\0\x02".as_slice(), &vec![0; MANY], &jpeg(300, 20)[2..]].concat();
    let segments = [b"\xff\xd8".as_slice(), &b"\xff\xe0\0\x02".repeat(MANY), &jpeg(300, 20)[2..]].concat();
    let chunks = [start, &b"\0\0\0\0tEXt\0\0\0\0".repeat(MANY)].concat();
    let frames = webp(&[webp_lossy(300, 20), webp_chunk(b"XMP ", b"").repeat(MANY)]);
    let mut entries = big_tiff(300, 20);
    entries.extend(vec![0; 20 * MANY]);
    entries[16..24].copy_from_slice(&(MANY as u64).to_le_bytes());
    for endless in [filler, segments, chunks, frames, entries] {
        let error = of(&endless).unwrap_err();
        assert!(matches!(error, ImagingError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains("goes on for more than 262144 fields"), "{error}");
        assert!(matches!(decode(&endless, &Limits::default()), Err(ImagingError::Unsupported { .. })));
    }
}

#[test]
fn as_many_pieces_as_programs_write_are_walked_over() {
    // Upright, then on its side.
    let turned = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    // 256 MiB in pieces of 8 KiB are 32 Ki of them.
    let chunks = b"\0\0\0\0IDAT\0\0\0\0".repeat(32 << 10);
    let exif = [&(turned.len() as u32).to_be_bytes(), b"eXIf".as_slice(), turned, &[0; 4]].concat();
    let file = [&png(300, 20)[..33], &chunks, &exif].concat();
    assert_eq!(of(&file).unwrap(), (Format::Png, 20, 300));
    // As much beside the picture in a JPEG, in pieces of 64 KiB, and some filler.
    let segments = [b"\xff\xd8".as_slice(), &b"\xff\xe2\0\x02".repeat(4 << 10), &[0; 64 << 10]].concat();
    assert_eq!(of(&[&segments, &jpeg(300, 20)[2..]].concat()).unwrap(), (Format::Jpeg, 300, 20));
    // The first says which way is up.
    let (first, second) = (webp_chunk(b"EXIF", turned), webp_chunk(b"EXIF", b"upright"));
    assert_eq!(of(&webp(&[webp_lossy(300, 20), first, second])).unwrap(), (Format::WebP, 20, 300));
}

#[test]
fn pictures_without_pixels_are_refused() {
    for empty in
        [png(0, 5), png(5, 0), jpeg(5, 0), gif(0, 0), bmp(0, 5), tiff(5, 0), webp(&[webp_lossy(0, 3)])]
    {
        let error = decode(&empty, &Limits::default()).unwrap_err();
        assert!(matches!(error, ImagingError::Damaged { .. }), "{error}");
    }
}

#[test]
fn what_is_no_picture_is_called_by_its_name() {
    let long_text = "ä".repeat(600);
    for (bytes, name) in [
        (b"".as_slice(), "an empty file"),
        (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "an SVG drawing"),
        (b"<?xml version=\"1.0\"?>\n<!-- x -->\n<svg/>", "an SVG drawing"),
        (b"This is not a picture.\n", "a text file"),
        (long_text[..].as_bytes(), "a text file"),
        (b"x\0\x01\x02", "this file"),
        (b"\0\0\0\x1cftypavif", "an AVIF file"),
        (b"\0\0\0\x1cftypheic", "a HEIF picture or a film"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\xff\xfe\xfd", "this file"),
        (b"BMW is a car", "a text file"),
        (b"BM is short, but this is a text and not a bitmap", "a text file"),
    ] {
        let error = decode(bytes, &Limits::default()).unwrap_err();
        assert!(
            matches!(error, ImagingError::Unrecognised { what } if what == name)
                || (bytes == b"BMW is a car" && matches!(error, ImagingError::Damaged { .. })),
            "{error}"
        );
        assert_eq!(error.to_string().lines().count(), 1);
    }
}

#[test]
fn orientation_is_applied_to_sizes() {
    for (name, turned) in [("turned-4.png", (7, 5)), ("turned-5.png", (5, 7)), ("turned-6.tif", (17, 23))] {
        let header = header(&bytes(&format!("pictures/{name}")), &Limits::default()).unwrap();
        assert_eq!((header.width, header.height), turned, "{name}");
    }
}
