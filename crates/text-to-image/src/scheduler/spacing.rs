//! Which of the training's timesteps are visited (Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed",
//! 2023, table 2).

use super::error::SchedulerError;
use super::fields::Fields;

/// How timesteps are spread, and how far those that lead are shifted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spacing {
    kind: Kind,
    offset: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Evenly from the first to the last.
    Linspace,
    /// The first of each stretch.
    Leading,
    /// The last of each stretch.
    Trailing,
}

impl Spacing {
    /// Classes that integrate over sigmas spread evenly by default, the others lead.
    pub(super) fn linspace(fields: &Fields<'_>) -> Result<Self, SchedulerError> {
        Self::read(fields, Kind::Linspace)
    }

    pub(super) fn leading(fields: &Fields<'_>) -> Result<Self, SchedulerError> {
        Self::read(fields, Kind::Leading)
    }

    fn read(fields: &Fields<'_>, default: Kind) -> Result<Self, SchedulerError> {
        let kinds = [("linspace", Kind::Linspace), ("leading", Kind::Leading), ("trailing", Kind::Trailing)];
        let kind = fields.choice("timestep_spacing", default, &kinds)?;
        Ok(Self { kind, offset: fields.size("steps_offset", 0)? })
    }

    /// Whether the first sample is scaled as noise is, without a picture in it.
    pub(super) fn starts_at_pure_noise(self) -> bool {
        self.kind != Kind::Leading
    }

    /// `steps` timesteps of `train`, falling. Only `linspace` gives fractions.
    pub(super) fn timesteps(self, train: usize, steps: usize) -> Result<Vec<f64>, SchedulerError> {
        let rising = match self.kind {
            Kind::Linspace => linspace(train - 1, steps),
            Kind::Leading => self.shifted((0..steps).map(|step| step * (train / steps))),
            Kind::Trailing => return Ok(trailing(train, train, steps)),
        };
        self.checked(rising, train, steps)
    }

    /// As `timesteps`, whole numbers, for the classes that count the clean picture at the end as a timestep of its own and
    /// then leave it out. Only the first `end` timesteps are visited.
    pub(super) fn timesteps_before_end(
        self,
        train: usize,
        end: usize,
        steps: usize,
    ) -> Result<Vec<f64>, SchedulerError> {
        let rising: Vec<f64> = match self.kind {
            Kind::Linspace => linspace(end - 1, steps + 1).iter().map(|t| t.round_ties_even()).collect(),
            Kind::Leading => self.shifted((0..=steps).map(|step| step * (end / (steps + 1)))),
            Kind::Trailing => return Ok(trailing(train, end, steps)),
        };
        self.checked(rising.into_iter().skip(1).collect(), train, steps)
    }

    fn shifted(self, rising: impl Iterator<Item = usize>) -> Vec<f64> {
        rising.map(|timestep| (timestep + self.offset) as f64).collect()
    }

    fn checked(self, rising: Vec<f64>, train: usize, steps: usize) -> Result<Vec<f64>, SchedulerError> {
        let falling: Vec<f64> = rising.into_iter().rev().collect();
        match falling.first() {
            Some(first) if *first > (train - 1) as f64 => Err(SchedulerError::Steps(format!(
                "{steps} steps with steps_offset {} begin at timestep {first}, the model was trained on 0 to {}; ask for fewer steps",
                self.offset,
                train - 1
            ))),
            _ => Ok(falling),
        }
    }
}

/// Evenly from 0 to `last`, rounded as numpy rounds: a product and not a sum of steps.
fn linspace(last: usize, count: usize) -> Vec<f64> {
    if count < 2 {
        return vec![0.0; count];
    }
    let step = last as f64 / (count - 1) as f64;
    (0..count).map(|place| if place + 1 == count { last as f64 } else { place as f64 * step }).collect()
}

/// Falling by `train / steps` from `end`, less one. numpy's `arange` takes the difference of its first two numbers for the
/// step, which decides how halves are rounded. Where its rounding errors make it give one number too many, which would be
/// timestep -1, that is left out.
fn trailing(train: usize, end: usize, steps: usize) -> Vec<f64> {
    let (end, step) = (end as f64, train as f64 / steps as f64);
    let step = (end - step) - end;
    (0..steps)
        .map(|place| end + place as f64 * step)
        .take_while(|number| *number > 0.0)
        .map(|number| number.round_ties_even() - 1.0)
        .take_while(|timestep| *timestep >= 0.0)
        .collect()
}
