//! `scheduler_config.json`: which algorithm, with what.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::ddim::Ddim;
use super::dpm::Dpm;
use super::error::SchedulerError;
use super::euler::Euler;
use super::euler_ancestral::EulerAncestral;
use super::fields::{Fields, shortened};
use super::lcm::Lcm;
use super::plan::Algorithm;
use super::pndm::Pndm;
use super::unipc::UniPc;

/// How a checkpoint's noise becomes pictures.
#[derive(Debug, Clone)]
pub(crate) struct SchedulerConfig {
    /// As the file has it, but for what was corrected: another class reads it anew.
    document: Map<String, Value>,
    name: &'static str,
    reader: Reader,
    algorithm: Arc<dyn Algorithm>,
}

type Reader = fn(&Fields<'_>) -> Result<Arc<dyn Algorithm>, SchedulerError>;

/// What requests call the algorithms, the classes that files name, and who reads them.
const ALGORITHMS: [(&str, &str, Reader); 7] = [
    ("ddim", "DDIMScheduler", |fields| Ok(Arc::new(Ddim::read(fields)?))),
    ("pndm", "PNDMScheduler", |fields| Ok(Arc::new(Pndm::read(fields)?))),
    ("euler", "EulerDiscreteScheduler", |fields| Ok(Arc::new(Euler::read(fields)?))),
    ("euler_a", "EulerAncestralDiscreteScheduler", |fields| Ok(Arc::new(EulerAncestral::read(fields)?))),
    ("dpm++2m", "DPMSolverMultistepScheduler", |fields| Ok(Arc::new(Dpm::read(fields)?))),
    ("lcm", "LCMScheduler", |fields| Ok(Arc::new(Lcm::read(fields)?))),
    ("unipc", "UniPCMultistepScheduler", |fields| Ok(Arc::new(UniPc::read(fields)?))),
];

impl SchedulerConfig {
    /// The content of `scheduler_config.json`. Python writes infinities into it, which JSON does not have.
    pub(crate) fn from_json(text: &str) -> Result<Self, SchedulerError> {
        let document: Value = serde_json::from_str(&quoted_infinities(text)).map_err(|error| {
            SchedulerError::Invalid(format!("the scheduler's configuration is no JSON: {error}"))
        })?;
        Self::from_diffusers(&document)
    }

    /// As `from_json`, where the text has been read. `_class_name` chooses the algorithm, what is absent is as the class has it.
    pub(crate) fn from_diffusers(config: &Value) -> Result<Self, SchedulerError> {
        let Some(document) = config.as_object() else {
            return Err(SchedulerError::Invalid(format!(
                "the scheduler's configuration is {}, it must be an object",
                shortened(config)
            )));
        };
        let class = document.get("_class_name").unwrap_or(&Value::Null);
        match ALGORITHMS.iter().find(|(_, known, _)| class.as_str() == Some(known)) {
            Some((name, _, reader)) => Self::read(document.clone(), name, *reader),
            None => Err(SchedulerError::unsupported(
                format!("scheduler _class_name {}", shortened(class)),
                ALGORITHMS.map(|(_, class, _)| class).join(", "),
            )),
        }
    }

    /// The same training in the hands of another algorithm, by the name that requests have for it: what the file says and the
    /// other class takes stays, everything else is as that class has it.
    pub(crate) fn with_algorithm(&self, name: &str) -> Result<Self, SchedulerError> {
        match ALGORITHMS.iter().find(|(known, _, _)| *known == name) {
            Some((name, _, reader)) => Self::read(self.document.clone(), name, *reader),
            None => Err(SchedulerError::unsupported(
                format!("scheduler {:?}", name.chars().take(40).collect::<String>()),
                ALGORITHMS.map(|(name, _, _)| name).join(", "),
            )),
        }
    }

    /// As the pipelines of Stable Diffusion 1.x and 2.x (not SDXL's, not the consistency models' own) correct the
    /// configurations of old checkpoints: timesteps are shifted by one, latents are not cut, and, when inpainting, PNDM begins
    /// without evaluations of Runge-Kutta kind. What `with_algorithm` makes of it stays corrected.
    pub(crate) fn corrected_for_stable_diffusion(&self, inpainting: bool) -> Result<Self, SchedulerError> {
        let mut document = self.document.clone();
        document.insert("steps_offset".to_owned(), Value::from(1));
        document.insert("clip_sample".to_owned(), Value::from(false));
        if inpainting {
            document.insert("skip_prk_steps".to_owned(), Value::from(true));
        }
        Self::read(document, self.name, self.reader)
    }

    /// What requests call the algorithm.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    fn read(
        document: Map<String, Value>,
        name: &'static str,
        reader: Reader,
    ) -> Result<Self, SchedulerError> {
        let fields = Fields::new(&document);
        let algorithm = reader(&fields)?;
        fields.refuse_unknown()?;
        Ok(Self { document, name, reader, algorithm })
    }

    pub(super) fn algorithm(&self) -> &dyn Algorithm {
        &*self.algorithm
    }
}

/// The text with each bare `-Infinity` as a string.
fn quoted_infinities(text: &str) -> String {
    const INFINITY: &str = "-Infinity";
    let mut quoted = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        if !in_string && rest.starts_with(INFINITY) {
            quoted.push_str("\"-Infinity\"");
            rest = &rest[INFINITY.len()..];
            continue;
        }
        in_string ^= letter == '"' && !escaped;
        escaped = in_string && letter == '\\' && !escaped;
        quoted.push(letter);
        rest = &rest[letter.len_utf8()..];
    }
    quoted
}
