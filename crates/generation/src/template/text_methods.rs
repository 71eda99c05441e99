use minijinja::value::{Tuple, from_args};
use minijinja::{Error, ErrorKind, Value};

/// A method of Python's `str`. `None`: it is left to minijinja's own.
pub(super) fn call(text: &str, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let result: Value = match name {
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<&str>,) = from_args(args)?;
            let strips = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
            match name {
                "strip" => text.trim_matches(strips),
                "lstrip" => text.trim_start_matches(strips),
                _ => text.trim_end_matches(strips),
            }
            .into()
        }
        "split" | "rsplit" => {
            let (separator, most): (Option<&str>, Option<i64>) = from_args(args)?;
            let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX - 1);
            split(text, separator, most, name == "rsplit")?.into_iter().map(Value::from).collect()
        }
        "splitlines" => {
            let (keep,): (Option<bool>,) = from_args(args)?;
            split_lines(text, keep.unwrap_or(false)).into_iter().map(Value::from).collect()
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            text.strip_prefix(prefix).unwrap_or(text).into()
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            text.strip_suffix(suffix).unwrap_or(text).into()
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            not_empty(separator)?;
            let found =
                if name == "partition" { text.split_once(separator) } else { text.rsplit_once(separator) };
            let parts = match found {
                Some((before, after)) => [before, separator, after],
                None if name == "partition" => [text, "", ""],
                None => ["", "", text],
            };
            Value::from(Tuple::from(parts.map(Value::from)))
        }
        "index" | "rindex" => {
            let (what,): (&str,) = from_args(args)?;
            let at = if name == "index" { text.find(what) } else { text.rfind(what) };
            match at {
                Some(at) => text[..at].chars().count().into(),
                None => return Err(invalid(format!("str.{name}: substring not found"))),
            }
        }
        "ljust" | "rjust" | "center" | "zfill" => {
            let (width, fill): (i64, Option<&str>) = from_args(args)?;
            let fill = if name == "zfill" { "0" } else { fill.unwrap_or(" ") };
            pad(text, usize::try_from(width).unwrap_or(0), fill, name)?.into()
        }
        "title" => {
            let mut within = false;
            let letter = |c: char| -> String {
                let begins = !std::mem::replace(&mut within, c.is_alphabetic());
                if begins { c.to_uppercase().collect() } else { c.to_lowercase().collect() }
            };
            text.chars().map(letter).collect::<String>().into()
        }
        "swapcase" => {
            let swap = |c: char| -> String {
                if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() }
            };
            text.chars().map(swap).collect::<String>().into()
        }
        "casefold" => text.to_lowercase().replace('ß', "ss").into(),
        _ => return Ok(None),
    };
    Ok(Some(result))
}

/// What Python takes for white space: more than Rust does.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn split<'t>(
    text: &'t str,
    separator: Option<&str>,
    most: usize,
    from_end: bool,
) -> Result<Vec<&'t str>, Error> {
    if let Some(separator) = separator {
        not_empty(separator)?;
        if from_end {
            let mut parts: Vec<&str> = text.rsplitn(most + 1, separator).collect();
            parts.reverse();
            return Ok(parts);
        }
        return Ok(text.splitn(most + 1, separator).collect());
    }
    let mut parts = Vec::new();
    let mut rest = if from_end { text.trim_end_matches(is_space) } else { text.trim_start_matches(is_space) };
    while !rest.is_empty() {
        let cut = if from_end { rest.rfind(is_space) } else { rest.find(is_space) };
        let Some(cut) = cut.filter(|_| parts.len() < most) else {
            parts.push(rest);
            break;
        };
        if from_end {
            let word = cut + rest[cut..].chars().next().map_or(1, char::len_utf8);
            parts.push(&rest[word..]);
            rest = rest[..cut].trim_end_matches(is_space);
        } else {
            parts.push(&rest[..cut]);
            rest = rest[cut..].trim_start_matches(is_space);
        }
    }
    if from_end {
        parts.reverse();
    }
    Ok(parts)
}

fn split_lines(text: &str, keep: bool) -> Vec<&str> {
    let ends = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(ends) {
        let end = if rest[at..].starts_with("\r\n") {
            at + 2
        } else {
            at + rest[at..].chars().next().map_or(1, char::len_utf8)
        };
        lines.push(&rest[..if keep { end } else { at }]);
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// More than this no template needs.
const WIDEST: usize = 10_000;

fn pad(text: &str, width: usize, fill: &str, how: &str) -> Result<String, Error> {
    if width > WIDEST || fill.chars().count() != 1 {
        return Err(invalid(format!("str.{how}: the width is at most {WIDEST}, the fill one character")));
    }
    let missing = width.saturating_sub(text.chars().count());
    let of = |count: usize| fill.repeat(count);
    Ok(match how {
        "ljust" => format!("{text}{}", of(missing)),
        "rjust" => format!("{}{text}", of(missing)),
        // Python puts the odd one to the left only where the width is odd.
        "center" => {
            let left = missing / 2 + (missing & width & 1);
            format!("{}{text}{}", of(left), of(missing - left))
        }
        _ => match text.strip_prefix(['+', '-']) {
            Some(digits) => format!("{}{}{digits}", &text[..1], of(missing)),
            None => format!("{}{text}", of(missing)),
        },
    })
}

fn not_empty(separator: &str) -> Result<(), Error> {
    if separator.is_empty() { Err(invalid("empty separator".to_owned())) } else { Ok(()) }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}
