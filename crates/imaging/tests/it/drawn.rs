//! Pictures by formula, the same as the fixtures' script draws.

use imaging::Image;

pub(crate) fn drawn(width: u32, height: u32) -> Image {
    let mut samples = Vec::with_capacity(width as usize * height as usize * 3);
    for y in 0..u64::from(height) {
        for x in 0..u64::from(width) {
            for channel in 0..3 {
                let waves = x * 7 + y * 13 + channel * 59 + ((x * y) >> 4) + ((x * x) >> 7);
                samples.push(match (x / 5 + y / 3 + channel) % 7 {
                    0 => 0,
                    3 => 255,
                    _ => (waves & 255) as u8,
                });
            }
        }
    }
    Image::new(width, height, samples).unwrap()
}
