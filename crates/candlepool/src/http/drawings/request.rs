//! What a request for pictures says, whether as JSON or as a form.

use serde::Deserialize;
use text_to_image::{Imagine, PictureFormat, UnknownFormat};

use crate::failure::shortened;
use crate::http::envelope::Terms;
use crate::http::errors::ApiError;
use crate::number::{Integer, Real, Whole};
use crate::pixels::Pixels;

/// The request, as OpenAI defines it, and what its peers have added. Other fields are refused by name.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, expecting = "an object with model and prompt")]
pub(in crate::http) struct DrawingRequest {
    model: String,
    prompt: String,
    #[serde(default)]
    negative_prompt: Option<String>,
    #[serde(default)]
    n: Option<Whole<1>>,
    #[serde(default)]
    size: Option<Size>,
    #[serde(default)]
    steps: Option<Whole<1>>,
    #[serde(default)]
    guidance: Option<Real>,
    #[serde(default)]
    seed: Option<Integer>,
    #[serde(default)]
    scheduler: Option<String>,
    #[serde(default)]
    output_format: Option<String>,
    #[serde(default)]
    output_compression: Option<Whole<0>>,
    #[serde(default)]
    response_format: Option<String>,
    #[serde(default)]
    background: Option<String>,
    #[serde(default)]
    quality: Option<String>,
    #[serde(default)]
    moderation: Option<String>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    partial_images: Option<Whole<0>>,
    #[serde(default)]
    user: Option<String>,
}

/// How large pictures are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String", expecting = "a size such as \"512x512\", or \"auto\"")]
enum Size {
    /// As the model has it.
    Auto,
    Pixels(Pixels),
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        text.parse().map(Self::Pixels).map_err(|error| format!("{error}, or auto"))
    }
}

/// As many as OpenAI's protocol has.
const MOST_PICTURES: u32 = 10;
const MOST_PARTIAL_IMAGES: u32 = 3;

impl DrawingRequest {
    /// Refuses what is not obeyed, and what contradicts itself.
    pub(super) fn checked(self) -> Result<Self, ApiError> {
        only(
            "response_format",
            self.response_format.as_deref(),
            &["b64_json"],
            "no picture is kept to link to",
        )?;
        only("background", self.background.as_deref(), &["auto", "opaque"], "pictures are opaque")?;
        only(
            "quality",
            self.quality.as_deref(),
            &["auto", "standard"],
            "steps says how much work a picture is",
        )?;
        only("moderation", self.moderation.as_deref(), &["auto", "low"], "nothing is filtered here")?;
        within("n", self.n.map(Whole::get), 1, MOST_PICTURES)?;
        within("partial_images", self.partial_images.map(Whole::get), 0, MOST_PARTIAL_IMAGES)?;
        within("output_compression", self.output_compression.map(Whole::get), 0, 100)?;
        if self.partial_images() > 0 && !self.is_streamed() {
            let message = "partial_images is for streams; send \"stream\": true with it";
            return Err(ApiError::invalid("invalid_value", message).param("partial_images"));
        }
        self.format()?;
        Ok(self)
    }

    pub(super) fn model(&self) -> &str {
        &self.model
    }

    pub(super) fn prompt(&self) -> &str {
        &self.prompt
    }

    pub(super) fn is_streamed(&self) -> bool {
        self.stream.unwrap_or_default()
    }

    /// How many pictures are told of before the last one.
    pub(super) fn partial_images(&self) -> usize {
        self.partial_images.map_or(0, Whole::count)
    }

