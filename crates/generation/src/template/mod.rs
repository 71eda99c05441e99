//! Chat templates: a model's own, in Jinja, with what transformers' `apply_chat_template` gives them.
//!
//! That is: `trim_blocks` and `lstrip_blocks`, `break` and `continue`, `{% generation %}`, `raise_exception`,
//! `strftime_now`, a `tojson` that escapes no HTML, and the methods of Python's strings, lists and dictionaries. A
//! template comes with a model from anywhere, so what it may compute is bounded.

mod chat;
mod printing;
mod python;
mod tags;
mod text_methods;
mod to_json;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use pool_core::ModelError;

pub use chat::Chat;

use crate::tools::ToolFormat;

/// One instruction of a template, or 64 bytes it writes, burn one unit. The longest conversations burn some hundred
/// thousand; this many take about a second.
const FUEL: u64 = 10_000_000;

/// What the template is called within its environment.
const NAME: &str = "chat";

/// A model's chat template, ready to be rendered.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    /// The template for conversations, and one for those with tools if it is another.
    default: Option<Compiled>,
    with_tools: Option<Compiled>,
}

#[derive(Clone, Debug)]
struct Compiled {
    environment: Environment<'static>,
    format: Option<ToolFormat>,
}

/// Why a conversation could not be turned into a prompt.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The template is no Jinja.
    #[error("the model's chat template has an error in line {line}: {message}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// The list of templates names none for conversations.
    #[error("the model has several chat templates and none is named \"default\"; there are: {names}")]
    NoDefault {
        /// The names there are.
        names: String,
    },
    /// The template itself refuses the conversation.
    #[error("the model's chat template refuses these messages: {0}")]
    Refused(String),
    /// The template goes on for too long.
    #[error(
        "the model's chat template was stopped after {FUEL} instructions: it loops, or the conversation is far too long"
    )]
    Endless,
    /// The template failed on this conversation.
    #[error("the model's chat template failed in line {line}: {message}")]
    Failed {
        /// The line, from 1.
        line: usize,
        /// What went wrong there.
        message: String,
    },
    /// The conversation is none.
    #[error("{0}")]
    Invalid(String),
}

impl From<TemplateError> for ModelError {
    fn from(error: TemplateError) -> Self {
        Self::invalid(error.to_string())
    }
}

/// What a template raised by itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Syntax`] with the line.
    pub fn new(source: &str) -> Result<Self, TemplateError> {
        Ok(Self { default: Some(Compiled::new(source)?), with_tools: None })
    }

    /// Compiles what `chat_template` says in a `tokenizer_config.json`: a template, or a list of them with names.
    /// `None`: it says nothing.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Syntax`] with the line.
    pub fn of_config(value: &serde_json::Value) -> Result<Option<Self>, TemplateError> {
        let named: Vec<(&str, &str)> = match value {
            serde_json::Value::String(source) => return Self::new(source).map(Some),
            serde_json::Value::Array(list) => list
                .iter()
                .filter_map(|one| Some((one.get("name")?.as_str()?, one.get("template")?.as_str()?)))
                .collect(),
            serde_json::Value::Object(map) => {
                map.iter().filter_map(|(name, source)| Some((name.as_str(), source.as_str()?))).collect()
            }
            _ => return Ok(None),
        };
        let compile = |name: &str| {
            let source = named.iter().find(|(other, _)| *other == name).map(|(_, source)| *source);
            source.map(Compiled::new).transpose()
        };
        let (default, with_tools) = (compile("default")?, compile("tool_use")?);
        if default.is_none() && with_tools.is_none() {
            let names = named.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            return Err(TemplateError::NoDefault { names });
        }
        Ok(Some(Self { default, with_tools }))
    }

    /// How the model writes calls of tools, so far as its template tells. `None`: it has no place for tools, or none
    /// that is known here.
    pub fn tool_format(&self) -> Option<ToolFormat> {
        [&self.with_tools, &self.default].into_iter().flatten().find_map(|compiled| compiled.format)
    }

    /// Renders a conversation. The text holds every control token the model wants, so it is encoded without adding
    /// any.
    ///
    /// # Errors
    ///
    /// [`TemplateError`]: the template refuses the conversation, fails on it, or does not come to an end.
    pub fn render(&self, chat: &Chat) -> Result<String, TemplateError> {
        let with_tools = self.with_tools.as_ref().filter(|_| chat.tools.is_some());
        let Some(compiled) = with_tools.or(self.default.as_ref()) else {
            return Err(TemplateError::NoDefault { names: "tool_use".to_owned() });
        };
        let (context, tag) = chat.context()?;
        let render = |context: &Value| {
            let template = compiled.environment.get_template(NAME)?;
            template.render(context)
        };
        let text = render(&context).map_err(|error| failure(&error))?;
        match tag {
            None => Ok(text),
            Some(tag) => tag.cut(text),
        }
    }
}

impl Compiled {
    fn new(source: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(
            syntax.map_err(|error| TemplateError::Syntax { line: 0, message: describe(&error) })?,
        );
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_formatter(printing::print);
        environment.add_filter("string", printing::to_text);
        environment.set_unknown_method_callback(python::method);
        environment.add_filter("tojson", to_json::to_json);
        environment.add_filter(tags::LOOPED, python::looped_over);
        environment.add_function("raise_exception", raise_exception);
        environment.add_test("sequence", python::is_sequence);
        environment.add_test("iterable", python::is_iterable);
        // As Jinja reads every source.
        let source = tags::replace(&source.replace("\r\n", "\n").replace('\r', "\n"));
        environment.add_template_owned(NAME, source.clone()).map_err(|error| TemplateError::Syntax {
            line: error.line().unwrap_or(0),
            message: describe(&error),
        })?;
        Ok(Self { environment, format: ToolFormat::of_template(&source) })
    }
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, "raised").with_source(Raised(message)))
}

fn failure(error: &Error) -> TemplateError {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(one) = cause {
        if let Some(Raised(message)) = one.downcast_ref() {
            return TemplateError::Refused(message.clone());
        }
        if one.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::OutOfFuel) {
            return TemplateError::Endless;
        }
        cause = one.source();
    }
    TemplateError::Failed { line: error.line().unwrap_or(0), message: describe(error) }
}

fn describe(error: &Error) -> String {
    let kind = error.kind().to_string();
    match error.detail() {
        Some(detail) => format!("{kind}: {}", detail.lines().next().unwrap_or_default()),
        None => kind,
    }
}
