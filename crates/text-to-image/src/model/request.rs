use std::sync::Arc;

use imaging::EncodedImage;
use pool_core::{Fingerprint, Fingerprinter};

use super::memory::Shape;
use super::seed;
use crate::call::CallOptions;
use crate::checkpoint::Checkpoint;
use crate::drawing::Parameters;
use crate::error::Error;
use crate::info::ModelInfo;
use crate::noise::NoiseDtype;
use crate::picture::PictureFormat;
use crate::prompt::LONGEST as LONGEST_PROMPT;
use crate::scheduler::{Scheduler, SchedulerConfig, SchedulerError};

/// Pictures of a job, at most: all are on their way together, and none is there before the last.
const MOST_PICTURES: usize = 16;
/// Pixels of a picture, at most: beyond it, a step takes minutes and models draw nothing sensible.
const MOST_PIXELS: u64 = 2048 * 2048;
/// Guidance beyond it can only be a mistake.
const MOST_GUIDANCE: f32 = 1000.0;
/// How far image-to-image goes where nothing is said, as diffusers has it.
const STRENGTH: f64 = 0.8;
/// Requests with more bytes are not compared with others: hashing them on a runtime thread would take too long.
const LONGEST_COMPARED: usize = 16 << 10;

/// What is asked of the model, checked and with everything decided that it depends on.
#[derive(Clone, Debug)]
pub struct ImagineRequest {
    pub(super) parameters: Parameters,
    pub(super) pictures: usize,
    pub(super) noise: NoiseDtype,
    pub(super) format: PictureFormat,
    pub(super) previews: bool,
    pub(super) edit: Option<Edit>,
    scheduler: SchedulerConfig,
    /// Whether guidance takes a second half of each pass.
    pub(super) guided: bool,
    tokens: u64,
    bytes: u64,
    fingerprint: Option<Fingerprint>,
}

/// The picture to begin with.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    pub(super) image: EncodedImage,
    pub(super) mask: Option<EncodedImage>,
    pub(super) strength: f64,
}

impl ImagineRequest {
    /// Checks what a call says against the model, and decides what it leaves open. Cheap.
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        info: &ModelInfo,
        prompt: Arc<str>,
        options: &CallOptions,
    ) -> Result<Self, Error> {
        check_prompt("prompt", &prompt)?;
        options.negative.as_deref().map_or(Ok(()), |prompt| check_prompt("negative prompt", prompt))?;
        let pictures = options.pictures;
        if !(1..=MOST_PICTURES).contains(&pictures) {
            return Err(Error::invalid(format!("pictures is {pictures}, it must be 1 to {MOST_PICTURES}")));
        }
        let guidance = options.guidance.unwrap_or(info.guidance);
        if !(guidance.is_finite() && guidance.abs() <= MOST_GUIDANCE) {
            return Err(Error::invalid(format!(
                "guidance is {guidance}, it must be a number from -{MOST_GUIDANCE} to {MOST_GUIDANCE}; 1 or less is none"
            )));
        }
        if let PictureFormat::Jpeg { quality } = options.format
            && !(1..=100).contains(&quality)
        {
            return Err(Error::invalid(format!("quality is {quality}, it must be 1 to 100")));
        }
        if info.distilled_guidance && options.negative.is_some() {
            return Err(Error::invalid(format!(
                "negative prompts are of no use to model {}, which takes guidance as a number: leave it out",
                info.model
            )));
        }
        let edit = edit(info, options)?;
        let (width, height) = size(info, options, edit.as_ref())?;
        let writable = options.format.encoding(None).check(width, height);
        writable.map_err(|error| Error::invalid(format!("size is {width}x{height}: {error}")))?;
        let steps = options.steps.unwrap_or(info.steps);
        let (name, config) = scheduler(checkpoint, info, options)?;
        let strength = edit.as_ref().map(|edit| edit.strength);
        let scheduler = begin(checkpoint, &config, steps, strength);
        let evaluations = scheduler.map_err(|error| Error::invalid(error.to_string()))?.timesteps().len();
        let guided = guidance > 1.0 && !info.distilled_guidance;
        let parameters = Parameters {
            prompt,
            // Without guidance it is not read.
            negative: options.negative.clone().filter(|_| guided),
            steps,
            guidance,
            seed: options.seed.unwrap_or_else(seed::draw),
            width,
            height,
            scheduler: name,
            strength,
        };
        let shape = Shape { width, height, pictures, halves: 1 + usize::from(guided), edit: edit.is_some() };
        let mut request = Self {
            pictures,
            noise: options.noise.unwrap_or_else(|| checkpoint.stored_dtype()),
            format: options.format,
            previews: options.previews,
            tokens: shape.tokens(info.multiple, evaluations),
            bytes: 0,
            fingerprint: None,
            guided,
            scheduler: config,
            parameters,
            edit,
        };
        let input = request.input_bytes();
        let decoding = request.edit.as_ref().map_or(0, Edit::decoding_bytes);
        request.bytes = (input as u64)
            .saturating_add(decoding)
            .saturating_add(shape.held_bytes(checkpoint))
            .saturating_add(shape.excess_bytes(checkpoint));
        // Where the seed is drawn, no other request is the same.
        if input <= LONGEST_COMPARED && options.seed.is_some() {
            request.fingerprint = Some(request.content());
        }
        Ok(request)
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            width: self.parameters.width,
            height: self.parameters.height,
            pictures: self.pictures,
            halves: 1 + usize::from(self.guided),
            edit: self.edit.is_some(),
        }
    }

    /// Its way from noise to a picture, at its beginning.
    pub(super) fn scheduler(&self, checkpoint: &Checkpoint) -> Result<Scheduler, SchedulerError> {
        begin(checkpoint, &self.scheduler, self.parameters.steps, self.parameters.strength)
    }

    /// Latent positions that are computed for it.
    pub(super) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Memory it takes until it has ended, beyond the model's working set.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }

    pub(super) fn content(&self) -> Fingerprint {
        let Parameters { prompt, negative, steps, guidance, seed, width, height, scheduler, strength } =
            &self.parameters;
        let mut fingerprint = Fingerprinter::new();
        fingerprint.add(&(prompt, negative, steps, guidance.to_bits(), seed, width, height, scheduler));
        fingerprint.add(&(
            strength.map(f64::to_bits),
            self.pictures,
            self.noise as u8,
            self.format,
            self.previews,
        ));
        if let Some(edit) = &self.edit {
            fingerprint.add(&(edit.image.bytes(), edit.mask.as_ref().map(EncodedImage::bytes)));
        }
        fingerprint.finish()
    }

    fn input_bytes(&self) -> usize {
        let texts =
            self.parameters.prompt.len() + self.parameters.negative.as_ref().map_or(0, |text| text.len());
        let pictures = self.edit.as_ref().map_or(0, |edit| {
            edit.image.bytes().len() + edit.mask.as_ref().map_or(0, |mask| mask.bytes().len())
        });
        texts + pictures
    }
}

