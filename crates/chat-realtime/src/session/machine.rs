use std::sync::Arc;
use std::time::Duration;

use super::SessionLimits;
use super::protocol::client::{ClientEvent, ClientMessage};
use super::protocol::refusal::Refusal;
use super::protocol::server::{ErrorView, Numbered, RateLimit, ServerEvent, SessionView};
use super::protocol::settings::{MaxTokens, Update};
use crate::context::{Passage, Progress};
use crate::delivery::CloseCode;
use crate::model::{ModelFailure, Piece, Prompt};
use pool_core::{Principal, Priority};

mod bucket;
mod conversation;
mod grounding;
mod ids;
mod items;
mod response;
#[cfg(test)]
pub(in crate::session) mod tests;
mod wishes;

pub(super) use ids::Ids;

use bucket::Bucket;
use conversation::Conversation;
use response::{Outcome, Response, Stage};

/// What is to be done once the machine has taken something in, in order.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    Send(Box<Numbered>),
    /// Look for passages for the question of a response.
    Cite {
        response: Arc<str>,
        question: String,
    },
    /// Ask the model for a response.
    Respond {
        response: Arc<str>,
        prompt: Prompt,
    },
    /// Drop whatever is being found or written for the response.
    Stop,
    /// Nothing follows.
    Close(CloseCode),
}

/// What a session is, as far as the machine goes.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) model: Arc<str>,
    pub(super) instructions: Option<Arc<str>>,
    pub(super) principal: Principal,
    pub(super) priority: Priority,
    pub(super) limits: SessionLimits,
    /// The model sees pictures.
    pub(super) sees: bool,
    /// There are files to cite.
    pub(super) cites: bool,
}

/// A session. Times are counted from its beginning.
#[derive(Debug)]
pub(super) struct Machine {
    setting: Setting,
    ids: Ids,
    id: Arc<str>,
    max_output_tokens: MaxTokens,
    conversation: Conversation,
    active: Option<Response>,
    pace: Bucket,
    errors: Bucket,
    closed: bool,
    effects: Vec<Effect>,
}

impl Machine {
    pub(super) fn new(setting: Setting, mut ids: Ids) -> Self {
        let limits = &setting.limits;
        Self {
            id: ids.draw("sess"),
            max_output_tokens: MaxTokens::Inf,
            conversation: Conversation::new(ids.draw("conv")),
            active: None,
            pace: Bucket::new(limits.events_at_once, Duration::from_secs(1) / limits.events_a_second.max(1)),
            errors: Bucket::new(limits.errors, Duration::from_secs(1)),
            closed: false,
            effects: Vec::new(),
            setting,
            ids,
        }
    }

    /// The beginning: the client is told what session it has.
    pub(super) fn open(&mut self) -> Vec<Effect> {
        let session = self.view();
        self.send(ServerEvent::SessionCreated { session });
        self.done()
    }

    /// For how long no message is to be read, as the client has sent too many.
    pub(super) fn pause(&self, now: Duration) -> Duration {
        self.pace.wait(now)
    }

    /// A message of the client.
    pub(super) fn message(&mut self, message: ClientMessage, now: Duration) -> Vec<Effect> {
        if self.closed {
            return Vec::new();
        }
        self.pace.take(now);
        let ClientMessage { event_id, event } = message;
        if let Err(refusal) = event.and_then(|event| self.obey(event, now)) {
            self.send(ServerEvent::Error { error: ErrorView::new(refusal, event_id) });
            if !self.errors.take(now) {
                self.end(CloseCode::TooManyErrors);
            }
        }
        self.done()
    }

    /// Something failed here while a message was read, which the client is to know of.
    pub(super) fn unread(&mut self, refusal: Refusal, now: Duration) -> Vec<Effect> {
        if !self.closed {
            self.pace.take(now);
            self.send(ServerEvent::Error { error: ErrorView::new(refusal, None) });
        }
        self.done()
    }

