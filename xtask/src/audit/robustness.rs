//! The audit meets code in any state: it must report, never panic.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};

use super::{
    names::graph::Graph,
    rules::{self, Context},
    source::{self, Source},
    walk,
};

/// Audits one text as the only file of its tree, and says how many findings it has.
fn audit(text: &str) -> usize {
    let source = Source {
        path: PathBuf::from("/tree/a.rs"),
        relative: "a.rs".to_owned(),
        text: text.to_owned(),
        ast: source::parse(text),
    };
    audit_source(source)
}

fn audit_source(source: Source) -> usize {
    let sources = [source];
    let graph = Graph::build(&sources, &[], true);
    let (events, (_, findings)) = walk(&sources, &graph, true);
    let context = Context { sources: &sources, graph: &graph, events: &events, is_this_workspace: true };
    findings.len() + rules::check(&context).len()
}

/// This program's own sources and the fixtures.
fn own_sources() -> Vec<String> {
    let mut texts = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && let Ok(text) = fs::read_to_string(&path)
            {
                texts.push(text);
            }
        }
    }
    assert!(texts.len() > 40);
    texts.sort();
    texts
}

#[test]
fn truncated_sources_do_not_panic() {
    for text in own_sources() {
        let step = (text.len() / 23).max(1);
        for end in (0..text.len()).step_by(step) {
            let end = (0..=end).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            audit(&text[..end]);
        }
    }
}

#[test]
fn sources_without_some_lines_do_not_panic() {
    for text in own_sources() {
        for every in [3, 7, 31] {
            let left: Vec<&str> = text
                .lines()
                .enumerate()
                .filter(|(line, _)| line % every != 1)
                .map(|(_, line)| line)
                .collect();
            audit(&left.join("\n"));
        }
    }
}

/// Tokens of real code, cut and taken for the body of a macro: balanced, but seldom a syntax tree.
#[test]
fn any_tokens_in_macros_do_not_panic() {
    for text in own_sources() {
        let Ok(tokens) = text.parse::<TokenStream>() else {
            continue;
        };
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for cut in [0, 1, 2, 5, 11] {
            let body = |every: usize| -> TokenStream {
                let kept = tokens.iter().enumerate().skip(cut).filter(|(index, _)| index % every != 2);
                kept.map(|(_, token)| token.clone()).collect()
            };
            for every in [3, 5, 1000] {
                let body = body(every);
                let text = format!(
                    "m! {{ {body} }} macro_rules! n {{ ({body}) => {{ {body} }} }} fn f() {{ o!({body}) }}"
                );
                audit(&text);
            }
        }
    }
}

#[test]
fn imports_in_circles_end() {
    let text = "mod a { pub use super::b::*; pub use super::b::x as y; }\n\
                mod b { pub use super::a::*; pub use super::a::y as x; }\n\
                use a::x; use x as x2; use self::x2 as x; pub use crate::*; use super::super::q; type T = T; type U = V; type V = U;\n\
                fn f() { x(); y!(); T::new(); U::new(); self::b::y::z(); super::g(); crate::f(); Self::h(); }\n";
    assert_eq!(audit(text), 0);
}
