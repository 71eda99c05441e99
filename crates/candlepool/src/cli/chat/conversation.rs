//! What was said so far.

use text_to_text::Message;

/// A system prompt, and messages of the user and the model in turn.
#[derive(Clone, Default, Debug)]
pub(super) struct Conversation {
    system: Option<String>,
    messages: Vec<Message>,
}

impl Conversation {
    pub(super) fn new(system: Option<String>) -> Self {
        let mut conversation = Self::default();
        conversation.set_system(system);
        conversation
    }

    pub(super) fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// From the next message on. An empty one is none.
    pub(super) fn set_system(&mut self, system: Option<String>) {
        self.system = system.filter(|system| !system.is_empty());
    }

    /// What the model is told of, if the user says this next.
    pub(super) fn with(&self, message: &str) -> Vec<Message> {
        let system = self.system.as_deref().map(Message::system);
        system.into_iter().chain(self.messages.iter().cloned()).chain([Message::user(message)]).collect()
    }

    /// The user has said this, and the model has answered, if only in part.
    pub(super) fn add(&mut self, message: &str, answer: String) {
        self.messages.extend([Message::user(message), Message::assistant(answer)]);
    }

    /// Forgets all but the system prompt.
    pub(super) fn reset(&mut self) {
        self.messages.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_has_the_system_prompt_first_and_only_what_was_answered() {
        let mut conversation = Conversation::new(Some("plain".to_owned()));
        let (system, first) = (Message::system("plain"), Message::user("first"));
        assert_eq!(conversation.with("first"), [system.clone(), first.clone()]);
        // That one failed, so nothing was added.
        assert_eq!(conversation.with("second"), [system.clone(), Message::user("second")]);
        conversation.add("first", "answer".to_owned());
        let second = [first, Message::assistant("answer"), Message::user("second")];
        assert_eq!(conversation.with("second"), [&[system.clone()][..], &second].concat());
        conversation.set_system(Some(String::new()));
        assert_eq!((conversation.system(), conversation.with("second")), (None, second.to_vec()));
        conversation.set_system(Some("plain".to_owned()));
        conversation.reset();
        assert_eq!(conversation.with("third"), [system, Message::user("third")]);
    }
}
