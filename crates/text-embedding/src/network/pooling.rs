//! From token vectors to one, as sentence-transformers' `Pooling` does.

use crate::info::Pooling;

/// Pools `states`, one row of `hidden` a token, by each mode in turn. The first `skipped` rows, a prompt's, are left out.
pub(crate) fn pool(states: &[f32], hidden: usize, skipped: usize, modes: &[Pooling]) -> Vec<f32> {
    let rows: Vec<&[f32]> = states.chunks_exact(hidden).collect();
    let mut pooled = Vec::with_capacity(hidden * modes.len());
    for mode in modes {
        pooled.extend(pool_by(*mode, &rows, hidden, skipped));
    }
    pooled
}

fn pool_by(mode: Pooling, rows: &[&[f32]], hidden: usize, skipped: usize) -> Vec<f32> {
    let kept = rows.get(skipped..).unwrap_or_default();
    let single = |row: Option<&&[f32]>| row.map_or_else(|| vec![0.0; hidden], |row| row.to_vec());
    let ones = std::iter::repeat(1.0);
    let count = kept.len() as f64;
    match mode {
        // Where a prompt takes the whole input, the reference falls back to the very first token.
        Pooling::Cls => single(kept.first().or(rows.first())),
        Pooling::LastToken => single(kept.last()),
        Pooling::Mean => sum(kept, hidden, ones, count),
        Pooling::MeanSqrtLen => sum(kept, hidden, ones, count.sqrt()),
        // A token counts by its position in the whole input, from 1.
        Pooling::WeightedMean => {
            let positions = (skipped + 1..=rows.len()).map(|position| position as f64);
            sum(kept, hidden, positions.clone(), positions.sum())
        }
        Pooling::Max => {
            let mut largest = vec![f32::NEG_INFINITY; hidden];
            for row in kept {
                largest.iter_mut().zip(*row).for_each(|(largest, value)| *largest = largest.max(*value));
            }
            largest
        }
    }
}

/// The weighted sum of rows over `divisor`. Taken in f64: no slower beside the encoder, and as good as exact.
fn sum(rows: &[&[f32]], hidden: usize, weights: impl Iterator<Item = f64>, divisor: f64) -> Vec<f32> {
    let mut total = vec![0.0_f64; hidden];
    for (row, weight) in rows.iter().zip(weights) {
        total.iter_mut().zip(*row).for_each(|(total, value)| *total += weight * f64::from(*value));
    }
    total.into_iter().map(|total| (total / divisor.max(1e-9)) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [f32; 6] = [1.0, -1.0, 2.0, 5.0, 6.0, 2.0];

    #[test]
    fn every_mode_on_three_tokens() {
        let by = |mode| pool(&STATES, 2, 0, &[mode]);
        assert_eq!(by(Pooling::Mean), [3.0, 2.0]);
        assert_eq!(by(Pooling::Cls), [1.0, -1.0]);
        assert_eq!(by(Pooling::LastToken), [6.0, 2.0]);
        assert_eq!(by(Pooling::Max), [6.0, 5.0]);
        let root = 3.0_f64.sqrt();
        assert_eq!(by(Pooling::MeanSqrtLen), [(9.0 / root) as f32, (6.0 / root) as f32]);
        assert_eq!(by(Pooling::WeightedMean), [23.0 / 6.0, 15.0 / 6.0]);
        assert_eq!(pool(&STATES, 2, 0, &[Pooling::Cls, Pooling::Mean]), [1.0, -1.0, 3.0, 2.0]);
    }

    #[test]
    fn a_prompt_is_left_out_but_keeps_its_positions() {
        assert_eq!(pool(&STATES, 2, 1, &[Pooling::Mean]), [4.0, 3.5]);
        assert_eq!(pool(&STATES, 2, 1, &[Pooling::Cls]), [2.0, 5.0]);
        assert_eq!(pool(&STATES, 2, 1, &[Pooling::WeightedMean]), [22.0 / 5.0, 16.0 / 5.0]);
        assert_eq!(pool(&STATES, 2, 9, &[Pooling::Mean, Pooling::LastToken]), [0.0; 4]);
    }
}
