//! The assistant: questions wait for it, and it writes one answer at a time, which anybody may stop.

use super::order::Author;
use super::*;
use crate::context::Passage;
use crate::model::{Finish, ModelFailure, Piece, Usage};
use crate::room::prompt;
use crate::room::protocol::{AnswerDone, AnswerOpened, Citation, Message};

#[derive(Default, Debug)]
pub(super) struct Assistant {
    pub(super) phase: Phase,
    questions: Vec<Question>,
}

/// How far the answer is. From `Opening` on there will be one, and exactly one end of it.
#[derive(Default, Debug)]
pub(super) enum Phase {
    #[default]
    Idle,
    /// Passages are looked for.
    Seeking {
        question: Question,
        deadline: Instant,
    },
    /// Its beginning is being kept.
    Opening {
        question: Question,
        passages: Vec<Passage>,
        end: Option<Stopped>,
    },
    Writing(Writing),
    /// Its end is being kept.
    Ending {
        id: String,
        waiters: Waiters,
    },
}

/// Who waits to hear that the answer has ended.
type Waiters = Vec<(Id, Option<String>)>;

/// No more of them: one who asks again is told to wait.
const MOST_WAITERS: usize = 256;

#[derive(Debug)]
pub(super) struct Writing {
    pub(super) id: String,
    pub(super) text: String,
    chars: usize,
    deadline: Instant,
}

/// An answer is to end as soon as it has begun.
#[derive(Debug)]
pub(super) struct Stopped {
    status: Status,
    client: Option<String>,
    waiters: Waiters,
}

#[derive(Debug)]
pub(in crate::room) struct Question {
    pub(in crate::room) seq: u64,
    pub(in crate::room) message: Message,
    pub(in crate::room) principal: Principal,
    pub(in crate::room) priority: Priority,
}

impl Assistant {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle) && self.questions.is_empty()
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Seeking { deadline, .. } | Phase::Writing(Writing { deadline, .. }) => Some(*deadline),
            Phase::Idle | Phase::Opening { .. } | Phase::Ending { .. } => None,
        }
    }
}

impl Machine {
    /// Whether a text has the assistant's name after an `@`, as a word of its own.
    pub(super) fn is_addressed(&self, text: &str) -> bool {
        let name = self.config.assistant.as_ref().map_or("assistant", |assistant| assistant.name.as_str());
        let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        let text = text.to_lowercase();
        let mention = format!("@{}", name.to_lowercase());
        text.match_indices(&mention).any(|(at, found)| {
            let before = text[..at].chars().next_back();
            let after = text[at + found.len()..].chars().next();
            !before.is_some_and(word) && !after.is_some_and(word)
        })
    }

    pub(super) fn asked(&mut self, seq: u64, message: Message, author: Author, now: Now) {
        if self.closing {
            return;
        }
        if self.config.assistant.is_none() {
            let text = "there is no assistant here: the server has no model that answers".to_owned();
            self.own.push_back(Own::Notice { code: Notice::NoAssistant, text, messages: vec![message.id] });
            return;
        }
        let Author { principal, priority, .. } = author;
        self.assistant.questions.push(Question { seq, message, principal, priority });
        let questions = &mut self.assistant.questions;
        if questions.len() > self.config.limits.questions
            && let Some(at) = (0..questions.len()).min_by_key(|at| (questions[*at].priority, usize::MAX - at))
        {
            let given_up = questions.remove(at);
            let text = "too many questions wait for the assistant: ask again later".to_owned();
            let messages = vec![given_up.message.id];
            self.own.push_back(Own::Notice { code: Notice::NotAnswered, text, messages });
        }
        self.next_question(now);
    }

    /// Turns to the most urgent question, the oldest of several.
    fn next_question(&mut self, now: Now) {
        while matches!(self.assistant.phase, Phase::Idle) && !self.closing {
            let questions = &mut self.assistant.questions;
            let next = (0..questions.len()).max_by_key(|at| (questions[*at].priority, usize::MAX - at));
            let Some(question) = next.map(|at| questions.remove(at)) else { return };
            if self.record.find(&question.message.id).is_some_and(|(_, entry)| entry.deleted) {
                continue;
            }
            if self.config.context
                && self.config.limits.passages > 0
                && !question.message.text.trim().is_empty()
            {
                self.effects.push(Effect::Find(question.message.text.clone()));
                let deadline = now.at + self.config.limits.search_time;
                self.assistant.phase = Phase::Seeking { question, deadline };
            } else {
                self.assistant.phase = Phase::Opening { question, passages: Vec::new(), end: None };
                self.own.push_back(Own::Open { context_error: None });
            }
        }
    }

