//! Samples on their way through a UNet.

use std::sync::Arc;

use crate::diffusion::transformer::TransformerRun;
use crate::diffusion::{ConvRun, MapSize, NormedRun, ResnetRun};

/// Samples on their way through a UNet; all state is here. [`Unet::begin`] makes one, [`Unet::advance`] brings it on.
///
/// [`Unet::begin`]: crate::Unet::begin
/// [`Unet::advance`]: crate::Unet::advance
#[derive(Debug)]
pub struct UnetPass {
    /// Their numbers and contexts go where they are needed with the first step.
    pub(super) samples: Vec<Sample>,
    /// Of all samples.
    pub(super) size: MapSize,
    /// What the UNet does next.
    pub(super) step: usize,
    /// That step, where it has begun.
    pub(super) work: Work,
    pub(super) maps: Maps,
    /// What the way up wants of the way down, the last first.
    pub(super) kept: Vec<Maps>,
    /// For each sample the vector that every residual block gets.
    pub(super) times: Vec<f32>,
    /// All contexts, one behind the other, and the tokens of each.
    pub(super) contexts: Vec<f32>,
    pub(super) tokens: Vec<usize>,
    /// Channel by channel.
    outputs: Vec<Vec<f32>>,
}

/// A sample before the first step.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) numbers: Vec<f32>,
    pub(super) timestep: f32,
    pub(super) context: Vec<f32>,
    pub(super) added: Option<(Vec<f32>, Vec<f32>)>,
    pub(super) guidance: Option<Vec<f32>>,
}

/// Maps of all samples: pixel by pixel.
#[derive(Clone, Debug)]
pub(super) struct Maps {
    pub(super) numbers: Arc<Vec<f32>>,
    pub(super) size: MapSize,
}

impl Maps {
    pub(super) fn none(size: MapSize) -> Self {
        Self { numbers: Arc::default(), size }
    }
}

/// A step that has begun.
#[derive(Debug)]
pub(super) enum Work {
    None,
    Block(ResnetRun),
    Transformer(TransformerRun),
    Resample(ConvRun),
    Last { run: NormedRun, outputs: Vec<f32> },
}

impl UnetPass {
    pub(super) fn empty() -> Self {
        Self::new(Vec::new(), MapSize { maps: 0, height: 0, width: 0 })
    }

    pub(super) fn new(samples: Vec<Sample>, size: MapSize) -> Self {
        Self {
            samples,
            size,
            step: 0,
            work: Work::None,
            maps: Maps::none(size),
            kept: Vec::new(),
            times: Vec::new(),
            contexts: Vec::new(),
            tokens: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// How many samples there are.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.samples.len()
    }

    /// What a sample has become, channel by channel: `out_channels` times height times width numbers. Nothing before the pass
    /// is done.
    #[must_use]
    pub fn output(&self, sample: usize) -> &[f32] {
        self.outputs.get(sample).map_or(&[], Vec::as_slice)
    }

    /// The maps, for a step that makes something else of them; a copy of those that are kept.
    pub(super) fn take(&mut self) -> Vec<f32> {
        owned(std::mem::take(&mut self.maps.numbers))
    }

    /// What was kept last.
    pub(super) fn take_kept(&mut self) -> Option<Vec<f32>> {
        self.kept.pop().map(|maps| owned(maps.numbers))
    }

    /// Takes what a step has made of the maps.
    pub(super) fn finish(&mut self, work: Work) {
        match work {
            Work::None => {}
            Work::Block(run) => self.maps.numbers = Arc::new(run.into_output()),
            Work::Transformer(run) => self.maps.numbers = Arc::new(run.into_output()),
            Work::Resample(run) => {
                let (numbers, size) = run.into_output();
                self.maps = Maps { numbers: Arc::new(numbers), size };
            }
            Work::Last { outputs, .. } => {
                self.maps = Maps::none(self.size);
                self.outputs = planes(&outputs, self.size);
            }
        }
    }
}

fn owned(numbers: Arc<Vec<f32>>) -> Vec<f32> {
    Arc::try_unwrap(numbers).unwrap_or_else(|kept| kept.to_vec())
}

/// Maps, each channel by channel.
fn planes(rows: &[f32], size: MapSize) -> Vec<Vec<f32>> {
    let positions = size.height * size.width;
    let channels = rows.len() / size.positions();
    let planes = |rows: &[f32]| {
        let plane = |channel: usize| rows.iter().skip(channel).step_by(channels).copied();
        (0..channels).flat_map(plane).collect()
    };
    rows.chunks_exact(channels * positions).map(planes).collect()
}
