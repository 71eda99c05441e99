use std::ops::Range;

/// The filter that [`replace`] puts on what is looped over.
pub(super) const LOOPED: &str = "looped_over";

/// Turns `{% generation %}` blocks, which mark a model's own words for training, into blocks that only have a scope; and
/// passes what a `{% for %}` goes through by a filter, as minijinja takes none for an empty list.
pub(super) fn replace(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut raw = false;
    while let Some(at) = rest.find('{') {
        let (text, from) = rest.split_at(at);
        out.push_str(text);
        let length = match from.as_bytes().get(1) {
            Some(b'%') => tag_end(from, "%}"),
            Some(b'{') if !raw => tag_end(from, "}}"),
            Some(b'#') if !raw => from.find("#}").map_or(from.len(), |end| end + 2),
            _ => 1,
        };
        let (tag, after) = from.split_at(length);
        match from.as_bytes().get(1).filter(|kind| **kind == b'%').and_then(|_| word(tag)) {
            Some("endraw") => raw = false,
            Some("raw") => raw = true,
            Some(name @ ("generation" | "endgeneration")) if !raw => {
                let scope = if name == "generation" { "with" } else { "endwith" };
                out.push_str(&tag.replacen(name, scope, 1));
                rest = after;
                continue;
            }
            Some("for") if !raw => {
                match iterated(tag) {
                    Some(looped) => {
                        let (before, of, behind) =
                            (&tag[..looped.start], &tag[looped.clone()], &tag[looped.end..]);
                        out.extend([before, " (", of, ")|", LOOPED, " ", behind]);
                    }
                    None => out.push_str(tag),
                }
                rest = after;
                continue;
            }
            _ => {}
        }
        // Within raw text only the end of it counts.
        let kept = if raw && word(tag) != Some("raw") { 1 } else { length };
        out.push_str(&from[..kept]);
        rest = &from[kept..];
    }
    out + rest
}

/// Where in a `{% for … in … %}` tag that is which it goes through: up to a condition, `recursive` or the end.
fn iterated(tag: &str) -> Option<Range<usize>> {
    let end = tag.strip_suffix("%}")?;
    let end = end.strip_suffix(['-', '+']).unwrap_or(end);
    let (mut start, mut depth, mut quote, mut skip) = (None, 0_usize, None, false);
    let mut word = 2;
    for (at, c) in end.char_indices().skip(2) {
        if quote.is_none() && (c.is_alphanumeric() || c == '_') {
            continue;
        }
        let (name, from) = (&end[word..at], word);
        word = at + c.len_utf8();
        match start {
            // What is behind a dot is an attribute.
            _ if quote.is_some() || depth > 0 || end[..from].ends_with('.') => {}
            None if name == "in" => start = Some(at),
            Some(start) if matches!(name, "if" | "recursive") => return Some(start..from),
            _ => {}
        }
        match quote {
            _ if skip => skip = false,
            Some(_) if c == '\\' => skip = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None => match c {
                '\'' | '"' => quote = Some(c),
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            },
        }
    }
    let end = if end[word..] == *"recursive" { word } else { end.len() };
    // Nothing in parentheses would be an empty list.
    start.map(|start| start..end).filter(|range| !tag[range.clone()].trim().is_empty())
}

/// Where a tag ends: strings within it may hold anything.
fn tag_end(tag: &str, close: &str) -> usize {
    let mut quote = None;
    let mut skip = false;
    for (at, c) in tag.char_indices().skip(2) {
        match quote {
            _ if skip => skip = false,
            Some(_) if c == '\\' => skip = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            None if tag[at..].starts_with(close) => return at + close.len(),
            None => {}
        }
    }
    tag.len()
}

/// The first word of a `{% … %}` tag.
fn word(tag: &str) -> Option<&str> {
    let inner = tag.strip_prefix("{%")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner).trim_start();
    let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
    Some(&inner[..end])
}

#[cfg(test)]
mod tests {
    use super::replace;

    #[test]
    fn what_is_looped_over_is_filtered() {
        let cases = [
            ("{% for x in y %}a", "{% for x in ( y )|looped_over %}a"),
            (
                "{%- for in_, x in y.if['if'] if in_ in x -%}",
                "{%- for in_, x in ( y.if['if'] )|looped_over if in_ in x -%}",
            ),
            (
                "{% for x in f('if \\' if', [1 if 2 else 3])recursive%}",
                "{% for x in ( f('if \\' if', [1 if 2 else 3]))|looped_over recursive%}",
            ),
            ("{%for x in(1, 2)+%}", "{%for x in ((1, 2))|looped_over +%}"),
            ("{% for x in %}", "{% for x in %}"),
            ("{% for x in y recursive if x %}", "{% for x in ( y )|looped_over recursive if x %}"),
            (
                "{% raw %}{% for x in y %}{% endraw %}{% for x %}",
                "{% raw %}{% for x in y %}{% endraw %}{% for x %}",
            ),
        ];
        for (source, expected) in cases {
            assert_eq!(replace(source), expected);
        }
    }

    #[test]
    fn only_tags_are_replaced() {
        let cases = [
            ("{%- generation -%}a{% endgeneration %}", "{%- with -%}a{% endwith %}"),
            ("{% set generation = 1 %}{{ generation }}", "{% set generation = 1 %}{{ generation }}"),
            (
                "{# {% generation %} #}{{ '{% generation %}' }}",
                "{# {% generation %} #}{{ '{% generation %}' }}",
            ),
            (
                "{% raw %}{% generation %}{# {% endraw %}{%generation%}",
                "{% raw %}{% generation %}{# {% endraw %}{%with%}",
            ),
            (r#"{% set x = "\"%}{% generation %}" %}{ {"#, r#"{% set x = "\"%}{% generation %}" %}{ {"#),
            ("{% generations %}{%", "{% generations %}{%"),
        ];
        for (source, expected) in cases {
            assert_eq!(replace(source), expected);
        }
    }
}
