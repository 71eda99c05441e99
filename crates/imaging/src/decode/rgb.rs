//! Samples of any colour type to red, green and blue of 8 bits.

use image::ColorType;

/// Three samples a pixel, alpha composited on white; `None` for floating-point samples.
pub(super) fn from_samples(colour: ColorType, mut samples: Vec<u8>) -> Option<Vec<u8>> {
    Some(match colour {
        ColorType::Rgb8 => samples,
        ColorType::L8 => grey(&samples),
        ColorType::La8 => grey_alpha(&samples),
        ColorType::Rgba8 => colour_alpha(&samples),
        ColorType::Rgb16 => samples.as_chunks().0.iter().map(high).collect(),
        ColorType::L16 => grey(narrowed(&mut samples)),
        ColorType::La16 => grey_alpha(narrowed(&mut samples)),
        ColorType::Rgba16 => colour_alpha(narrowed(&mut samples)),
        _ => return None,
    })
}

/// White where samples are transparent and black where they are opaque; `None` where all are opaque, or none says it.
pub(super) fn transparency(colour: ColorType, samples: &[u8]) -> Option<Vec<u8>> {
    let (size, alpha): (usize, fn(&[u8]) -> u8) = match colour {
        ColorType::La8 => (2, |pixel| pixel[1]),
        ColorType::Rgba8 => (4, |pixel| pixel[3]),
        ColorType::La16 => (4, |pixel| high(&[pixel[2], pixel[3]])),
        ColorType::Rgba16 => (8, |pixel| high(&[pixel[6], pixel[7]])),
        _ => return None,
    };
    let alphas = samples.chunks_exact(size).map(alpha);
    let opaque = alphas.clone().all(|alpha| alpha == u8::MAX);
    (!opaque).then(|| alphas.flat_map(|alpha| [u8::MAX - alpha; 3]).collect())
}

/// The high bytes of 16-bit samples, moved to the front: a copy would be memory for nothing.
fn narrowed(samples: &mut [u8]) -> &[u8] {
    let count = samples.len() / 2;
    for place in 0..count {
        samples[place] = high(&[samples[2 * place], samples[2 * place + 1]]);
    }
    &samples[..count]
}

/// 16-bit samples come in this machine's order.
fn high(pair: &[u8; 2]) -> u8 {
    (u16::from_ne_bytes(*pair) >> 8) as u8
}

pub(super) fn grey(samples: &[u8]) -> Vec<u8> {
    samples.iter().flat_map(|level| [*level; 3]).collect()
}

fn grey_alpha(samples: &[u8]) -> Vec<u8> {
    samples.as_chunks::<2>().0.iter().flat_map(|[level, alpha]| [on_white(*level, *alpha); 3]).collect()
}

fn colour_alpha(samples: &[u8]) -> Vec<u8> {
    let pixels = samples.as_chunks::<4>().0.iter();
    pixels
        .flat_map(|[red, green, blue, alpha]| [*red, *green, *blue].map(|level| on_white(level, *alpha)))
        .collect()
}

/// A level on white, rounded as Pillow's `alpha_composite` does where what lies below is opaque.
fn on_white(level: u8, alpha: u8) -> u8 {
    let alpha = u32::from(alpha);
    let sum = (u32::from(level) * alpha + 255 * (255 - alpha) + 0x80) << 7;
    (((sum >> 8) + sum) >> 15) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compositing_is_exact_at_its_ends_and_within_a_half_between() {
        for level in 0..=255_u8 {
            assert_eq!((on_white(level, 255), on_white(level, 0)), (level, 255));
            for alpha in 0..=255_u8 {
                let (exact, alpha_share) = (f64::from(on_white(level, alpha)), f64::from(alpha) / 255.0);
                let wanted = f64::from(level) * alpha_share + 255.0 * (1.0 - alpha_share);
                assert!((exact - wanted).abs() <= 0.5 + 1e-9, "{level} at {alpha}: {exact} for {wanted}");
            }
        }
    }

    #[test]
    fn transparency_is_seen_where_there_is_any() {
        let white_and_black = Some(vec![255, 255, 255, 0, 0, 0]);
        assert_eq!(transparency(ColorType::La8, &[9, 0, 9, 255]), white_and_black);
        assert_eq!(transparency(ColorType::Rgba8, &[9, 9, 9, 0, 9, 9, 9, 255]), white_and_black);
        let wide = |levels: &[u16]| levels.iter().flat_map(|level| level.to_ne_bytes()).collect::<Vec<u8>>();
        assert_eq!(transparency(ColorType::La16, &wide(&[9, 0, 9, 0xffff])), white_and_black);
        assert_eq!(transparency(ColorType::Rgba16, &wide(&[9, 9, 9, 0, 9, 9, 9, 0xffff])), white_and_black);
        assert_eq!(transparency(ColorType::Rgba8, &[9, 9, 9, 255, 0, 0, 0, 255]), None);
        assert_eq!(transparency(ColorType::Rgb8, &[9; 6]), None);
    }

    #[test]
    fn sixteen_bits_keep_their_high_byte() {
        let samples =
            |levels: &[u16]| levels.iter().flat_map(|level| level.to_ne_bytes()).collect::<Vec<u8>>();
        assert_eq!(from_samples(ColorType::L16, samples(&[0x12ff])), Some(vec![0x12; 3]));
        assert_eq!(
            from_samples(ColorType::Rgb16, samples(&[0x0100, 0xffff, 0x80ff])),
            Some(vec![1, 255, 128])
        );
        assert_eq!(from_samples(ColorType::La16, samples(&[0x1200, 0x00ff])), Some(vec![255; 3]));
        assert_eq!(
            from_samples(ColorType::Rgba16, samples(&[0x0100, 0x0200, 0x03ff, 0xff00, 4, 5, 6, 7])),
            Some(vec![1, 2, 3, 255, 255, 255])
        );
        assert_eq!(from_samples(ColorType::Rgb32F, vec![0; 12]), None);
    }
}
