use candle_core::{Result, Tensor};
use candle_nn::ops::softmax_last_dim;

/// Attention weights of at most so many numbers are held at a time: 16 MB, so that they stay near the processor.
const WEIGHTS_AT_ONCE: usize = 4 << 20;

/// So many sequences of the same length, one after another in the packed rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// The first row.
    pub(super) start: usize,
    pub(super) sequences: usize,
    pub(super) length: usize,
}

impl Run {
    /// The runs of sequences of these lengths.
    pub(super) fn of(lengths: &[usize], heads: usize) -> Vec<Self> {
        let mut runs: Vec<Self> = Vec::new();
        let mut start = 0;
        for &length in lengths {
            let most = (WEIGHTS_AT_ONCE / (heads * length * length).max(1)).max(1);
            match runs.last_mut() {
                Some(run) if run.length == length && run.sequences < most => run.sequences += 1,
                _ => runs.push(Self { start, sequences: 1, length }),
            }
            start += length;
        }
        runs
    }
}

/// Self-attention within each sequence, without padding: `qkv` holds query, key and value of each token side by side.
pub(super) fn attend(qkv: &Tensor, runs: &[Run], heads: usize) -> Result<Tensor> {
    let hidden = qkv.dim(1)? / 3;
    let size = hidden / heads;
    let scale = 1.0 / (size as f64).sqrt();
    let mut contexts = Vec::with_capacity(runs.len());
    for run in runs {
        let Run { start, sequences, length } = *run;
        let part = |index: usize| {
            qkv.narrow(0, start, sequences * length)?
                .narrow(1, index * hidden, hidden)?
                .reshape((sequences, length, heads, size))?
                .transpose(1, 2)?
                .contiguous()
        };
        let query = (part(0)? * scale)?;
        let scores = query.matmul(&part(1)?.t()?)?;
        let context = softmax_last_dim(&scores)?.matmul(&part(2)?)?;
        contexts.push(context.transpose(1, 2)?.reshape((sequences * length, hidden))?);
    }
    match contexts.as_slice() {
        [one] => Ok(one.clone()),
        several => Tensor::cat(several, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_lengths_run_together() {
        let runs = Run::of(&[2, 2, 3, 2], 4);
        let run = |start, sequences, length| Run { start, sequences, length };
        assert_eq!(runs, [run(0, 2, 2), run(4, 1, 3), run(7, 1, 2)]);
        let long = Run::of(&[512; 3], 12);
        assert_eq!(long, [run(0, 1, 512), run(512, 1, 512), run(1024, 1, 512)]);
        assert_eq!(Run::of(&[], 4), []);
    }
}
