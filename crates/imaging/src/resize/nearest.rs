//! The nearest pixel. Pillow adds the step up from column to column, roundings and all, and so does this.

use super::{Canvas, Window};
use crate::Image;

pub(super) fn resized(canvas: &Canvas<'_>, size: (u32, u32), window: Window) -> Image {
    let (width, height) = canvas.size();
    let columns = places(width, size.0, window.left, window.width);
    let rows = places(height, size.1, window.top, window.height);
    let mut result = Image::filled(window.width, window.height, [0; 3]);
    let mut scratch = Vec::new();
    for (y, from) in (0..window.height).zip(rows) {
        // Where the sum of steps has left the picture, Pillow leaves black.
        let Some(from) = from else { continue };
        let source = canvas.row(from, &mut scratch).as_chunks::<3>().0;
        for (pixel, from) in result.row_mut(y).as_chunks_mut::<3>().0.iter_mut().zip(&columns) {
            *pixel = from.map_or([0; 3], |from| source[from as usize]);
        }
    }
    result
}

/// Where each place of the window is taken from.
fn places(from: u32, to: u32, start: u32, length: u32) -> Vec<Option<u32>> {
    let step = f64::from(from) / f64::from(to);
    let mut place = step * 0.5;
    let mut places = Vec::with_capacity(length as usize);
    for index in 0..start + length {
        if index >= start {
            places.push(Some(place as u32).filter(|place| *place < from));
        }
        place += step;
    }
    places
}
