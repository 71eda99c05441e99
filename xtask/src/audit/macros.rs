//! What stands inside macros. Their tokens are no syntax tree: they are parsed as statements, expressions or items where
//! they can be, and cut into pieces that can be where they cannot. Fragments (`$x`) stand in as plain names.

use std::collections::HashMap;

use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};
use syn::{Expr, Item, Stmt, Token, ext::IdentExt as _, parse::Parser as _, punctuated::Punctuated};

/// How deep macros are looked for inside macros.
const DEEPEST_ITEMS: usize = 8;

/// What a macro's tokens turned out to be.
pub(crate) enum Body {
    Statements(Vec<Stmt>),
    Expressions(Vec<Expr>),
    Type(Box<syn::Type>),
    /// Neither: pieces between top-level separators, each an expression or tokens to scan.
    Pieces(Vec<Piece>),
}

/// A piece of a macro's tokens.
pub(crate) enum Piece {
    Expression(Box<Expr>),
    Tokens(Vec<TokenTree>),
}

/// Parses the tokens of a macro invocation, or of a `macro_rules!` arm once its fragments are replaced.
pub(crate) fn parse(tokens: TokenStream) -> Body {
    if let Ok(statements) = syn::Block::parse_within.parse2(tokens.clone())
        && !statements.iter().any(is_verbatim)
    {
        return Body::Statements(statements);
    }
    if let Ok(expressions) = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(tokens.clone()) {
        return Body::Expressions(expressions.into_iter().collect());
    }
    if let Ok(ty) = syn::parse2::<syn::Type>(tokens.clone()) {
        return Body::Type(Box::new(ty));
    }
    Body::Pieces(pieces(tokens))
}

fn is_verbatim(statement: &Stmt) -> bool {
    matches!(statement, Stmt::Item(Item::Verbatim(_)) | Stmt::Expr(Expr::Verbatim(_), _))
}

/// Cuts tokens at `,`, `;` and `=>` and parses each piece by itself.
fn pieces(tokens: TokenStream) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut piece: Vec<TokenTree> = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_separator = match &token {
            TokenTree::Punct(punct) => match punct.as_char() {
                ',' | ';' => true,
                '=' => {
                    let arrow = matches!(tokens.peek(), Some(TokenTree::Punct(next)) if next.as_char() == '>')
                        && punct.spacing() == proc_macro2::Spacing::Joint;
                    if arrow {
                        tokens.next();
                    }
                    arrow
                }
                _ => false,
            },
            _ => false,
        };
        if is_separator {
            pieces.extend(piece_of(std::mem::take(&mut piece)));
            continue;
        }
        // A block ends its piece where the next begins without a comma, as the arms of `select!` may.
        let ends = matches!(&token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
            && !matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if ".?".contains(punct.as_char()));
        piece.push(token);
        if ends {
            pieces.extend(piece_of(std::mem::take(&mut piece)));
        }
    }
    pieces.extend(piece_of(piece));
    pieces
}

fn piece_of(tokens: Vec<TokenTree>) -> Option<Piece> {
    if tokens.is_empty() {
        return None;
    }
    let stream: TokenStream = tokens.iter().cloned().collect();
    match syn::parse2::<Expr>(stream) {
        Ok(Expr::Verbatim(_)) | Err(_) => Some(Piece::Tokens(tokens)),
        Ok(expression) => Some(Piece::Expression(Box::new(expression))),
    }
}

/// The items that a macro invocation in item position declares, as far as they stand in its tokens as such.
pub(crate) fn items_within(tokens: &TokenStream) -> Vec<Item> {
    let mut items = Vec::new();
    add_items(tokens.clone(), 0, &mut items);
    items
}

fn add_items(tokens: TokenStream, depth: usize, items: &mut Vec<Item>) {
    if depth > DEEPEST_ITEMS {
        return;
    }
    if let Ok(file) = syn::parse2::<syn::File>(tokens.clone())
        && !file.items.iter().any(|item| matches!(item, Item::Verbatim(_)))
    {
        items.extend(file.items);
        return;
    }
    for token in tokens {
        if let TokenTree::Group(group) = token
            && group.delimiter() == Delimiter::Brace
        {
            add_items(group.stream(), depth + 1, items);
        }
    }
}

