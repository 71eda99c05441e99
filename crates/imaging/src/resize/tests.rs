use proptest::prelude::*;

use super::weights::{PRECISION_BITS, Weights};
use super::*;

const FILTERS: [Filter; 6] =
    [Filter::Nearest, Filter::Lanczos3, Filter::Bilinear, Filter::Bicubic, Filter::Box, Filter::Hamming];

fn picture(width: u32, height: u32, seed: u64) -> Image {
    // Runs of extremes between noise, so that sums leave 0 to 255.
    let mut state = seed | 1;
    let samples = (0..u64::from(width) * u64::from(height) * 3).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match state >> 60 {
            0..5 => 0,
            5..10 => 255,
            _ => (state >> 32) as u8,
        }
    });
    Image::new(width, height, samples.collect()).unwrap()
}

/// One sample after the other, whole passes, as the definition reads.
fn plain(image: &Image, width: u32, height: u32, filter: Filter) -> Image {
    let shrinks = |from: u32, to: u32| i64::from(from) - i64::from(to);
    let (less_high, less_wide) = (shrinks(image.height(), height), shrinks(image.width(), width));
    if less_high > 0 && less_high > 2 * less_wide {
        plain_rows(&plain_columns(image, height, filter), width, filter)
    } else {
        plain_columns(&plain_rows(image, width, filter), height, filter)
    }
}

fn plain_columns(image: &Image, height: u32, filter: Filter) -> Image {
    let mut result = Image::filled(image.width(), height, [0; 3]);
    for column in 0..image.width() as usize * 3 {
        let sample = |y| image.row(y)[column];
        plain_line(image.height(), height, filter, sample, |y, value| result.row_mut(y)[column] = value);
    }
    result
}

fn plain_rows(image: &Image, width: u32, filter: Filter) -> Image {
    let mut result = Image::filled(width, image.height(), [0; 3]);
    for row in 0..image.height() {
        for channel in 0..3 {
            let at = |column: u32| column as usize * 3 + channel;
            let sample = |x| image.row(row)[at(x)];
            plain_line(image.width(), width, filter, sample, |x, value| result.row_mut(row)[at(x)] = value);
        }
    }
    result
}

fn plain_line(from: u32, to: u32, filter: Filter, sample: impl Fn(u32) -> u8, mut put: impl FnMut(u32, u8)) {
    if from == to {
        return (0..to).for_each(|index| put(index, sample(index)));
    }
    let weights = Weights::new(filter, from, to, 0..to);
    for index in 0..to {
        let (span, weights) = weights.span(index as usize);
        let products = span.zip(weights).map(|(place, weight)| i64::from(*weight) * i64::from(sample(place)));
        let sum: i64 = products.sum();
        put(index, ((sum + (1 << (PRECISION_BITS - 1))) >> PRECISION_BITS).clamp(0, 255) as u8);
    }
}

fn square(image: &Image, fill: [u8; 3]) -> Image {
    let side = image.width().max(image.height());
    let mut whole = Image::filled(side, side, fill);
    whole.place(image, (side - image.width()) / 2, (side - image.height()) / 2);
    whole
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn vectors_and_strips_give_what_the_definition_gives(
        from in (1_u32..70, 1_u32..70), to in (1_u32..50, 1_u32..50), seed: u64, filter in 1_usize..6,
    ) {
        let (image, filter) = (picture(from.0, from.1, seed), FILTERS[filter]);
        prop_assert!(resize(&image, to.0, to.1, filter).unwrap() == plain(&image, to.0, to.1, filter));
    }

    #[test]
    fn a_window_is_a_part_of_the_whole(
        from in (1_u32..90, 1_u32..90), to in (1_u32..60, 1_u32..60), seed: u64, filter in 0_usize..6,
        corner in (0.0_f64..1.0, 0.0_f64..1.0), extent in (0.0_f64..1.0, 0.0_f64..1.0),
    ) {
        let (image, filter) = (picture(from.0, from.1, seed), FILTERS[filter]);
        let left = (corner.0 * f64::from(to.0)) as u32;
        let top = (corner.1 * f64::from(to.1)) as u32;
        let width = 1 + (extent.0 * f64::from(to.0 - left - 1)) as u32;
        let height = 1 + (extent.1 * f64::from(to.1 - top - 1)) as u32;
        let window = resize_window(&image, to.0, to.1, Window { left, top, width, height }, filter).unwrap();
        let whole = resize(&image, to.0, to.1, filter).unwrap();
        prop_assert!(window == whole.part(left, top, width, height));
    }

    #[test]
    fn a_sheet_that_is_never_made_gives_what_one_that_is_made_gives(
        from in (1_u32..40, 1_u32..40), to in (1_u32..40, 1_u32..40), seed: u64, filter in 0_usize..6, fill: [u8; 3],
    ) {
        let (image, filter) = (picture(from.0, from.1, seed), FILTERS[filter]);
        let window = Window { left: 0, top: 0, width: to.0, height: to.1 };
        let never = Canvas::squared(&image, fill).resized(to, window, filter);
        let made = resize(&square(&image, fill), to.0, to.1, filter).unwrap();
        prop_assert!(never == made);
    }
}

#[test]
fn windows_outside_are_refused() {
    let image = picture(4, 4, 1);
    let window = |left, top, width, height| {
        resize_window(&image, 8, 8, Window { left, top, width, height }, Filter::Bicubic).map(|_| ())
    };
    assert!(window(4, 4, 4, 4).is_ok());
    for (left, top, width, height) in
        [(5, 4, 4, 4), (4, 5, 4, 4), (0, 0, 0, 1), (0, 0, 1, 0), (u32::MAX, 0, 2, 2)]
    {
        assert!(window(left, top, width, height).is_err(), "{left} {top} {width} {height}");
    }
}