    /// What has been found to cite.
    pub(super) fn cited(&mut self, response: &str, found: Result<Vec<Passage>, ModelFailure>) -> Vec<Effect> {
        let Some(active) = self.active.as_mut().filter(|active| *active.id == *response) else {
            return self.done();
        };
        let Stage::Citing(mut prompt) = std::mem::replace(&mut active.stage, Stage::Asked) else {
            return self.done();
        };
        let response = Arc::clone(&active.id);
        match found {
            Ok(passages) => {
                grounding::cite(&mut prompt.turns, &passages);
                active.citations = passages.iter().map(Into::into).collect();
            }
            Err(failure) => {
                // An answer without citations is better than none, as long as the client knows.
                let message = format!("no files are cited in the response {response}: {failure}");
                let error = ErrorView::new(Refusal::server("context_failed", message), None);
                self.send(ServerEvent::Error { error });
            }
        }
        self.effects.push(Effect::Respond { response, prompt });
        self.done()
    }

    /// A piece of an answer.
    pub(super) fn piece(&mut self, response: &str, piece: Piece) -> Vec<Effect> {
        if self.at(response).is_none_or(|active| matches!(active.stage, Stage::Citing(_))) {
            return self.done();
        }
        self.begin_item();
        match piece {
            Piece::Text(mut text) => {
                let room = self.room_for_answer();
                let fits = text.len() <= room;
                text.truncate(text.floor_char_boundary(room));
                if let Some(active) = &mut self.active
                    && !text.is_empty()
                {
                    let event = active.write(text);
                    self.send(event);
                }
                if !fits {
                    self.effects.push(Effect::Stop);
                    self.finish(Outcome::CutOff(None));
                }
            }
            Piece::End { finish, usage } => self.finish(Outcome::ended(finish, usage)),
        }
        self.done()
    }

    /// There is no answer, or no more of it.
    pub(super) fn failed(&mut self, response: &str, failure: ModelFailure) -> Vec<Effect> {
        if self.at(response).is_some() {
            self.finish(Outcome::Failed(failure));
        }
        self.done()
    }

    /// How far the reading of files has come.
    pub(super) fn progress(&mut self, progress: Progress) -> Vec<Effect> {
        if !self.closed {
            self.send(ServerEvent::ContextUpdated { progress });
        }
        self.done()
    }

    /// The session ends, and a response in progress before it. The first close counts.
    pub(super) fn close(&mut self, code: CloseCode) -> Vec<Effect> {
        self.end(code);
        self.done()
    }

    fn obey(&mut self, event: ClientEvent, now: Duration) -> Result<(), Refusal> {
        match event {
            ClientEvent::Update(update) => self.update(update),
            ClientEvent::Create { item, after } => self.create(item, after),
            ClientEvent::Retrieve { item } => self.retrieve(&item),
            ClientEvent::Truncate { item, content_index, audio_end_ms } => {
                self.truncate(&item, content_index, audio_end_ms)
            }
            ClientEvent::Delete { item } => self.delete(&item),
            ClientEvent::Respond(wish) => self.respond(wish, now),
            ClientEvent::Cancel { response } => self.cancel(response.as_deref()),
        }
    }

    fn update(&mut self, update: Update) -> Result<(), Refusal> {
        if let Some(model) = update.model
            && *model != *self.setting.model
        {
            let accepted = format!("'{}': a session keeps its model; open another", self.setting.model);
            return Err(Refusal::value("session.model", model, accepted));
        }
        if let Some(instructions) = update.instructions {
            self.setting.instructions = self.instructions("session.instructions", instructions)?;
        }
        self.max_output_tokens = update.max_output_tokens.unwrap_or(self.max_output_tokens);
        let session = self.view();
        self.send(ServerEvent::SessionUpdated { session });
        Ok(())
    }

