use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::InferenceCapabilities;
use llguidance::{Matcher, ParserFactory};
use pool_core::ModelError;
use serde_json::{Value, json};

use super::state::GrammarState;
use super::tokens::tokens;
use crate::tools::{ToolFormat, Tools};
use crate::vocabulary::Vocabulary;

/// White space between two parts of a JSON text: enough for any indentation, and no model writes it without end.
const WHITE_SPACE: &str = r"[ \n\r\t]{1,64}";

/// Values within one another that a schema may have: as many as JSON texts are usually read with. The compiler goes into
/// each by a call of its own, and a stack ends.
const DEEPEST: usize = 128;
/// The depths of all parts that a schema refers to, added up: the compiler may follow each from within another.
const REFERRED: usize = 512;

/// What one grammar may take, at most: schemas of a few hundred kilobytes compile, masks take milliseconds, and a state
/// of the lexer takes one or two kilobytes.
fn limit(limits: &mut ParserLimits) {
    limits.initial_lexer_fuel = 500_000;
    limits.step_lexer_fuel = 100_000;
    limits.max_grammar_size = 200_000;
    limits.max_lexer_states = 20_000;
    limits.verbose_errors = false;
}

const RESPONSE_FORMAT: &str = "response_format";
const TOOLS: &str = "tools";

/// Compiles grammars for one vocabulary.
pub struct Grammars {
    vocabulary: Arc<dyn Vocabulary>,
    /// Made when it is first needed. `None` if the vocabulary has no end token.
    factory: OnceLock<Result<Option<ParserFactory>, String>>,
}

/// A compiled grammar, to be put into a [`GenerationJob`](crate::GenerationJob).
pub struct Grammar {
    matcher: Mutex<Matcher>,
    /// The parameter that asks for it.
    parameter: &'static str,
}

impl Grammars {
    /// For this vocabulary. The first grammar takes a second longer, if the vocabulary is large.
    pub fn new(vocabulary: Arc<dyn Vocabulary>) -> Self {
        Self { vocabulary, factory: OnceLock::new() }
    }

    /// Any JSON object.
    ///
    /// # Errors
    ///
    /// When the model has no end token.
    pub fn json_object(&self) -> Result<Grammar, ModelError> {
        self.compile(
            TopLevelGrammar::from_json_schema(with_white_space(json!({"type": "object"}))),
            RESPONSE_FORMAT,
            "a JSON object",
        )
    }

    /// JSON that a schema describes.
    ///
    /// # Errors
    ///
    /// [`ModelError::Invalid`] when the schema is none, or asks for something that cannot be enforced; which it is.
    pub fn json_schema(&self, schema: &Value) -> Result<Grammar, ModelError> {
        if !schema.is_object() {
            return Err(ModelError::invalid(
                "response_format: the JSON schema is no object; give one such as {\"type\": \"object\"}",
            ));
        }
        check_depth(schema, RESPONSE_FORMAT, "the JSON schema")?;
        self.compile(
            TopLevelGrammar::from_json_schema(with_white_space(schema.clone())),
            RESPONSE_FORMAT,
            "the JSON schema",
        )
    }

    /// One call, or several, of these tools, as the model's family writes them.
    ///
    /// # Errors
    ///
    /// [`ModelError::Invalid`] when a tool's parameters are no schema that can be enforced.
    pub fn tool_calls(
        &self,
        format: ToolFormat,
        tools: &Tools,
        several: bool,
    ) -> Result<Grammar, ModelError> {
        for tool in tools.iter() {
            check_depth(&tool.parameters, TOOLS, &format!("the schema of {:?}", tool.name))?;
        }
        let grammar = format.grammar(tools, several, &*self.vocabulary);
        self.compile(TopLevelGrammar::from_lark(grammar), TOOLS, "a call with these parameters")
    }

    /// What follows once a model that may call these tools has begun a call: see [`ToolUse`](crate::ToolUse).
    ///
    /// # Errors
    ///
    /// As [`Grammars::tool_calls`].
    pub fn begun_call(
        &self,
        format: ToolFormat,
        tools: &Tools,
        several: bool,
    ) -> Result<Grammar, ModelError> {
        self.tool_calls(format, tools, several && format.lists_calls())
    }