    /// What the search has found.
    pub(in crate::room) fn found(&mut self, found: Result<Vec<Passage>, ModelFailure>, now: Now) {
        let Phase::Seeking { .. } = self.assistant.phase else { return };
        let Phase::Seeking { question, .. } = std::mem::take(&mut self.assistant.phase) else { return };
        let (passages, context_error) = match found {
            Ok(mut passages) => {
                passages.truncate(self.config.limits.passages);
                (passages, None)
            }
            Err(failure) => (Vec::new(), Some(failure.message)),
        };
        self.assistant.phase = Phase::Opening { question, passages, end: None };
        self.own.push_back(Own::Open { context_error });
        self.pump(now);
    }

    /// The answer as it is told to begin; `None` where nobody waits for it any more.
    pub(super) fn opened(&self, id: String, context_error: Option<String>) -> Option<AnswerOpened> {
        let Phase::Opening { question, passages, .. } = &self.assistant.phase else { return None };
        if self.record.find(&question.message.id).is_some_and(|(_, entry)| entry.deleted) {
            return None;
        }
        Some(AnswerOpened {
            id,
            question: question.message.id.clone(),
            client: question.message.client.clone(),
            model: self.config.assistant.as_ref()?.model.clone(),
            citations: passages.iter().map(Citation::from).collect(),
            context_error,
        })
    }

    /// The question was deleted before its answer began.
    pub(super) fn skip_question(&mut self, now: Now) {
        if let Phase::Opening { end, .. } = std::mem::take(&mut self.assistant.phase) {
            for (to, event_id) in end.into_iter().flat_map(|end| end.waiters) {
                self.error(to, event_id.as_deref(), "no_answer", "nothing is being answered");
            }
        }
        self.next_question(now);
    }

    /// The answer has begun, for everybody.
    pub(super) fn open(&mut self, answer: AnswerOpened, now: Now) {
        let Phase::Opening { question, passages, end } = std::mem::take(&mut self.assistant.phase) else {
            return;
        };
        let deadline = now.at + self.config.limits.answer_time;
        self.assistant.phase =
            Phase::Writing(Writing { id: answer.id, text: String::new(), chars: 0, deadline });
        match end {
            Some(Stopped { status, client, waiters }) => {
                self.end(status, None, client, None);
                if let Phase::Ending { waiters: all, .. } = &mut self.assistant.phase {
                    all.extend(waiters);
                }
            }
            None => {
                let prompt = prompt::prompt(&self.config, &self.record, &question, &passages);
                self.effects.push(Effect::Ask(prompt));
            }
        }
    }

    /// The next piece of the answer; `None` where it stopped without saying that it had ended.
    pub(in crate::room) fn piece(&mut self, piece: Option<Result<Piece, ModelFailure>>, now: Now) {
        let Phase::Writing(writing) = &mut self.assistant.phase else { return };
        match piece {
            Some(Ok(Piece::Text(mut delta))) => {
                let room = self.config.limits.answer_bytes.saturating_sub(writing.text.len());
                let full = delta.len() > room;
                if full {
                    delta.truncate(delta.floor_char_boundary(room));
                }
                let offset = writing.chars;
                writing.text.push_str(&delta);
                writing.chars += delta.chars().count();
                if !delta.is_empty() {
                    let id = writing.id.clone();
                    let frame = self.frame(&Told::Delta { id: &id, offset, delta: &delta }, Class::Kept);
                    self.effects.push(Effect::All(frame));
                    self.touch(now);
                }
                if full {
                    self.end(Status::Length, None, None, None);
                }
            }
            Some(Ok(Piece::End { finish, usage })) => {
                let status = match finish {
                    Finish::Stop => Status::Completed,
                    Finish::Length => Status::Length,
                };
                self.end(status, Some(usage), None, None);
            }
            Some(Err(failure)) => self.end(Status::Failed, None, None, Some(failure.message)),
            None => {
                let error = "the model's answer broke off: ask again".to_owned();
                self.end(Status::Failed, None, None, Some(error));
            }
        }
        self.pump(now);
    }

    pub(super) fn expire_answer(&mut self, now: Now) {
        if self.assistant.deadline().is_none_or(|deadline| deadline > now.at) {
            return;
        }
        if let Phase::Writing(_) = self.assistant.phase {
            let seconds = self.config.limits.answer_time.as_secs();
            let error = format!("the answer took longer than {seconds} s");
            self.end(Status::Failed, None, None, Some(error));
        } else {
            self.effects.push(Effect::Drop);
            let seconds = self.config.limits.search_time.as_secs();
            let message = format!("the search for passages took longer than {seconds} s");
            self.found(Err(ModelFailure { kind: crate::model::FailureKind::Failed, message }), now);
        }
    }

