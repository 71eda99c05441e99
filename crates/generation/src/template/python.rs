use minijinja::value::{ValueKind, from_args};
use minijinja::{Error, ErrorKind, State, Value};

use super::text_methods;

/// Methods of Python's strings, lists and dictionaries that minijinja's own compatibility layer lacks or has otherwise.
/// Those that change a value are refused, as the sandbox of transformers does.
pub(super) fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let own = match value.kind() {
        ValueKind::String => match value.as_str() {
            Some(text) => text_methods::call(text, name, args)?,
            None => None,
        },
        ValueKind::Seq => list_method(value, name, args)?,
        ValueKind::Map => dictionary_method(value, name, args)?,
        _ => None,
    };
    match own {
        Some(result) => Ok(result),
        None => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args),
    }
}

/// What a list's items are looked at: one made of itself over and over has no end.
const LONGEST: usize = 1 << 20;

/// Whether a value has a length and can be indexed: in Python texts and dictionaries too.
pub(super) fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String | ValueKind::Undefined)
}

/// Whether a value can be gone through. None cannot.
pub(super) fn is_iterable(value: &Value) -> bool {
    is_sequence(value) || value.kind() == ValueKind::Iterable
}

/// What is looped over: anything but none.
pub(super) fn looped_over(value: &Value) -> Result<Value, Error> {
    if value.is_none() {
        return Err(Error::new(ErrorKind::InvalidOperation, "none cannot be looped over"));
    }
    Ok(value.clone())
}

fn list_method(list: &Value, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    match name {
        "append" | "extend" | "insert" | "pop" | "remove" | "clear" | "reverse" | "sort" => {
            Err(immutable("list", name))
        }
        "copy" => {
            let () = from_args(args)?;
            Ok(Some(list.clone()))
        }
        "index" => {
            let (what,): (&Value,) = from_args(args)?;
            match list.try_iter()?.take(LONGEST).position(|item| item == *what) {
                Some(index) => Ok(Some(Value::from(index))),
                None => Err(Error::new(ErrorKind::InvalidOperation, format!("{what:?} is not in list"))),
            }
        }
        _ => Ok(None),
    }
}

fn dictionary_method(map: &Value, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    match name {
        "pop" | "popitem" | "update" | "setdefault" | "clear" => Err(immutable("dict", name)),
        "copy" => {
            let () = from_args(args)?;
            Ok(Some(map.clone()))
        }
        _ => Ok(None),
    }
}

fn immutable(kind: &str, name: &str) -> Error {
    let message = format!("{kind}.{name} would change a value, which templates may not");
    Error::new(ErrorKind::InvalidOperation, message)
}
