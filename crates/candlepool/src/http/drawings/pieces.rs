//! The answer, as it is made: each step, what the picture looks like so far, and the pictures.
//!
//! The events are those of OpenAI's protocol, and one of our own: `image_generation.progress`.

use std::vec;

use axum::response::Response;
use axum::response::sse::Event;
use futures::stream::{self, StreamExt as _};
use serde::Serialize;
use text_to_image::{Drawing, DrawingEvent, DrawingStep, DrawingStream, Error, Picture};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Kind;
use super::answer::{OPAQUE, Usage, base64, base64_bytes, now};
use crate::http::App;
use crate::http::errors::ApiError;
use crate::http::events::{self, PATIENCE, failure};
use crate::http::json::{HEAVY, claim};

impl Kind {
    const fn progress(self) -> &'static str {
        match self {
            Self::Generation => "image_generation.progress",
            Self::Edit => "image_edit.progress",
        }
    }

    const fn partial_image(self) -> &'static str {
        match self {
            Self::Generation => "image_generation.partial_image",
            Self::Edit => "image_edit.partial_image",
        }
    }

    const fn completed(self) -> &'static str {
        match self {
            Self::Generation => "image_generation.completed",
            Self::Edit => "image_edit.completed",
        }
    }
}

/// What is sent.
pub(super) struct Pieces {
    app: App,
    kind: Kind,
    stream: DrawingStream,
    partial: PartialImages,
    /// What was looked at before the answer had a head.
    first: Option<DrawingEvent>,
    done: Option<Completed>,
    over: bool,
    /// A drain waits for the end.
    _held: Option<TaskTrackerToken>,
}

/// Pictures that are still to be sent, and what is said of each.
struct Completed {
    pictures: vec::IntoIter<Picture>,
    seed: u64,
    usage: Usage,
}

/// Which steps are shown.
#[derive(Clone, Copy, Debug)]
struct PartialImages {
    wanted: usize,
    sent: usize,
}

impl PartialImages {
    /// Whether the picture is shown after this step: evenly spaced, never after the last one.
    fn is_due(self, step: usize, steps: usize) -> bool {
        let shown = |step: usize| step * (self.wanted + 1) / steps.max(1);
        step < steps && shown(step) > shown(step.saturating_sub(1))
    }
}

#[derive(Serialize)]
struct ProgressEvent {
    r#type: &'static str,
    step: usize,
    steps: usize,
    created_at: u64,
}

/// A picture, so far or to the end.
#[derive(Serialize)]
struct PictureEvent {
    r#type: &'static str,
    b64_json: String,
    background: &'static str,
    created_at: u64,
    output_format: &'static str,
    quality: &'static str,
    size: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    partial_image_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

impl PictureEvent {
    /// Takes the time that base64 takes.
    fn new(r#type: &'static str, picture: &Picture) -> Self {
        Self {
            r#type,
            b64_json: base64(picture),
            background: OPAQUE,
            created_at: now(),
            output_format: picture.format.as_str(),
            quality: "auto",
            size: format!("{}x{}", picture.width, picture.height),
            partial_image_index: None,
            seed: None,
            usage: None,
        }
    }
}

impl Pieces {
    pub(super) fn new(
        app: App,
        kind: Kind,
        stream: DrawingStream,
        partial_images: usize,
        held: Option<TaskTrackerToken>,
    ) -> Self {
        let partial = PartialImages { wanted: partial_images, sent: 0 };
        Self { app, kind, stream, partial, first: None, done: None, over: false, _held: held }
    }

    /// Answers with what is drawn, as it is drawn.
    ///
    /// # Errors
    ///
    /// What fails before the first step, or a while, has passed.
    pub(super) async fn respond(mut self) -> Result<Response, ApiError> {
        self.first = match tokio::time::timeout(PATIENCE, self.stream.next()).await {
            Ok(Some(Err(error))) => return Err(ApiError::of_drawing(&error)),
            Ok(Some(Ok(first))) => Some(first),
            Ok(None) | Err(_) => None,
        };
        let events = stream::unfold(self, async |mut pieces| {
            let events = pieces.next().await?;
            Some((stream::iter(events), pieces))
        });
        Ok(events::respond(events.flatten()))
    }

