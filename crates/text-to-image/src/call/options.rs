use std::sync::Arc;

use imaging::EncodedImage;
use pool_core::JobOptions;

use crate::noise::NoiseDtype;
use crate::picture::PictureFormat;

/// What a call is told. What is `None` is as the model has it.
#[derive(Clone, Debug)]
pub(crate) struct CallOptions {
    pub(crate) job: JobOptions,
    pub(crate) wait: bool,
    pub(crate) negative: Option<Arc<str>>,
    pub(crate) steps: Option<usize>,
    pub(crate) guidance: Option<f32>,
    pub(crate) seed: Option<u64>,
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) pictures: usize,
    pub(crate) scheduler: Option<String>,
    pub(crate) noise: Option<NoiseDtype>,
    pub(crate) format: PictureFormat,
    pub(crate) previews: bool,
    pub(crate) image: Option<EncodedImage>,
    pub(crate) mask: Option<EncodedImage>,
    pub(crate) strength: Option<f64>,
}

impl Default for CallOptions {
    fn default() -> Self {
        Self {
            job: JobOptions::default(),
            wait: false,
            negative: None,
            steps: None,
            guidance: None,
            seed: None,
            size: None,
            pictures: 1,
            scheduler: None,
            noise: None,
            format: PictureFormat::default(),
            previews: false,
            image: None,
            mask: None,
            strength: None,
        }
    }
}