    pub(super) fn stop(&mut self, from: Id, event_id: Option<String>, answer: Option<String>, now: Now) {
        let client = self.members.get(&from).map(|member| member.client.as_str().to_owned());
        let this = |id: &str| answer.as_deref().is_none_or(|answer| answer == id);
        match &mut self.assistant.phase {
            Phase::Opening { end, .. } if answer.is_none() => {
                let end = end.get_or_insert(Stopped { status: Status::Stopped, client, waiters: Vec::new() });
                if end.waiters.len() < MOST_WAITERS {
                    return end.waiters.push((from, event_id));
                }
            }
            Phase::Writing(writing) if this(&writing.id) => {
                self.end(Status::Stopped, None, client, None);
                if let Phase::Ending { waiters, .. } = &mut self.assistant.phase {
                    waiters.push((from, event_id));
                }
                return self.pump(now);
            }
            Phase::Ending { id, waiters } if this(id) => {
                if waiters.len() < MOST_WAITERS {
                    return waiters.push((from, event_id));
                }
            }
            _ => {
                return self.error(
                    from,
                    event_id.as_deref(),
                    "no_answer",
                    "nothing like it is being answered",
                );
            }
        }
        self.error(from, event_id.as_deref(), "overloaded", "the answer is about to end: wait for it");
    }

    /// The one place where an answer ends.
    fn end(&mut self, status: Status, usage: Option<Usage>, client: Option<String>, error: Option<String>) {
        let Phase::Writing(_) = self.assistant.phase else { return };
        let Phase::Writing(Writing { id, text, .. }) = std::mem::take(&mut self.assistant.phase) else {
            return;
        };
        self.effects.push(Effect::Drop);
        self.assistant.phase = Phase::Ending { id: id.clone(), waiters: Vec::new() };
        let done = AnswerDone { id, status, text, usage: usage.map(Into::into), client, error };
        self.own.push_back(Own::Done(done));
    }

    /// Its end has been kept.
    pub(super) fn ended(&mut self, id: &str, seq: u64, now: Now) {
        let Phase::Ending { .. } = self.assistant.phase else { return };
        let Phase::Ending { waiters, .. } = std::mem::take(&mut self.assistant.phase) else { return };
        for (to, event_id) in waiters {
            self.ack(to, event_id.as_deref(), id, seq, false);
        }
        self.next_question(now);
    }

    /// The room ends: so does what is being written. Questions that wait stay unanswered in the history, which says so when it is
    /// loaded again.
    pub(super) fn end_answers(&mut self, _now: Now) {
        self.assistant.questions.clear();
        let opening_waits = self.own.iter().any(|own| matches!(own, Own::Open { .. }));
        match &mut self.assistant.phase {
            Phase::Seeking { .. } => {
                self.effects.push(Effect::Drop);
                self.assistant.phase = Phase::Idle;
            }
            Phase::Opening { end, .. } if opening_waits => {
                let waiters = end.take().map(|end| end.waiters).unwrap_or_default();
                self.own.retain(|own| !matches!(own, Own::Open { .. }));
                self.assistant.phase = Phase::Idle;
                for (to, event_id) in waiters {
                    self.error(to, event_id.as_deref(), "no_answer", "nothing is being answered");
                }
            }
            Phase::Opening { end, .. } => {
                let stopped = Stopped { status: Status::Interrupted, client: None, waiters: Vec::new() };
                end.get_or_insert(stopped);
            }
            Phase::Writing(_) => {
                self.end(Status::Interrupted, None, None, Some("the server is shutting down".to_owned()));
            }
            Phase::Idle | Phase::Ending { .. } => {}
        }
    }

    /// Its beginning or end could not be kept, and will not be tried again.
    pub(super) fn give_up_answer(&mut self, message: &str) {
        let waiters = match std::mem::take(&mut self.assistant.phase) {
            Phase::Ending { waiters, .. } => waiters,
            Phase::Opening { end, .. } => end.map(|end| end.waiters).unwrap_or_default(),
            Phase::Idle | Phase::Seeking { .. } | Phase::Writing(_) => Vec::new(),
        };
        for (to, event_id) in waiters {
            self.error(to, event_id.as_deref(), "not_kept", message);
        }
    }
}