    async fn next(&mut self) -> Option<Vec<Event>> {
        if self.over {
            return None;
        }
        let told = match &mut self.done {
            Some(Completed { pictures, seed, usage }) => {
                let (picture, seed, usage) = (pictures.next()?, *seed, *usage);
                self.completed(picture, seed, usage).await.map(|event| vec![event])
            }
            None => match self.event().await? {
                Ok(DrawingEvent::Step(step)) => self.step(step).await,
                Ok(DrawingEvent::Done(drawing)) => {
                    let usage = Usage::of(&drawing);
                    let Drawing { pictures, parameters, .. } = drawing;
                    let pictures = pictures.into_iter();
                    self.done = Some(Completed { pictures, seed: parameters.seed, usage });
                    Ok(Vec::new())
                }
                Ok(_) => Ok(Vec::new()),
                Err(error) => Err(ApiError::of_drawing(&error)),
            },
        };
        Some(told.unwrap_or_else(|error| {
            self.over = true;
            vec![failure(&error)]
        }))
    }

    async fn event(&mut self) -> Option<Result<DrawingEvent, Error>> {
        match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => self.stream.next().await,
        }
    }

    async fn step(&mut self, step: DrawingStep) -> Result<Vec<Event>, ApiError> {
        let DrawingStep { step, steps, preview, .. } = step;
        let kind = self.kind.progress();
        let progress = ProgressEvent { r#type: kind, step, steps, created_at: now() };
        let mut events = vec![written(kind, &progress)?];
        if let Some(preview) = preview.filter(|_| self.partial.is_due(step, steps)) {
            let (kind, index) = (self.kind.partial_image(), self.partial.sent);
            self.partial.sent += 1;
            let make = move |preview: &Picture| PictureEvent {
                partial_image_index: Some(index),
                ..PictureEvent::new(kind, preview)
            };
            events.push(self.picture(preview, make).await?);
        }
        Ok(events)
    }

    async fn completed(&self, picture: Picture, seed: u64, usage: Usage) -> Result<Event, ApiError> {
        let kind = self.kind.completed();
        let make = move |picture: &Picture| PictureEvent {
            seed: Some(seed),
            usage: Some(usage),
            ..PictureEvent::new(kind, picture)
        };
        self.picture(picture, make).await
    }

    /// The event of a picture, made in a lane where that takes long.
    async fn picture(
        &self,
        picture: Picture,
        make: impl FnOnce(&Picture) -> PictureEvent + Send + 'static,
    ) -> Result<Event, ApiError> {
        let bytes = base64_bytes(&picture);
        let write = move || {
            let event = make(&picture);
            written(event.r#type, &event)
        };
        if bytes <= HEAVY { write() } else { self.app.engine.lanes().prepare(&claim(), write).await? }
    }
}

fn written<T: Serialize>(kind: &str, event: &T) -> Result<Event, ApiError> {
    let written = Event::default().event(kind).json_data(event);
    written.map_err(|error| ApiError::internal(format!("a piece of the answer cannot be written: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_images_are_evenly_spaced_and_no_more_than_wanted() {
        let due = |wanted: usize, steps: usize| -> Vec<usize> {
            let partial = PartialImages { wanted, sent: 0 };
            (1..=steps).filter(|step| partial.is_due(*step, steps)).collect()
        };
        assert!(due(0, 20).is_empty());
        assert_eq!(due(1, 20), [10]);
        assert_eq!(due(3, 20), [5, 10, 15]);
        assert_eq!(due(3, 4), [1, 2, 3]);
        assert_eq!(due(3, 2), [1]);
        assert!(due(3, 1).is_empty());
        for steps in 1..60 {
            for wanted in 0..=3 {
                assert_eq!(due(wanted, steps).len(), wanted.min(steps - 1), "{wanted} of {steps}");
            }
        }
    }
}
