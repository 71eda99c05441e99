//! JSON in: parsed off the runtime's threads where it is long, and told apart by what is wrong with it.

use std::fmt;
use std::marker::PhantomData;

use pool_core::ModelId;
use pool_core::compute::Claim;
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};

use super::AppState;
use super::body::WholeBody;
use super::errors::ApiError;
use crate::failure::shortened;

/// Longer JSON, read or written, goes through a compute lane: it would hold up everybody else on this thread.
pub(super) const HEAVY: usize = 64 << 10;

/// More entries than any queue takes by default sixteen times over. A list that is longer is refused while it is read: its
/// entries, each small, would take many times the memory of the body.
pub(super) const LONGEST_LIST: usize = 65_536;

/// Says that a list has more entries than that.
pub(super) fn too_long<E: de::Error>(name: &str) -> E {
    E::custom(format!("{name} has more than {LONGEST_LIST} entries; send fewer at once"))
}

/// Reads the entries of a list that is not too long.
pub(super) fn entries<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    mut list: A,
    name: &str,
) -> Result<Vec<T>, A::Error> {
    let mut entries = Vec::new();
    while let Some(entry) = list.next_element()? {
        if entries.len() == LONGEST_LIST {
            return Err(too_long(name));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Reads a list that is not too long.
pub(super) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
    name: &'static str,
) -> Result<Vec<T>, D::Error> {
    struct List<T>(&'static str, PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
            entries(list, self.0)
        }
    }

    deserializer.deserialize_seq(List(name, PhantomData))
}

/// A parameter's name that a client made up may be as long as its body.
const LONGEST_NAME: usize = 200;

/// On whose account the server's own work goes in the lanes.
pub(super) fn claim() -> Claim {
    // No model's name has brackets.
    Claim::new(ModelId::new("(http)"))
}

/// Parses a body.
///
/// # Errors
///
/// 400 with the place, and with the parameter's name where there is one.
pub(super) async fn parse<T: DeserializeOwned + Send + 'static>(
    app: &AppState,
    body: WholeBody,
) -> Result<T, ApiError> {
    if body.len() <= HEAVY {
        return body.read_with(read);
    }
    app.engine.lanes().prepare(&claim(), move || body.read_with(read)).await?
}

/// Reads what a form says as if it were JSON.
///
/// # Errors
///
/// As [`parse`].
pub(super) fn of_form<T: DeserializeOwned>(form: Map<String, Value>) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(Value::Object(form)).map_err(|error| {
        let path = error.path().to_string();
        refusal(if path == "." { "" } else { &path }, &error.into_inner())
    })
}

fn read<T: DeserializeOwned>(bytes: Vec<u8>) -> Result<T, ApiError> {
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let message = format!("the body is not UTF-8: byte {} begins no character", error.valid_up_to() + 1);
        ApiError::invalid("invalid_json", message)
    })?;
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        refusal(if path == "." { "" } else { &path }, &error.into_inner())
    })?;
    json.end().map_err(|error| refusal("", &error))?;
    Ok(parsed)
}

/// What is wrong, from serde's error and the path to where it arose.
fn refusal(path: &str, error: &serde_json::Error) -> ApiError {
    let told = error.to_string();
    if error.classify() != Category::Data {
        return ApiError::invalid("invalid_json", format!("the body is not JSON: {told}"));
    }
    // A form's fields have no such place.
    let place = match error.line() {
        0 => String::new(),
        line => format!(" at line {line} column {}", error.column()),
    };
    let reason = told.strip_suffix(&place).unwrap_or(&told);
    if let Some((name, known)) = quoted(reason, "unknown field `") {
        let param = inside(path, name);
        let param = shortened(&param, LONGEST_NAME);
        let known =
            known.split_once("expected ").map_or("", |(_, known)| known).trim_start_matches("one of ");
        let message = format!(
            "parameter {param} is not supported; supported are {}",
            known.replace("` or `", "`, `").replace('`', "")
        );
        return ApiError::invalid("unknown_parameter", message).param(param.as_ref());
    }
    if let Some((name, _)) = quoted(reason, "missing field `") {
        let param = inside(path, name);
        return ApiError::invalid("missing_parameter", format!("parameter {param} is missing")).param(param);
    }
    if path.is_empty() {
        return ApiError::invalid("invalid_value", format!("{reason}{place}"));
    }
    let path = shortened(path, LONGEST_NAME);
    ApiError::invalid("invalid_value", format!("{path}: {reason}{place}")).param(path.as_ref())
}

fn quoted<'a>(reason: &'a str, before: &str) -> Option<(&'a str, &'a str)> {
    reason.strip_prefix(before)?.split_once('`')
}

/// A field within what the path leads to; some errors' paths name the field already.
fn inside(path: &str, name: &str) -> String {
    match path.strip_suffix(name) {
        Some("") => name.to_owned(),
        Some(outer) if outer.ends_with('.') => path.to_owned(),
        _ if path.is_empty() => name.to_owned(),
        _ => format!("{path}.{name}"),
    }
}