/// The bodies of a `macro_rules!` definition, fragments replaced by names.
pub(crate) fn rules_bodies(tokens: &TokenStream) -> Vec<TokenStream> {
    let mut bodies = Vec::new();
    let mut matcher: Option<Group> = None;
    for token in tokens.clone() {
        let TokenTree::Group(group) = token else { continue };
        match matcher.take() {
            None => matcher = Some(group),
            Some(matcher) => {
                let mut fragments = HashMap::new();
                note_fragments(matcher.stream(), &mut fragments);
                bodies.push(without_fragments(group.stream(), &fragments));
            }
        }
    }
    bodies
}

/// Notes the kind of each `$name:kind` of a matcher.
fn note_fragments(matcher: TokenStream, fragments: &mut HashMap<String, String>) {
    let tokens: Vec<TokenTree> = matcher.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => note_fragments(group.stream(), fragments),
            TokenTree::Punct(dollar) if dollar.as_char() == '$' => {
                if let (
                    Some(TokenTree::Ident(name)),
                    Some(TokenTree::Punct(colon)),
                    Some(TokenTree::Ident(kind)),
                ) = (tokens.get(at + 1), tokens.get(at + 2), tokens.get(at + 3))
                    && colon.as_char() == ':'
                {
                    fragments.insert(name.to_string(), kind.to_string());
                }
            }
            _ => {}
        }
    }
}

/// Replaces `$crate` by `crate`, `$name` by a name, and `$( ... ) sep *` by its content once.
fn without_fragments(tokens: TokenStream, fragments: &HashMap<String, String>) -> TokenStream {
    let mut replaced: Vec<TokenTree> = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), without_fragments(group.stream(), fragments));
                inner.set_span(group.span());
                replaced.push(TokenTree::Group(inner));
            }
            TokenTree::Punct(punct) if punct.as_char() == '$' => match tokens.next() {
                Some(TokenTree::Ident(name)) if name == "crate" => replaced.push(TokenTree::Ident(name)),
                Some(TokenTree::Ident(name)) => {
                    let kind = fragments.get(&name.to_string()).map_or("ident", String::as_str);
                    match kind {
                        "vis" | "lifetime" | "item" => {}
                        "block" => {
                            let mut block = Group::new(Delimiter::Brace, TokenStream::new());
                            block.set_span(name.span());
                            replaced.push(TokenTree::Group(block));
                        }
                        _ => {
                            let stand_in = Ident::new(&format!("fragment_{}", name.unraw()), name.span());
                            replaced.push(TokenTree::Ident(stand_in));
                        }
                    }
                }
                Some(TokenTree::Group(group)) => {
                    replaced.extend(without_fragments(group.stream(), fragments));
                    // The separator, kept once if it is one, and the repetition operator.
                    match tokens.next() {
                        Some(TokenTree::Punct(operator)) if "*+?".contains(operator.as_char()) => {}
                        Some(separator) => {
                            tokens.next();
                            if tokens.peek().is_some() {
                                replaced.push(separator);
                            }
                        }
                        None => {}
                    }
                }
                Some(other) => replaced.push(other),
                None => {}
            },
            other => replaced.push(other),
        }
    }
    replaced.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(rules: &str) -> Vec<String> {
        let tokens: TokenStream = rules.parse().unwrap();
        rules_bodies(&tokens).into_iter().map(|body| body.to_string()).collect()
    }

    #[test]
    fn fragments_become_names() {
        assert_eq!(
            bodies("($($x:expr),* $(,)?) => { f($($x),*); $crate::g($x) }; () => { 1 }"),
            ["f (fragment_x) ; crate :: g (fragment_x)", "1"]
        );
        assert_eq!(bodies("($v:vis fn $n:ident $b:block) => { $v fn $n() $b }"), ["fn fragment_n () { }"]);
    }

    #[test]
    fn select_arms_are_cut_into_expressions() {
        let tokens: TokenStream =
            "biased; Some(x) = rx.recv(), if ready => { use_it(x) } _ = &mut fut => done(), else => break"
                .parse()
                .unwrap();
        let Body::Pieces(pieces) = parse(tokens) else { panic!("not pieces") };
        let expressions = pieces.iter().filter(|piece| matches!(piece, Piece::Expression(_))).count();
        // `biased`, both futures, the block, `done()` and `break`; `if ready` and `else` are only scanned.
        assert_eq!((pieces.len(), expressions), (8, 6));
    }

    #[test]
    fn items_inside_cfg_if_are_found() {
        let tokens: TokenStream = "if #[cfg(unix)] { mod a; use b::c; } else { fn d() {} }".parse().unwrap();
        assert_eq!(items_within(&tokens).len(), 3);
    }
}
