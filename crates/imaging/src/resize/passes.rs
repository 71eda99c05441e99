//! The two passes: rows, then columns, with 8 bits between them.

use std::ops::Range;

use super::weights::{PRECISION_BITS, Weights};
use super::{Canvas, Filter, Window};
use crate::Image;

/// Rows that the first pass works on together: three samples each are three vectors of eight.
const ROWS: usize = 8;
/// Samples of a column that the second pass works on together: eight vectors of eight.
const COLUMNS: usize = 64;
/// One half, which rounds.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

pub(super) fn resized(canvas: &Canvas<'_>, size: (u32, u32), window: Window, filter: Filter) -> Image {
    let (width, height) = canvas.size();
    let columns = window.left..window.left + window.width;
    let rows = window.top..window.top + window.height;
    // A pass that would change nothing is left out.
    let across = (size.0 != width).then(|| Weights::new(filter, width, size.0, columns.clone()));
    let down = (size.1 != height).then(|| Weights::new(filter, height, size.1, rows.clone()));
    let mut strip = Strip::new(canvas, across, columns);
    let mut result = Image::filled(window.width, window.height, [0; 3]);
    match down {
        None => {
            for (y, row) in rows.enumerate() {
                strip.hold(row..row + 1);
                result.row_mut(y as u32).copy_from_slice(strip.row(row));
            }
        }
        Some(down) => {
            for y in 0..down.len() {
                let (span, weights) = down.span(y);
                strip.hold(span.clone());
                let held = strip.rows(span);
                let row = result.row_mut(y as u32);
                let stride = strip.stride;
                pulp::Arch::new().dispatch(|| sum_rows(held, stride, weights, row));
            }
        }
    }
    result
}

/// What the first pass has made of some rows that follow each other.
struct Strip<'c> {
    canvas: &'c Canvas<'c>,
    across: Option<Weights>,
    columns: Range<u32>,
    /// Samples of a row, filled up to whole blocks.
    stride: usize,
    held: Range<u32>,
    samples: Vec<u8>,
    /// What becomes of a row without anything of the picture.
    blank: Option<Vec<u8>>,
    scratch: Vec<u8>,
    turned: Vec<[u8; ROWS * 3]>,
}

impl<'c> Strip<'c> {
    fn new(canvas: &'c Canvas<'c>, across: Option<Weights>, columns: Range<u32>) -> Self {
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
            turned: Vec::new(),
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

    /// The first pass over at most [`ROWS`] rows, put behind what there is.
    fn make(&mut self, rows: Range<u32>) {
        let start = self.samples.len();
        self.samples.resize(start + rows.len() * self.stride, 0);
        let Some(weights) = &self.across else {
            let wanted = self.columns.start as usize * 3..self.columns.end as usize * 3;
            for (row, made) in rows.zip(self.samples[start..].chunks_exact_mut(self.stride)) {
                let source = &self.canvas.row(row, &mut self.scratch)[wanted.clone()];
                made[..source.len()].copy_from_slice(source);
            }
            return;
        };
        // Pixels of the rows beside each other, so that one weight meets them all at once.
        let reach = weights.reach();
        self.turned.resize(reach.len(), [0; ROWS * 3]);
        for (lane, row) in rows.enumerate() {
            let source = self.canvas.row(row, &mut self.scratch).as_chunks::<3>().0;
            let source = &source[reach.start as usize..reach.end as usize];
            for (turned, pixel) in self.turned.iter_mut().zip(source) {
                turned[lane * 3..lane * 3 + 3].copy_from_slice(pixel);
            }
        }
        let (turned, made, stride) = (&self.turned, &mut self.samples[start..], self.stride);
        pulp::Arch::new().dispatch(|| {
            for column in 0..weights.len() {
                let (span, weights) = weights.span(column);
                let pixels = &turned[(span.start - reach.start) as usize..][..weights.len()];
                let sums = sum_pixels(pixels, weights);
                for (made, sum) in made.chunks_exact_mut(stride).zip(sums.as_chunks::<3>().0) {
                    made[column * 3..column * 3 + 3].copy_from_slice(sum);
                }
            }
        });
    }
}

/// One pixel of the result in each of the rows.
#[inline(always)]
fn sum_pixels(pixels: &[[u8; ROWS * 3]], weights: &[i32]) -> [u8; ROWS * 3] {
    let mut sums = [HALF; ROWS * 3];
    for (pixels, weight) in pixels.iter().zip(weights) {
        for (sum, sample) in sums.iter_mut().zip(pixels) {
            *sum = sum.wrapping_add(weight.wrapping_mul(i32::from(*sample)));
        }
    }
    sums.map(rounded)
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
