use std::fmt::Write;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};

/// Python's `json.dumps`, as transformers hands it to templates: it escapes no HTML and keeps other than ASCII letters.
pub(super) fn to_json(value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<Value> = options.get("indent")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    let sort_keys: Option<bool> = options.get("sort_keys")?;
    options.assert_all_used()?;
    let indent =
        indent.filter(|indent| !indent.is_none() && !indent.is_undefined()).map(|indent| {
            match indent.as_str() {
                Some(text) => text.to_owned(),
                None => " ".repeat(indent.as_i64().unwrap_or(0).clamp(0, 64) as usize),
            }
        });
    let between = if indent.is_some() { "," } else { ", " };
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(invalid("tojson: separators are two strings")),
        None => (between.to_owned(), ": ".to_owned()),
    };
    let mut json = Json {
        out: String::new(),
        indent,
        item,
        key,
        ascii: ascii.unwrap_or(false),
        sort_keys: sort_keys.unwrap_or(false),
    };
    json.value(value, 0)?;
    Ok(Value::from(json.out))
}

/// Longer than this no text may get: lists that are made of themselves have no end.
pub(super) const MOST: usize = 4 << 20;

/// Deeper than this nothing is, but what loops.
pub(super) const DEEPEST: usize = 200;

struct Json {
    out: String,
    indent: Option<String>,
    item: String,
    key: String,
    ascii: bool,
    sort_keys: bool,
}

impl Json {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > DEEPEST {
            return Err(invalid("tojson: the value is nested too deeply"));
        }
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&number(value)?),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                self.list('[', ']', value.try_iter()?, depth, |json, item| json.value(item, depth + 1))?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.take(MOST + 1).collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.list('{', '}', keys.into_iter(), depth, |json, key| {
                    match key.as_str() {
                        Some(text) => json.string(text),
                        None => json.string(&key_text(key)?),
                    }
                    let between = json.key.clone();
                    json.out.push_str(&between);
                    json.value(&value.get_item(key)?, depth + 1)
                })?;
            }
            kind => return Err(invalid(&format!("tojson: a value of kind {kind} is no JSON"))),
        }
        Ok(())
    }

    fn list(
        &mut self,
        open: char,
        close: char,
        items: impl Iterator<Item = Value>,
        depth: usize,
        mut each: impl FnMut(&mut Self, &Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.out.push(open);
        let between = self.item.clone();
        let mut empty = true;
        for (index, item) in items.enumerate() {
            empty = false;
            if self.out.len() > MOST {
                return Err(invalid("tojson: the value is too large"));
            }
            if index > 0 {
                self.out.push_str(&between);
            }
            self.new_line(depth + 1);
            each(self, &item)?;
        }
        if !empty {
            self.new_line(depth);
        }
        self.out.push(close);
        Ok(())
    }

    fn new_line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            for _ in 0..depth {
                self.out.push_str(indent);
            }
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if c < ' ' || (self.ascii && c > '~') => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        // Writing to a string does not fail.
                        let _ = write!(self.out, "\\u{unit:04x}");
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

/// What a key that is no string is called.
fn key_text(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::None => Ok("null".to_owned()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.to_owned()),
        ValueKind::Number => number(key),
        kind => Err(invalid(&format!("tojson: a key of kind {kind} is no JSON"))),
    }
}

fn number(value: &Value) -> Result<String, Error> {
    if value.is_integer() { Ok(value.to_string()) } else { Ok(float(f64::try_from(value.clone())?)) }
}

/// A float as Python writes it: the fewest digits that tell it apart, with an exponent below 1e-4 and from 1e16.
pub(super) fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{number}");
    if plain.contains('.') { plain } else { plain + ".0" }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.to_owned())
}
