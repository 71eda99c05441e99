use std::fmt;
use std::sync::Arc;

use crate::picture::Picture;

/// What a job came to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Drawing {
    /// As many as were asked for, in the order of their noise.
    pub pictures: Vec<Picture>,
    /// What they were drawn with.
    pub parameters: Parameters,
    /// Tokens of the prompt and of what it must not be, those at their ends included and padding left out.
    pub prompt_tokens: usize,
}

/// Everything that a drawing depends on, besides the model and the picture it began with.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Parameters {
    /// What it should show.
    pub prompt: Arc<str>,
    /// What it should not show, if that was said.
    pub negative: Option<Arc<str>>,
    /// Steps of the scheduler.
    pub steps: usize,
    /// Guidance scale; at 1 or below there is none.
    pub guidance: f32,
    /// The seed of the noise.
    pub seed: u64,
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The scheduler.
    pub scheduler: String,
    /// How far it may go from the picture it began with, if it began with one: 0 to 1.
    pub strength: Option<f64>,
}

/// On one line, as many programs for Stable Diffusion write it behind the prompt.
impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.prompt)?;
        if let Some(negative) = &self.negative {
            writeln!(f, "Negative prompt: {negative}")?;
        }
        let Self { steps, guidance, seed, width, height, scheduler, .. } = self;
        write!(
            f,
            "Steps: {steps}, Sampler: {scheduler}, CFG scale: {guidance}, Seed: {seed}, Size: {width}x{height}"
        )?;
        match self.strength {
            Some(strength) => write!(f, ", Denoising strength: {strength}"),
            None => Ok(()),
        }
    }
}

/// What a [stream](crate::Imagine::stream) tells.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DrawingEvent {
    /// A denoising step was taken.
    Step(DrawingStep),
    /// The pictures are there. The last item.
    Done(Drawing),
}

/// How far a drawing is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DrawingStep {
    /// Evaluations of the model so far, from 1.
    pub step: usize,
    /// How many there will be.
    pub steps: usize,
    /// The first picture as it stands, small and rough, where [previews](crate::Imagine::previews) were asked for.
    pub preview: Option<Picture>,
}
