//! Which responses a client gets, and which it may cancel.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::items::no_item;
use super::response::{Outcome, Response, Stage};
use super::{Effect, Machine, grounding};
use crate::model::{Prompt, Turn};
use crate::session::SessionLimits;
use crate::session::protocol::client::{Given, Wish};
use crate::session::protocol::refusal::{Refusal, shortened};
use crate::session::protocol::server::ServerEvent;
use crate::session::protocol::settings::MaxTokens;

impl Machine {
    pub(super) fn respond(&mut self, wish: Wish, now: Duration) -> Result<(), Refusal> {
        if let Some(active) = &self.active {
            let message = format!(
                "conversation already has an active response in progress: {}; wait until it is done, or cancel it",
                active.id
            );
            return Err(Refusal::new("conversation_already_has_active_response", message));
        }
        let Wish { out_of_band, input, terms } = wish;
        let (held_items, held_bytes) = self.held();
        let SessionLimits { items, bytes, .. } = self.setting.limits;
        if !out_of_band && (held_items >= items || held_bytes >= bytes) {
            let message = format!(
                "the conversation is full, at {held_items} of {items} items and {held_bytes} of {bytes} bytes; delete some"
            );
            return Err(Refusal::new("conversation_full", message));
        }
        let turns = match input {
            None => self.conversation.turns(),
            Some(given) => self.turns(given)?,
        };
        let instructions = match terms.instructions {
            Some(instructions) => self.instructions("response.instructions", instructions)?,
            None => self.setting.instructions.clone(),
        };
        let max_output_tokens = terms.max_output_tokens.unwrap_or(self.max_output_tokens);
        let prompt = Prompt {
            instructions,
            turns,
            max_output_tokens: max_output_tokens.most(),
            priority: self.setting.priority,
            principal: self.setting.principal.clone(),
        };
        let conversation = (!out_of_band).then(|| self.conversation.id());
        self.start(prompt, conversation, max_output_tokens, terms.metadata, now);
        Ok(())
    }

    fn start(
        &mut self,
        prompt: Prompt,
        conversation: Option<Arc<str>>,
        max_output_tokens: MaxTokens,
        metadata: Option<BTreeMap<String, String>>,
        now: Duration,
    ) {
        let id = self.ids.draw("resp");
        let question = self.setting.cites.then(|| grounding::question(&prompt.turns)).flatten();
        let (effect, stage) = match question {
            Some(question) => (Effect::Cite { response: Arc::clone(&id), question }, Stage::Citing(prompt)),
            None => (Effect::Respond { response: Arc::clone(&id), prompt }, Stage::Asked),
        };
        let after = self.conversation.last();
        let response = Response::new(id, conversation, after, stage, max_output_tokens, metadata);
        self.send(ServerEvent::ResponseCreated { response: response.view() });
        let rate_limits = [self.rate_limit(now)];
        self.send(ServerEvent::RateLimits { rate_limits });
        self.active = Some(response);
        self.effects.push(effect);
    }

    pub(super) fn cancel(&mut self, response: Option<&str>) -> Result<(), Refusal> {
        let found = match (&self.active, response) {
            (None, _) => Err("no active response found".to_owned()),
            (Some(active), None) if active.conversation.is_none() => Err(format!(
                "the active response {} is not of the conversation; give its response_id",
                active.id
            )),
            (Some(active), Some(id)) if *active.id != *id => {
                Err(format!("the response '{}' is not active", shortened(id)))
            }
            (Some(_), _) => Ok(()),
        };
        if let Err(why) = found {
            let refusal = Refusal::new("response_cancel_not_active", format!("cancellation failed: {why}"));
            return Err(if response.is_some() { refusal.of("response_id") } else { refusal });
        }
        self.effects.push(Effect::Stop);
        self.finish(Outcome::Cancelled { by_client: true });
        Ok(())
    }

    /// What a response is to see instead of the conversation.
    fn turns(&self, given: Vec<Given>) -> Result<Vec<Turn>, Refusal> {
        const PARAM: &str = "response.input";
        let SessionLimits { items, bytes, .. } = self.setting.limits;
        if given.len() > items {
            let message = format!("'{PARAM}' has {} items; it may have at most {items}", given.len());
            return Err(Refusal::new("array_above_max_length", message).of(PARAM));
        }
        let mut turns = Vec::new();
        let mut taken = 0;
        for (at, given) in given.into_iter().enumerate() {
            let name = format!("{PARAM}[{at}]");
            let turn = match given {
                Given::Item(draft) => {
                    self.check(&draft, &name)?;
                    taken += draft.bytes();
                    draft.turn()
                }
                Given::Reference(id) => {
                    let unknown = || no_item("item_reference_invalid_item_id", &format!("{name}.id"), &id);
                    let item = self.conversation.get(&id).ok_or_else(unknown)?;
                    taken += item.bytes();
                    item.turn()
                }
            };
            if taken > bytes {
                let message =
                    format!("'{PARAM}' takes more than {bytes} bytes, which is the most; send less");
                return Err(Refusal::new("input_too_large", message).of(PARAM));
            }
            turns.extend(turn);
        }
        Ok(turns)
    }
}
