//! Which pixels a pixel of the result is made of, and how much of each.

use std::f64::consts::PI;
use std::ops::Range;

use super::Filter;

/// Weights are fractions of 2 to this power, so that a sum of samples times weights fits an `i32` with room for
/// overshoot.
pub(super) const PRECISION_BITS: u32 = 32 - 8 - 2;

impl Filter {
    /// How far it reaches, in pixels, to either side.
    fn support(self) -> f64 {
        match self {
            Self::Nearest | Self::Box => 0.5,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos3 => 3.0,
        }
    }

    fn at(self, x: f64) -> f64 {
        let distance = x.abs();
        match self {
            Self::Nearest | Self::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - distance).max(0.0),
            Self::Hamming if distance == 0.0 => 1.0,
            Self::Hamming if distance >= 1.0 => 0.0,
            Self::Hamming => {
                // The two constants are single in Pillow.
                let x = distance * PI;
                x.sin() / x * (f64::from(0.54_f32) + f64::from(0.46_f32) * x.cos())
            }
            Self::Bicubic => {
                const A: f64 = -0.5;
                if distance < 1.0 {
                    ((A + 2.0) * distance - (A + 3.0)) * distance * distance + 1.0
                } else if distance < 2.0 {
                    (((distance - 5.0) * distance + 8.0) * distance - 4.0) * A
                } else {
                    0.0
                }
            }
            Self::Lanczos3 if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos3 => 0.0,
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) }
}

/// The weights of a range of pixels of the result, along one axis.
#[derive(Debug)]
pub(super) struct Weights {
    spans: Vec<Range<u32>>,
    /// As many for each span as the widest has pixels.
    weights: Vec<i32>,
    stride: usize,
}

impl Weights {
    /// For the pixels `wanted` of `to`, made from `from` pixels.
    pub(super) fn new(filter: Filter, from: u32, to: u32, wanted: Range<u32>) -> Self {
        let scale = f64::from(from) / f64::from(to);
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let stride = support.ceil() as usize * 2 + 1;
        let mut spans = Vec::with_capacity(wanted.len());
        let mut weights = vec![0; stride * wanted.len()];
        let mut exact = Vec::with_capacity(stride);
        for (index, weights) in wanted.zip(weights.chunks_exact_mut(stride)) {
            let centre = (f64::from(index) + 0.5) * scale;
            let start = (centre - support + 0.5).max(0.0) as u32;
            let end = ((centre + support + 0.5) as u32).min(from);
            exact.clear();
            exact.extend((start..end).map(|pixel| {
                // The quotient in Pillow is a product with the reciprocal.
                filter.at((f64::from(pixel) - centre + 0.5) * (1.0 / stretch))
            }));
            let sum: f64 = exact.iter().sum();
            for (weight, exact) in weights.iter_mut().zip(&exact) {
                let exact = if sum == 0.0 { *exact } else { exact / sum };
                *weight = (exact * f64::from(1 << PRECISION_BITS) + 0.5_f64.copysign(exact)) as i32;
            }
            spans.push(start..end);
        }
        Self { spans, weights, stride }
    }

    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// All pixels that are needed.
    pub(super) fn reach(&self) -> Range<u32> {
        let start = self.spans.first().map_or(0, |span| span.start);
        start..self.spans.last().map_or(start, |span| span.end)
    }

    /// The pixels that one of the result is made of, and their weights.
    pub(super) fn span(&self, index: usize) -> (Range<u32>, &[i32]) {
        let span = self.spans[index].clone();
        let weights = &self.weights[index * self.stride..][..span.len()];
        (span, weights)
    }
}
