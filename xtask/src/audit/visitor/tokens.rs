//! Tokens that are no syntax tree: paths, calls, methods and macros are told by their looks.

use proc_macro2::{Delimiter, Ident, Punct, Spacing, Span, TokenStream, TokenTree};
use syn::{
    Expr,
    ext::IdentExt as _,
    parse::{ParseStream, Parser as _},
    visit::Visit,
};

use super::Visitor;
use crate::audit::{
    events::{Callee, MacroUse},
    names::{Namespace, Written},
};

/// How many tokens ahead an expression is looked for.
const LONGEST_EXPRESSION: usize = 64;

impl Visitor<'_> {
    /// Walks tokens that do not parse.
    pub(super) fn scan(&mut self, tokens: &[TokenTree]) {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            match token {
                TokenTree::Group(group) => {
                    self.visit_macro_body(group.stream());
                    at += 1;
                }
                TokenTree::Ident(word) if word == "use" => at = self.scan_use(tokens, at),
                TokenTree::Ident(word) => {
                    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
                    let is_member = is_punct(before, '.')
                        && !is_punct(at.checked_sub(2).and_then(|two| tokens.get(two)), '.');
                    let is_name = matches!(before, Some(TokenTree::Ident(keyword)) if keyword == "fn" || keyword == "mod");
                    let expression =
                        if is_member || is_name { None } else { leading_expression(&tokens[at..]) };
                    at = if let Some((expression, taken)) = expression {
                        self.visit_expr(&expression);
                        at + taken
                    } else if is_member {
                        self.scan_member(word, tokens, at + 1)
                    } else if is_name {
                        at + 1
                    } else {
                        self.scan_path(tokens, at)
                    };
                }
                _ => at += 1,
            }
        }
    }

    /// `use ...;`: its names hold for the rest of the macro's body.
    fn scan_use(&mut self, tokens: &[TokenTree], start: usize) -> usize {
        let end = (start..tokens.len()).find(|at| is_punct(tokens.get(*at), ';')).unwrap_or(tokens.len());
        let semicolon = TokenTree::Punct(Punct::new(';', Spacing::Alone));
        let stream: TokenStream = tokens[start..end].iter().cloned().chain([semicolon]).collect();
        let Ok(item) = syn::parse2::<syn::Item>(stream) else {
            return start + 1;
        };
        if let Some(frame) = self.frames.last_mut() {
            frame.names.collect(&item, true);
        }
        self.visit_item(&item);
        end + 1
    }

    /// `.name`, with `::<...>` and arguments if it is a method.
    fn scan_member(&mut self, name: &Ident, tokens: &[TokenTree], after: usize) -> usize {
        let next = skip_generics(tokens, after);
        let Some(TokenTree::Group(arguments)) = tokens.get(next) else {
            return after;
        };
        if arguments.delimiter() != Delimiter::Parenthesis {
            return after;
        }
        let callee = Callee::Method { name: name.unraw().to_string(), receiver: None };
        self.in_call(callee, name.span(), is_closure(arguments.stream()), |visitor| {
            visitor.visit_macro_body(arguments.stream());
        });
        next + 1
    }

    fn scan_path(&mut self, tokens: &[TokenTree], start: usize) -> usize {
        let absolute = start >= 2
            && is_punct(tokens.get(start - 1), ':')
            && is_punct(tokens.get(start - 2), ':')
            && !matches!(start.checked_sub(3).and_then(|at| tokens.get(at)), Some(TokenTree::Ident(_)));
        let mut written = Written { absolute, segments: Vec::new() };
        let mut at = start;
        let mut span =
            tokens.get(start - 2 * usize::from(absolute)).filter(|_| absolute).map(TokenTree::span);
        while let Some(TokenTree::Ident(segment)) = tokens.get(at) {
            span = span.or_else(|| Some(segment.span()));
            written.segments.push(segment.unraw().to_string());
            at = skip_generics(tokens, at + 1);
            if is_punct(tokens.get(at), ':')
                && is_punct(tokens.get(at + 1), ':')
                && matches!(tokens.get(at + 2), Some(TokenTree::Ident(_)))
            {
                at += 2;
            } else {
                break;
            }
        }
        let span = span.unwrap_or_else(Span::call_site);
        let group = |at: usize| match tokens.get(at) {
            Some(TokenTree::Group(group)) => Some(group),
            _ => None,
        };
        if is_punct(tokens.get(at), '!')
            && let Some(body) = group(at + 1)
        {
            for canon in self.resolve(&written, Namespace::Macro) {
                self.path_used(vec![canon.clone()], span);
                let at = self.at(span);
                self.events.macros.push(MacroUse { at, canon });
            }
            self.visit_macro_body(body.stream());
            return at + 2;
        }
        let is_lone = written.segments.len() == 1 && !absolute;
        let called = group(at).filter(|group| group.delimiter() == Delimiter::Parenthesis);
        if is_lone && let Some(name) = written.segments.first() {
            let name = name.clone();
            if self.variable_used(&name) || called.is_none() {
                return at;
            }
        }
        let canons =
            self.resolve(&written, if called.is_some() { Namespace::Value } else { Namespace::Type });
        self.path_used(canons.clone(), span);
        let Some(arguments) = called else { return at };
        let name = written.segments.last().cloned().unwrap_or_default();
        self.in_call(Callee::Path { canons, name }, span, is_closure(arguments.stream()), |visitor| {
            visitor.visit_macro_body(arguments.stream());
        });
        at + 1
    }
}