    /// An empty text is as good as none.
    fn instructions(&self, name: &str, text: Option<String>) -> Result<Option<Arc<str>>, Refusal> {
        match text.filter(|text| !text.is_empty()) {
            Some(text) if text.len() > self.setting.limits.text_bytes => {
                Err(too_long(name, text.len(), self.setting.limits.text_bytes))
            }
            text => Ok(text.map(Into::into)),
        }
    }

    /// The response in progress, if it is this one.
    fn at(&self, response: &str) -> Option<&Response> {
        self.active.as_ref().filter(|active| *active.id == *response)
    }

    /// The answer gets its item, if it has none yet.
    fn begin_item(&mut self) {
        if self.active.as_ref().is_none_or(|active| active.item.is_some()) {
            return;
        }
        let id = self.unused_id();
        let Some(active) = &mut self.active else { return };
        let [added, part] = active.begin(Arc::clone(&id));
        let item = active.conversation.is_some().then(|| active.unwritten()).flatten();
        let after = active.after.clone();
        self.send(added);
        if let Some(item) = item {
            let at = after.map_or(Some(0), |after| Some(self.conversation.position(&after)? + 1));
            let at = at.unwrap_or_else(|| self.conversation.len());
            let previous_item_id = self.conversation.insert(at, item.clone());
            self.send(ServerEvent::ItemAdded { previous_item_id, item });
        }
        self.send(part);
    }

    /// The one end of a response.
    fn finish(&mut self, outcome: Outcome) {
        let Some(active) = self.active.take() else { return };
        let (item, response) = active.finished(outcome);
        if let Some(finished) = item {
            let [text, part, output] = finished.events;
            self.send(text);
            self.send(part);
            if response.conversation_id.is_some() {
                let previous_item_id = self.conversation.replace(&finished.item);
                self.send(ServerEvent::ItemDone { previous_item_id, item: finished.item });
            }
            self.send(output);
        }
        self.send(ServerEvent::ResponseDone { response });
    }

    fn end(&mut self, code: CloseCode) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        if self.active.is_some() {
            self.effects.push(Effect::Stop);
            self.finish(Outcome::Cancelled { by_client: false });
        }
        self.effects.push(Effect::Close(code));
    }

    /// Items and bytes that the conversation has, an answer in progress included.
    fn held(&self) -> (usize, usize) {
        let answer = self.active.as_ref().filter(|active| active.conversation.is_some());
        let unopened = answer.is_some_and(|active| active.item.is_none());
        let text = answer.map_or(0, |active| active.text().len());
        (self.conversation.len() + usize::from(unopened), self.conversation.bytes() + text)
    }

    fn room_for_answer(&self) -> usize {
        let Some(active) = &self.active else { return 0 };
        let of_text = self.setting.limits.text_bytes.saturating_sub(active.text().len());
        match active.conversation {
            Some(_) => of_text.min(self.setting.limits.bytes.saturating_sub(self.held().1)),
            None => of_text,
        }
    }

    /// An id that no client has given to another item.
    fn unused_id(&mut self) -> Arc<str> {
        loop {
            let id = self.ids.draw("item");
            if self.conversation.get(&id).is_none() {
                return id;
            }
        }
    }

    fn rate_limit(&self, now: Duration) -> RateLimit {
        RateLimit {
            name: "requests",
            limit: self.setting.limits.events_at_once,
            remaining: self.pace.left(now),
            reset_seconds: self.pace.full_in(now).as_secs_f64(),
        }
    }

    fn view(&self) -> SessionView {
        let Setting { model, instructions, .. } = &self.setting;
        SessionView::new(
            Arc::clone(&self.id),
            Arc::clone(model),
            instructions.clone(),
            self.max_output_tokens,
        )
    }

    fn send(&mut self, event: ServerEvent) {
        let event_id = self.ids.draw("event");
        self.effects.push(Effect::Send(Box::new(Numbered { event_id, event })));
    }

    fn done(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}

fn too_long(name: &str, length: usize, most: usize) -> Refusal {
    let message = format!("'{name}' has {length} bytes of text; it may have at most {most}");
    Refusal::new("string_above_max_length", message).of(name)
}