impl Edit {
    /// What decoding its pictures takes beyond the working set's share.
    fn decoding_bytes(&self) -> u64 {
        self.image.charged_bytes() + self.mask.as_ref().map_or(0, EncodedImage::charged_bytes)
    }
}

fn check_prompt(which: &str, prompt: &str) -> Result<(), Error> {
    match prompt.len() {
        0..=LONGEST_PROMPT => Ok(()),
        bytes => Err(Error::invalid(format!(
            "{which} has {bytes} bytes, and at most {LONGEST_PROMPT} are read: shorten it"
        ))),
    }
}

/// The picture to begin with, where there is one, as far as it can be checked without decoding it.
fn edit(info: &ModelInfo, options: &CallOptions) -> Result<Option<Edit>, Error> {
    let Some(image) = options.image.clone() else {
        let alone = [("mask", options.mask.is_some()), ("strength", options.strength.is_some())];
        return match alone.into_iter().find(|(_, given)| *given) {
            Some((what, _)) => {
                Err(Error::invalid(format!("{what} is given without a picture to begin with")))
            }
            None if info.inpainting => Err(Error::invalid(format!(
                "model {} fills in what a mask leaves out: give it a picture and a mask",
                info.model
            ))),
            None => Ok(None),
        };
    };
    let mask = options.mask.clone();
    if info.inpainting && mask.is_none() {
        let model = &info.model;
        return Err(Error::invalid(format!(
            "model {model} fills in what a mask leaves out: give it a mask, too"
        )));
    }
    image.header().map_err(|error| Error::invalid(format!("image: {error}")))?;
    if let Some(mask) = &mask {
        mask.header().map_err(|error| Error::invalid(format!("mask: {error}")))?;
    }
    let strength = options.strength.unwrap_or(if mask.is_some() { 1.0 } else { STRENGTH });
    match strength > 0.0 && strength <= 1.0 {
        true => Ok(Some(Edit { image, mask, strength })),
        false => {
            Err(Error::invalid(format!("strength is {strength}, it must be a number above 0 and at most 1")))
        }
    }
}

/// Pixels a row, and rows.
fn size(info: &ModelInfo, options: &CallOptions, edit: Option<&Edit>) -> Result<(u32, u32), Error> {
    let multiple = info.multiple;
    let (width, height) = match (options.size, edit) {
        (Some(size), _) => size,
        (None, None) => info.size,
        (None, Some(edit)) => {
            let header = edit.image.header().map_err(|error| Error::invalid(error.to_string()))?;
            let down = |side: u32| side / multiple * multiple;
            if down(header.width) == 0 || down(header.height) == 0 {
                return Err(Error::invalid(format!(
                    "image has {}x{} pixels, and sides must have at least {multiple}: enlarge it, or say a size",
                    header.width, header.height
                )));
            }
            (down(header.width), down(header.height))
        }
    };
    if width == 0 || height == 0 || !width.is_multiple_of(multiple) || !height.is_multiple_of(multiple) {
        let near = |side: u32| side.saturating_add(multiple / 2).max(multiple) / multiple * multiple;
        return Err(Error::invalid(format!(
            "size is {width}x{height}, sides must be multiples of {multiple}: {}x{} would do",
            near(width),
            near(height)
        )));
    }
    let pixels = u64::from(width) * u64::from(height);
    match pixels <= MOST_PIXELS {
        true => Ok((width, height)),
        false => Err(Error::invalid(format!(
            "size is {width}x{height}, {pixels} pixels, and at most {MOST_PIXELS} are drawn: choose a smaller one"
        ))),
    }
}

fn begin(
    checkpoint: &Checkpoint,
    config: &SchedulerConfig,
    steps: usize,
    strength: Option<f64>,
) -> Result<Scheduler, SchedulerError> {
    match strength {
        Some(strength) => checkpoint.scheduler_from(config, steps, strength),
        None => Scheduler::new(config, steps),
    }
}

/// The scheduler's name, and its configuration.
fn scheduler(
    checkpoint: &Checkpoint,
    info: &ModelInfo,
    options: &CallOptions,
) -> Result<(String, SchedulerConfig), Error> {
    match &options.scheduler {
        None => Ok((info.scheduler.clone(), checkpoint.scheduler.clone())),
        Some(name) => {
            let config = checkpoint.scheduler.with_algorithm(name);
            let config = config.map_err(|error| Error::invalid(error.to_string()))?;
            Ok((config.name().to_owned(), config))
        }
    }
}