    /// What pictures are written as. JPEG's quality is what OpenAI calls compression; the others lose nothing.
    fn format(&self) -> Result<PictureFormat, ApiError> {
        let unknown = |error: UnknownFormat| {
            ApiError::invalid("invalid_value", format!("output_format: {error}")).param("output_format")
        };
        let format =
            self.output_format.as_deref().map(str::parse).transpose().map_err(unknown)?.unwrap_or_default();
        match (format, self.output_compression.map(Whole::get)) {
            (format, None) => Ok(format),
            (PictureFormat::Jpeg { .. }, Some(quality)) => {
                Ok(PictureFormat::Jpeg { quality: u8::try_from(quality).unwrap_or(100).max(1) })
            }
            (format, Some(100)) => Ok(format),
            (format, Some(asked)) => {
                let message = format!(
                    "output_compression is {asked}, and {format} is written without loss; leave it out, or send \
                     \"output_format\": \"jpeg\""
                );
                Err(ApiError::invalid("invalid_value", message).param("output_compression"))
            }
        }
    }

    /// The call with all that the request says of it.
    ///
    /// # Errors
    ///
    /// As [`checked`](Self::checked), after which there are none.
    pub(super) fn told(&self, call: Imagine, terms: &Terms) -> Result<Imagine, ApiError> {
        let mut call = call.priority(terms.priority).deadline(terms.deadline).format(self.format()?);
        call = call.principal(terms.caller.principal(self.user.as_deref()));
        if let Some(negative) = self.negative_prompt.as_deref() {
            call = call.negative(negative);
        }
        if let Some(n) = self.n {
            call = call.pictures(n.count());
        }
        if let Some(Size::Pixels(Pixels { width, height })) = self.size {
            call = call.size(width, height);
        }
        if let Some(steps) = self.steps {
            call = call.steps(steps.count());
        }
        if let Some(Real(guidance)) = self.guidance {
            call = call.guidance(guidance);
        }
        if let Some(seed) = self.seed {
            call = call.seed(seed.bits());
        }
        if let Some(scheduler) = self.scheduler.as_deref() {
            call = call.scheduler(scheduler);
        }
        Ok(call.previews(self.partial_images() > 0))
    }
}

/// Refuses all but some of the values that OpenAI's protocol has.
fn only(name: &str, given: Option<&str>, accepted: &[&str], why: &str) -> Result<(), ApiError> {
    let Some(given) = given.filter(|given| !accepted.contains(given)) else {
        return Ok(());
    };
    let accepted = accepted.join(" or ");
    let given = shortened(given, 200);
    let message = format!("{name} is {given:?}, which is not supported: {why}; accepted: {accepted}");
    Err(ApiError::invalid("invalid_value", message).param(name))
}

fn within(name: &str, given: Option<u32>, least: u32, most: u32) -> Result<(), ApiError> {
    let Some(given) = given.filter(|given| !(least..=most).contains(given)) else {
        return Ok(());
    };
    let message = format!("{name} is {given}; accepted: a number from {least} to {most}");
    Err(ApiError::invalid("invalid_value", message).param(name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(more: &Value) -> Result<DrawingRequest, String> {
        let mut request = json!({"model": "m", "prompt": "a fox"});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let request: DrawingRequest = serde_json::from_value(request).map_err(|error| error.to_string())?;
        request.checked().map_err(|error| error.body())
    }

    #[test]
    fn compression_is_the_quality_of_jpeg() {
        let format =
            |more: Value| read(&more).and_then(|request| request.format().map_err(|error| error.body()));
        assert_eq!(format(json!({})), Ok(PictureFormat::Png));
        assert_eq!(
            format(json!({"output_format": "webp", "output_compression": 100})),
            Ok(PictureFormat::Webp)
        );
        for (asked, quality) in [(0, 1), (1, 1), (60, 60), (100, 100)] {
            let jpeg = format(json!({"output_format": "jpeg", "output_compression": asked}));
            assert_eq!(jpeg, Ok(PictureFormat::Jpeg { quality }));
        }
        assert_eq!(format(json!({"output_format": "jpeg"})), Ok(PictureFormat::JPEG));
        assert!(
            format(json!({"output_compression": 50})).unwrap_err().contains("png is written without loss")
        );
    }

    #[test]
    fn a_null_is_as_good_as_nothing() {
        let names = ["n", "size", "steps", "guidance", "stream", "background", "output_format", "user"];
        for name in names {
            assert!(read(&json!({name: null})).is_ok(), "{name}");
        }
    }
}
