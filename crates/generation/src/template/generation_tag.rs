/// Turns `{% generation %}` blocks, which mark a model's own words for training, into blocks that only have a scope.
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
            _ => {}
        }
        // Within raw text only the end of it counts.
        let kept = if raw && word(tag) != Some("raw") { 1 } else { length };
        out.push_str(&from[..kept]);
        rest = &from[kept..];
    }
    out + rest
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
