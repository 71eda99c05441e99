use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{FailureKind, Finish, ModelFailure, Prompt, Role, Usage};
use crate::session::protocol::item::{Content, Item, ItemStatus};
use crate::session::protocol::refusal::ErrorKind;
use crate::session::protocol::server::{
    Citation, PartPlace, ResponseStatus, ResponseView, ServerEvent, StatusDetails, StatusError, TextPart,
    UsageView,
};
use crate::session::protocol::settings::MaxTokens;

/// A response in progress.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) id: Arc<str>,
    /// The conversation that the answer becomes part of.
    pub(super) conversation: Option<Arc<str>>,
    /// The last item when it was asked for: the answer comes after it.
    pub(super) after: Option<Arc<str>>,
    pub(super) stage: Stage,
    /// The answer's item, once there is something of it.
    pub(super) item: Option<Arc<str>>,
    pub(super) citations: Vec<Citation>,
    text: String,
    max_output_tokens: MaxTokens,
    metadata: Option<BTreeMap<String, String>>,
}

/// How far a response is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Passages for it are looked for, and then the model is asked this.
    Citing(Prompt),
    /// The model is asked.
    Asked,
}

/// How a response ends.
#[derive(Debug)]
pub(super) enum Outcome {
    Completed(Usage),
    /// It was longer than it may be. What it took is not known if it was this side that ended it.
    CutOff(Option<Usage>),
    Cancelled {
        /// Else the session is closing.
        by_client: bool,
    },
    Failed(ModelFailure),
}

impl Outcome {
    pub(super) const fn ended(finish: Finish, usage: Usage) -> Self {
        match finish {
            Finish::Stop => Self::Completed(usage),
            Finish::Length => Self::CutOff(Some(usage)),
        }
    }

    fn told(self) -> (ResponseStatus, StatusDetails, Option<UsageView>) {
        let (status, reason, error, usage) = match self {
            Self::Completed(usage) => (ResponseStatus::Completed, None, None, Some(usage)),
            Self::CutOff(usage) => (ResponseStatus::Incomplete, Some("max_output_tokens"), None, usage),
            Self::Cancelled { by_client } => {
                (ResponseStatus::Cancelled, by_client.then_some("client_cancelled"), None, None)
            }
            Self::Failed(failure) => (ResponseStatus::Failed, None, Some(error(failure)), None),
        };
        (status, StatusDetails { r#type: status, reason, error }, usage.map(UsageView))
    }
}

fn error(failure: ModelFailure) -> StatusError {
    let (kind, code) = match failure.kind {
        FailureKind::Overloaded { .. } => (ErrorKind::RateLimit, "overloaded"),
        FailureKind::Invalid => (ErrorKind::InvalidRequest, "invalid_prompt"),
        FailureKind::Failed => (ErrorKind::Server, "model_failure"),
        FailureKind::ShuttingDown => (ErrorKind::Server, "shutting_down"),
    };
    StatusError { r#type: kind, code, message: failure.message }
}

/// The item of an answer that has ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) item: Item,
    /// The ends of the text, of the part and of the item, in order.
    pub(super) events: [ServerEvent; 3],
}

impl Response {
    pub(super) fn new(
        id: Arc<str>,
        conversation: Option<Arc<str>>,
        after: Option<Arc<str>>,
        stage: Stage,
        max_output_tokens: MaxTokens,
        metadata: Option<BTreeMap<String, String>>,
    ) -> Self {
        Self {
            id,
            conversation,
            after,
            stage,
            item: None,
            citations: Vec::new(),
            text: String::new(),
            max_output_tokens,
            metadata,
        }
    }

    /// The answer so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether an item is the one being written.
    pub(super) fn writes(&self, item: &str) -> bool {
        self.item.as_deref() == Some(item)
    }

    /// The answer gets its item and its part: the events of both. The item of a conversation is told of between them.
    pub(super) fn begin(&mut self, item: Arc<str>) -> [ServerEvent; 2] {
        self.item = Some(Arc::clone(&item));
        let at = self.place(&item);
        let item = written(item, ItemStatus::InProgress, None);
        [
            ServerEvent::OutputItemAdded { response_id: Arc::clone(&self.id), output_index: 0, item },
            ServerEvent::ContentPartAdded { at, part: TextPart::new("".into()) },
        ]
    }

    /// The answer's item as it begins.
    pub(super) fn unwritten(&self) -> Option<Item> {
        self.item.clone().map(|item| written(item, ItemStatus::InProgress, None))
    }

    /// More of the answer.
    pub(super) fn write(&mut self, delta: String) -> ServerEvent {
        self.text.push_str(&delta);
        let item = self.item.clone().unwrap_or_default();
        ServerEvent::TextDelta { at: self.place(&item), delta }
    }

    /// The response as it begins.
    pub(super) fn view(&self) -> ResponseView {
        ResponseView {
            object: "realtime.response",
            id: Arc::clone(&self.id),
            status: ResponseStatus::InProgress,
            status_details: None,
            output: Vec::new(),
            conversation_id: self.conversation.clone(),
            output_modalities: ["text"],
            max_output_tokens: self.max_output_tokens,
            metadata: self.metadata.clone(),
            usage: None,
            citations: Vec::new(),
        }
    }

    /// The response as it ends, and its item.
    pub(super) fn finished(mut self, outcome: Outcome) -> (Option<Finished>, ResponseView) {
        let (status, details, usage) = outcome.told();
        let item_status = match status {
            ResponseStatus::Completed => ItemStatus::Completed,
            _ => ItemStatus::Incomplete,
        };
        let text: Arc<str> = std::mem::take(&mut self.text).into();
        let finished = self.item.clone().map(|id| {
            let at = self.place(&id);
            let item = written(id, item_status, Some(Arc::clone(&text)));
            let response_id = Arc::clone(&self.id);
            let events = [
                ServerEvent::TextDone { at: at.clone(), text: Arc::clone(&text) },
                ServerEvent::ContentPartDone { at, part: TextPart::new(text) },
                ServerEvent::OutputItemDone { response_id, output_index: 0, item: item.clone() },
            ];
            Finished { item, events }
        });
        let response = ResponseView {
            status,
            status_details: Some(details),
            output: finished.iter().map(|finished| finished.item.clone()).collect(),
            usage,
            citations: std::mem::take(&mut self.citations),
            ..self.view()
        };
        (finished, response)
    }

    fn place(&self, item: &Arc<str>) -> PartPlace {
        PartPlace {
            response_id: Arc::clone(&self.id),
            item_id: Arc::clone(item),
            output_index: 0,
            content_index: 0,
        }
    }
}

fn written(id: Arc<str>, status: ItemStatus, text: Option<Arc<str>>) -> Item {
    let content = text.map(Content::OutputText).into_iter().collect();
    Item { id, role: Role::Assistant, status, content }
}
