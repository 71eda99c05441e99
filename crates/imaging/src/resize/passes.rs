//! The two passes, over rows and over columns, with 8 bits between them.

use std::ops::Range;

use super::weights::{PRECISION_BITS, Weights};
use super::{Canvas, Filter, Window};
use crate::Image;

/// Rows that the first pass works on together: three samples each are three vectors of eight.
const ROWS: usize = 8;
/// Samples of a column that the second pass works on together: eight vectors of eight.
const COLUMNS: usize = 64;
/// Sums in one vector.
const LANES: usize = 8;
/// One half, which rounds.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

pub(super) fn resized(canvas: &Canvas<'_>, size: (u32, u32), window: Window, filter: Filter) -> Image {
    let (width, height) = canvas.size();
    let columns = window.left..window.left + window.width;
    let rows = window.top..window.top + window.height;
    // A pass that would change nothing is left out.
    let across = (size.0 != width).then(|| Across::new(Weights::new(filter, width, size.0, columns.clone())));
    let down = (size.1 != height).then(|| Weights::new(filter, height, size.1, rows.clone()));
    let mut result = Image::filled(window.width, window.height, [0; 3]);
    match (across, down) {
        (Some(mut across), Some(down)) if goes_down_first((width, height), size) => {
            let mut strip = Strip::new(canvas, None, across.reach());
            let stride = window.width as usize * 3;
            let mut row = vec![0; across.reach().len() * 3];
            for (group, made) in result.samples_mut().chunks_mut(ROWS * stride).enumerate() {
                let count = made.len() / stride;
                for lane in 0..count {
                    strip.sum(&down, group * ROWS + lane, &mut row);
                    across.lane(lane, &row);
                }
                across.sum(made, stride);
            }
        }
        (across, Some(down)) => {
            let mut strip = Strip::new(canvas, across, columns);
            for y in 0..window.height {
                strip.sum(&down, y as usize, result.row_mut(y));
            }
        }
        (across, None) => {
            let mut strip = Strip::new(canvas, across, columns);
            for (y, row) in (0..).zip(rows) {
                strip.hold(row..row + 1);
                result.row_mut(y).copy_from_slice(strip.row(row));
            }
        }
    }
    result
}

/// Whether columns are resized before rows: since version 13 Pillow does so where the height shrinks, by more than twice
/// as many pixels as the width does. The order matters to a level or two, and to many where there is overshoot.
fn goes_down_first(from: (u32, u32), to: (u32, u32)) -> bool {
    let less = |from: u32, to: u32| i64::from(from) - i64::from(to);
    to.1 < from.1 && less(from.1, to.1) > 2 * less(from.0, to.0)
}

/// The pass over rows: eight of them at once.
struct Across {
    weights: Weights,
    /// Pixels of the rows beside each other, so that one weight meets them all.
    turned: Vec<[u8; ROWS * 3]>,
}

impl Across {
    fn new(weights: Weights) -> Self {
        let turned = vec![[0; ROWS * 3]; weights.reach().len()];
        Self { weights, turned }
    }

    /// The columns that are needed.
    fn reach(&self) -> Range<u32> {
        self.weights.reach()
    }

    /// Puts one row's needed columns in its place.
    fn lane(&mut self, lane: usize, samples: &[u8]) {
        for (turned, pixel) in self.turned.iter_mut().zip(samples.as_chunks::<3>().0) {
            turned[lane * 3..lane * 3 + 3].copy_from_slice(pixel);
        }
    }

    /// As many rows of the result as `made` has of `stride` samples.
    fn sum(&self, made: &mut [u8], stride: usize) {
        pulp::Arch::new().dispatch(SumAcross { across: self, made, stride });
    }
}

/// The sums along rows. Not a closure: that would be compiled apart, for a processor without vectors.
struct SumAcross<'s> {
    across: &'s Across,
    made: &'s mut [u8],
    stride: usize,
}

impl pulp::NullaryFnOnce for SumAcross<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { across: Across { weights, turned }, made, stride } = self;
        let start = weights.reach().start;
        for column in 0..weights.len() {
            let (span, weights) = weights.span(column);
            let pixels = &turned[(span.start - start) as usize..][..weights.len()];
            let sums = sum_pixels(pixels, weights);
            for (made, sum) in made.chunks_exact_mut(stride).zip(sums.as_chunks::<3>().0) {
                made[column * 3..column * 3 + 3].copy_from_slice(sum);
            }
        }
    }
}

/// The sums along columns.
struct SumDown<'s> {
    rows: &'s [u8],
    stride: usize,
    weights: &'s [i32],
    result: &'s mut [u8],
}

impl pulp::NullaryFnOnce for SumDown<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        sum_rows(self.rows, self.stride, self.weights, self.result);
    }
}

/// Some rows that follow each other, after the pass over rows if that comes first.
struct Strip<'c> {
    canvas: &'c Canvas<'c>,
    across: Option<Across>,
    columns: Range<u32>,
    /// Samples of a row, filled up to whole blocks.
    stride: usize,
    held: Range<u32>,
    samples: Vec<u8>,
    /// What becomes of a row without anything of the picture.
    blank: Option<Vec<u8>>,
    scratch: Vec<u8>,
}

