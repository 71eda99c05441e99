//! Resized pictures are Pillow's, bit for bit.

use imaging::{Filter, Window, resize, resize_window};
use serde::Deserialize;

use crate::drawn::drawn;
use crate::fixture::{digest, json};

/// In the order of Pillow's numbers.
const FILTERS: [Filter; 6] =
    [Filter::Nearest, Filter::Lanczos3, Filter::Bilinear, Filter::Bicubic, Filter::Box, Filter::Hamming];

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    from: (u32, u32),
    to: (u32, u32),
    digests: Vec<String>,
}

#[test]
fn every_filter_gives_pillows_bits_at_every_size() {
    let Cases { cases } = json("resize.json");
    assert!(cases.len() >= 20);
    for Case { from, to, digests } in cases {
        let image = drawn(from.0, from.1);
        assert_eq!(digests.len(), FILTERS.len());
        for (filter, wanted) in FILTERS.into_iter().zip(digests) {
            let resized = resize(&image, to.0, to.1, filter).unwrap();
            assert_eq!((resized.width(), resized.height()), to);
            assert_eq!(digest(resized.pixels()), wanted, "{from:?} to {to:?} with {filter:?}");
        }
    }
}

#[test]
fn a_window_of_a_result_too_large_to_make_is_made() {
    // 672,000 x 224 x 3 bytes as a whole; the middle of it is the middle of what its surroundings give.
    let image = drawn(30_000, 10);
    let window = Window { left: 336_000 - 112, top: 0, width: 224, height: 224 };
    let middle = resize_window(&image, 672_000, 224, window, Filter::Bicubic).unwrap();
    let wider = Window { left: window.left - 300, width: 1_000, ..window };
    let around = resize_window(&image, 672_000, 224, wider, Filter::Bicubic).unwrap();
    for (narrow, wide) in middle.pixels().chunks(224 * 3).zip(around.pixels().chunks(1_000 * 3)) {
        assert!(narrow == &wide[300 * 3..][..224 * 3]);
    }
}
