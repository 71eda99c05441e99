use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Output, State, Value, escape_formatter};

use super::to_json::{DEEPEST, MOST, float};

/// Writes what `{{ … }}` holds, as Python prints it.
pub(super) fn print(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match own(value)? {
        Some(text) => out.write_str(&text).map_err(Error::from),
        None => escape_formatter(out, state, value),
    }
}

/// The filter `string`.
pub(super) fn to_text(value: &Value) -> Result<Value, Error> {
    match own(value)? {
        Some(text) => Ok(text.into()),
        None if value.kind() == ValueKind::String => Ok(value.clone()),
        None => Ok(value.to_string().into()),
    }
}

/// What minijinja prints otherwise than Python: numbers with an exponent, and all that may hold one. Lists that are
/// made of themselves it would print without end.
fn own(value: &Value) -> Result<Option<String>, Error> {
    let own = match value.kind() {
        ValueKind::Number => !value.is_integer(),
        ValueKind::Seq | ValueKind::Map => true,
        _ => false,
    };
    let mut text = String::new();
    if own {
        add(&mut text, value, 0)?;
    }
    Ok(own.then_some(text))
}

fn add(text: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > DEEPEST || text.len() > MOST {
        return Err(Error::new(ErrorKind::InvalidOperation, "the value is too large to be printed"));
    }
    let separate = |text: &mut String, index: usize| text.push_str(if index > 0 { ", " } else { "" });
    match value.kind() {
        ValueKind::Number if !value.is_integer() => {
            let number = f64::try_from(value.clone())?;
            let number = if number.is_finite() { float(number) } else { number.to_string().to_lowercase() };
            text.push_str(&number);
        }
        ValueKind::Seq => {
            let (open, close) = if value.is_tuple() { ('(', ')') } else { ('[', ']') };
            text.push(open);
            for (index, item) in value.try_iter()?.enumerate() {
                separate(text, index);
                add(text, &item, depth + 1)?;
            }
            if value.is_tuple() && value.len() == Some(1) {
                text.push(',');
            }
            text.push(close);
        }
        ValueKind::Map => {
            text.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                separate(text, index);
                add(text, &key, depth + 1)?;
                text.push_str(": ");
                add(text, &value.get_item(&key)?, depth + 1)?;
            }
            text.push('}');
        }
        ValueKind::Undefined => text.push_str("Undefined"),
        _ => text.push_str(&format!("{value:?}")),
    }
    Ok(())
}