impl<'c> Strip<'c> {
    fn new(canvas: &'c Canvas<'c>, across: Option<Across>, columns: Range<u32>) -> Self {
        let stride = (columns.len() * 3).next_multiple_of(COLUMNS);
        Self {
            canvas,
            across,
            columns,
            stride,
            held: 0..0,
            samples: Vec::new(),
            blank: None,
            scratch: Vec::new(),
        }
    }

    /// Makes these rows and forgets those before them. Ranges only ever move down.
    fn hold(&mut self, rows: Range<u32>) {
        if rows.start >= self.held.end {
            self.samples.clear();
            self.held = rows.start..rows.start;
        }
        let gone = (rows.start - self.held.start) as usize;
        // Moved together only now and then, so that each row is moved a constant number of times.
        if gone > self.held.len() / 2 {
            self.samples.drain(..gone * self.stride);
            self.held.start = rows.start;
        }
        while self.held.end < rows.end {
            let next = self.held.end;
            let last = rows.end.min(next.saturating_add(ROWS as u32));
            // Blank rows come from a store, others in groups without a blank one.
            if self.canvas.is_blank(next) {
                let blank = match self.blank.take() {
                    Some(blank) => blank,
                    None => {
                        let start = self.samples.len();
                        self.make(next..next + 1);
                        self.samples.split_off(start)
                    }
                };
                self.samples.extend_from_slice(&blank);
                self.blank = Some(blank);
                self.held.end += 1;
            } else {
                let count = (next..last).take_while(|row| !self.canvas.is_blank(*row)).count() as u32;
                self.make(next..next + count);
                self.held.end += count;
            }
        }
    }

    /// The samples of one row that is held.
    fn row(&self, row: u32) -> &[u8] {
        &self.rows(row..row + 1)[..self.columns.len() * 3]
    }

    fn rows(&self, rows: Range<u32>) -> &[u8] {
        &self.samples[(rows.start - self.held.start) as usize * self.stride..][..rows.len() * self.stride]
    }

    /// At most [`ROWS`] rows, put behind what there is.
    fn make(&mut self, rows: Range<u32>) {
        let start = self.samples.len();
        self.samples.resize(start + rows.len() * self.stride, 0);
        let made = &mut self.samples[start..];
        let samples = |columns: &Range<u32>| columns.start as usize * 3..columns.end as usize * 3;
        match &mut self.across {
            None => {
                for (row, made) in rows.zip(made.chunks_exact_mut(self.stride)) {
                    let source = &self.canvas.row(row, &mut self.scratch)[samples(&self.columns)];
                    made[..source.len()].copy_from_slice(source);
                }
            }
            Some(across) => {
                let reach = samples(&across.reach());
                for (lane, row) in rows.enumerate() {
                    across.lane(lane, &self.canvas.row(row, &mut self.scratch)[reach.clone()]);
                }
                across.sum(made, self.stride);
            }
        }
    }

    /// One row of the result of the pass over columns.
    fn sum(&mut self, down: &Weights, index: usize, result: &mut [u8]) {
        let (span, weights) = down.span(index);
        self.hold(span.clone());
        let rows = self.rows(span);
        pulp::Arch::new().dispatch(SumDown { rows, stride: self.stride, weights, result });
    }
}

/// One pixel of the result in each of the rows. Written in vectors of eight, which stay in registers.
#[inline(always)]
fn sum_pixels(pixels: &[[u8; ROWS * 3]], weights: &[i32]) -> [u8; ROWS * 3] {
    let (mut first, mut second, mut third) = ([HALF; LANES], [HALF; LANES], [HALF; LANES]);
    for (pixels, weight) in pixels.iter().zip(weights) {
        let [a, b, c] = pixels.as_chunks::<LANES>().0 else { break };
        for lane in 0..LANES {
            first[lane] = first[lane].wrapping_add(weight.wrapping_mul(i32::from(a[lane])));
        }
        for lane in 0..LANES {
            second[lane] = second[lane].wrapping_add(weight.wrapping_mul(i32::from(b[lane])));
        }
        for lane in 0..LANES {
            third[lane] = third[lane].wrapping_add(weight.wrapping_mul(i32::from(c[lane])));
        }
    }
    let mut sums = [0; ROWS * 3];
    for lane in 0..LANES {
        sums[lane] = rounded(first[lane]);
        sums[LANES + lane] = rounded(second[lane]);
        sums[2 * LANES + lane] = rounded(third[lane]);
    }
    sums
}

/// One row of the result from rows of `stride` samples.
#[inline(always)]
fn sum_rows(rows: &[u8], stride: usize, weights: &[i32], result: &mut [u8]) {
    for (block, result) in result.chunks_mut(COLUMNS).enumerate() {
        let mut sums = [HALF; COLUMNS];
        for (row, weight) in rows.chunks_exact(stride).zip(weights) {
            let samples = &row.as_chunks::<COLUMNS>().0[block];
            for (sum, sample) in sums.iter_mut().zip(samples) {
                *sum = sum.wrapping_add(weight.wrapping_mul(i32::from(*sample)));
            }
        }
        let sums = sums.map(rounded);
        result.copy_from_slice(&sums[..result.len()]);
    }
}

#[inline(always)]
fn rounded(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}