    fn compile(
        &self,
        grammar: TopLevelGrammar,
        parameter: &'static str,
        what: &str,
    ) -> Result<Grammar, ModelError> {
        let factory = self.factory.get_or_init(|| factory(&self.vocabulary));
        let factory = factory.as_ref().map_err(|error| ModelError::failed(error.clone()))?;
        let Some(factory) = factory else {
            let message = "this model names no end token, so its answers cannot follow a grammar";
            return Err(ModelError::invalid(message));
        };
        let matcher = Matcher::new(factory.create_parser(grammar));
        match matcher.get_error() {
            None => Ok(Grammar { matcher: Mutex::new(matcher), parameter }),
            Some(error) => {
                let why = one_line(&error);
                Err(ModelError::invalid(format!("{parameter}: {what} cannot be followed: {why}")))
            }
        }
    }
}

fn factory(vocabulary: &Arc<dyn Vocabulary>) -> Result<Option<ParserFactory>, String> {
    let Some(tokens) = tokens(vocabulary) else { return Ok(None) };
    let able = InferenceCapabilities { ff_tokens: true, ..InferenceCapabilities::default() };
    let slices = llguidance::earley::SlicedBiasComputer::json_slices();
    let mut factory =
        ParserFactory::new(&tokens, able, &slices).map_err(|error| one_line(&error.to_string()))?;
    factory.quiet();
    limit(factory.limits_mut());
    Ok(Some(factory))
}

/// Refuses a schema of too many values within one another, and one whose references, followed one from another, could
/// come to too many.
fn check_depth(schema: &Value, parameter: &str, what: &str) -> Result<(), ModelError> {
    let mut references = BTreeSet::new();
    let own = depth(schema, &mut references);
    if own > DEEPEST {
        return Err(ModelError::invalid(format!(
            "{parameter}: {what} is nested {own} deep; accepted: at most {DEEPEST}, so name parts of it in $defs"
        )));
    }
    let target = |reference: &str| schema.pointer(reference.strip_prefix('#')?);
    let referred =
        references.iter().map(|to| target(to).map_or(own, |part| depth(part, &mut BTreeSet::new())));
    let all: usize = referred.sum();
    if all > REFERRED {
        return Err(ModelError::invalid(format!(
            "{parameter}: {what} refers to parts that are {all} deep in all; accepted: at most {REFERRED}, so use fewer"
        )));
    }
    Ok(())
}

/// How many values are within one another, and what they refer to.
fn depth<'v>(schema: &'v Value, references: &mut BTreeSet<&'v str>) -> usize {
    let mut deepest = 0;
    let mut left = vec![(schema, 1)];
    while let Some((value, depth)) = left.pop() {
        deepest = deepest.max(depth);
        match value {
            Value::Array(values) => left.extend(values.iter().map(|value| (value, depth + 1))),
            Value::Object(fields) => {
                references.extend(fields.get("$ref").and_then(Value::as_str));
                left.extend(fields.values().map(|value| (value, depth + 1)));
            }
            _ => {}
        }
    }
    deepest
}

/// Bounds white space. What a caller's schema says about it is the library's own extension, and not obeyed.
pub(crate) fn with_white_space(mut schema: Value) -> Value {
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("x-guidance".to_owned(), json!({"whitespace_pattern": WHITE_SPACE}));
    }
    schema
}

/// The first line of a message, shortened.
pub(super) fn one_line(message: &str) -> String {
    let line = message.lines().find(|line| !line.trim().is_empty()).unwrap_or("no reason given").trim();
    line.chars().take(300).collect()
}

impl Grammar {
    /// A fresh start through it.
    pub(crate) fn start(&self) -> GrammarState {
        let matcher = self.matcher.lock().unwrap_or_else(PoisonError::into_inner);
        GrammarState::new(matcher.clone(), self.parameter)
    }
}

impl fmt::Debug for Grammars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grammars").field("vocabulary", &self.vocabulary).finish_non_exhaustive()
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Grammar")
    }
}