/// The call, method call or macro that tokens begin with, and how many of them it takes.
fn leading_expression(tokens: &[TokenTree]) -> Option<(Expr, usize)> {
    // A name alone is no expression worth the parser's time.
    if !matches!(tokens.get(1), Some(TokenTree::Punct(next)) if ".:!".contains(next.as_char()))
        && !matches!(tokens.get(1), Some(TokenTree::Group(_)))
    {
        return None;
    }
    let ahead = &tokens[..tokens.len().min(LONGEST_EXPRESSION)];
    let parser = |input: ParseStream<'_>| Ok((input.parse::<Expr>()?, input.parse::<TokenStream>()?));
    let (expression, rest) = parser.parse2(ahead.iter().cloned().collect()).ok()?;
    let is_call = matches!(
        expression,
        Expr::Await(_) | Expr::Call(_) | Expr::Macro(_) | Expr::MethodCall(_) | Expr::Try(_)
    );
    is_call.then(|| (expression, ahead.len() - rest.into_iter().count()))
}

/// Whether tokens begin as a closure does.
fn is_closure(tokens: TokenStream) -> bool {
    let mut tokens = tokens.into_iter();
    match tokens.next() {
        Some(TokenTree::Ident(word)) if word == "move" => {
            matches!(tokens.next(), Some(TokenTree::Punct(bar)) if bar.as_char() == '|')
        }
        Some(TokenTree::Punct(bar)) => bar.as_char() == '|',
        _ => false,
    }
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// Past `::<...>`, where one begins at `at`.
fn skip_generics(tokens: &[TokenTree], at: usize) -> usize {
    if !(is_punct(tokens.get(at), ':')
        && is_punct(tokens.get(at + 1), ':')
        && is_punct(tokens.get(at + 2), '<'))
    {
        return at;
    }
    let mut depth = 0_usize;
    let mut end = at + 2;
    while let Some(token) = tokens.get(end) {
        if is_punct(Some(token), '<') {
            depth += 1;
        } else if is_punct(Some(token), '>') && !is_punct(tokens.get(end - 1), '-') {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                return end + 1;
            }
        }
        end += 1;
    }
    at
}

/// Whether a name is mentioned in statements, macros included.
pub(super) fn mention(statements: &[syn::Stmt], name: &Ident) -> bool {
    let mut search = Search { name, found: false };
    for statement in statements {
        search.visit_stmt(statement);
    }
    search.found
}

struct Search<'a> {
    name: &'a Ident,
    found: bool,
}

impl<'ast> Visit<'ast> for Search<'_> {
    fn visit_ident(&mut self, ident: &'ast Ident) {
        self.found |= ident == self.name;
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.found |= in_tokens(mac.tokens.clone(), self.name);
    }
}

fn in_tokens(tokens: TokenStream, name: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => in_tokens(group.stream(), name),
        // A format string may name it.
        TokenTree::Literal(literal) => literal.to_string().contains(&format!("{{{name}")),
        TokenTree::Punct(_) => false,
    })
}
