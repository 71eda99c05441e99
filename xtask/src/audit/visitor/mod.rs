//! Walks the syntax trees with the scopes around, and turns what it meets into events.

mod calls;
mod items;
mod patterns;
mod tokens;
mod types;

use proc_macro2::Span;
use syn::{spanned::Spanned as _, visit::Visit};

use super::{
    cfg,
    events::{At, Events, MacroUse, PathUse},
    finding::Position,
    macros::{self, Body, Piece},
    names::{Names, Namespace, Written, canon::Canon, graph::Graph, resolve::Site},
    scope::{self, Frame},
};

/// Walks one file.
pub(crate) struct Visitor<'a> {
    graph: &'a Graph,
    events: &'a mut Events,
    include_tests: bool,
    file: usize,
    module: usize,
    frames: Vec<Frame>,
    /// Calls whose arguments are being walked, innermost last.
    calls: Vec<usize>,
    function: Option<usize>,
    body: usize,
    /// The last number given to a body.
    bodies: usize,
    awaits: usize,
}

impl<'a> Visitor<'a> {
    /// Adds the events of one file to `events`.
    pub(crate) fn walk(
        graph: &'a Graph,
        events: &'a mut Events,
        include_tests: bool,
        file: usize,
        module: usize,
        ast: &syn::File,
    ) {
        let mut visitor = Self {
            graph,
            events,
            include_tests,
            file,
            module,
            frames: Vec::new(),
            calls: Vec::new(),
            function: None,
            body: 0,
            bodies: 0,
            awaits: 0,
        };
        for item in &ast.items {
            visitor.visit_item(item);
        }
    }

    fn at(&self, span: Span) -> At {
        At { file: self.file, position: Position::of(span) }
    }

    fn site(&self) -> Site<'_> {
        Site { module: self.module, frames: &self.frames }
    }

    fn resolve(&self, written: &Written, namespace: Namespace) -> Vec<Canon> {
        self.graph.resolve(self.site(), written, namespace)
    }

    fn in_frame(&mut self, frame: Frame, walk: impl FnOnce(&mut Self)) {
        self.frames.push(frame);
        walk(self);
        self.frames.pop();
    }

    /// Walks a body whose calls do not run where it stands.
    fn in_body(&mut self, walk: impl FnOnce(&mut Self)) {
        let outer = (self.body, self.awaits);
        self.bodies += 1;
        (self.body, self.awaits) = (self.bodies, 0);
        walk(self);
        (self.body, self.awaits) = outer;
    }

    /// Whether only tests have this code and they are left out; notes where it was.
    fn skips(&mut self, attributes: &[syn::Attribute], span: impl FnOnce() -> Span) -> bool {
        if self.include_tests || attributes.is_empty() || !cfg::is_test_only(attributes) {
            return false;
        }
        let span = span();
        let lines = (span.start().line, span.end().line);
        self.events.skipped.entry(self.file).or_default().push(lines);
        true
    }

    fn path_used(&mut self, canons: Vec<Canon>, span: Span) {
        let at = self.at(span);
        for canon in canons {
            self.events.paths.push(PathUse { at, module: self.module, canon, parent: None });
        }
    }

    /// A path in type position, or any path of several segments.
    fn plain_path(&mut self, path: &syn::Path, namespace: Namespace) {
        let canons = self.resolve(&Written::of(path), namespace);
        self.path_used(canons, start_of(path));
        for segment in &path.segments {
            self.visit_path_arguments(&segment.arguments);
        }
    }

    /// `<T>::name` or `<T as Trait>::name`: where it may lead.
    fn qualified(&self, qself: &syn::QSelf, path: &syn::Path) -> Vec<Canon> {
        let written = Written::of(path);
        let below = written.segments.get(qself.position..).unwrap_or_default().to_vec();
        let mut canons = Vec::new();
        if let Some(of) = Written::of_type(&qself.ty) {
            for of in self.resolve(&of, Namespace::Type) {
                canons.push([of, below.clone()].concat());
            }
        }
        if qself.as_token.is_some() {
            canons.extend(self.resolve(&written, Namespace::Type));
        }
        canons
    }

    fn qualified_path(&mut self, qself: &syn::QSelf, path: &syn::Path) {
        let canons = self.qualified(qself, path);
        self.path_used(canons, qself.lt_token.span);
        self.visit_type(&qself.ty);
        for segment in &path.segments {
            self.visit_path_arguments(&segment.arguments);
        }
    }

    /// A name that stands for a variable: the calls it may hold go where it goes.
    fn variable_used(&mut self, name: &str) -> bool {
        let Some(variable) = scope::variable(&self.frames, name) else {
            return false;
        };
        if let Some(call) = self.calls.last().copied() {
            let held = variable.calls.clone();
            let parameter = variable.parameter;
            for inner in held {
                self.events.calls[inner].parents.push(call);
            }
            if let (true, Some(function)) = (parameter, self.function) {
                self.events.parameter_uses.push((function, call));
            }
        }
        true
    }

    fn visit_statements(&mut self, statements: &[syn::Stmt]) {
        let mut names = Names::default();
        for statement in statements {
            if let syn::Stmt::Item(item) = statement {
                names.collect(item, self.include_tests);
            }
        }
        self.in_frame(Frame { names, ..Frame::default() }, |visitor| {
            for (index, statement) in statements.iter().enumerate() {
                visitor.visit_statement(statement, &statements[index + 1..]);
            }
        });
    }

    fn visit_statement(&mut self, statement: &syn::Stmt, rest: &[syn::Stmt]) {
        match statement {
            syn::Stmt::Local(local) => {
                if !self.skips(&local.attrs, || local.span()) {
                    self.visit_let(local, rest);
                }
            }
            syn::Stmt::Item(item) => self.visit_item(item),
            syn::Stmt::Expr(expression, semicolon) => {
                if self.skips(cfg::expression_attributes(expression), || expression.span()) {
                    return;
                }
                if semicolon.is_some() {
                    self.dropped(expression, "its handle is dropped at the end of the statement");
                }
                self.visit_expr(expression);
            }
            syn::Stmt::Macro(statement) => {
                if !self.skips(&statement.attrs, || statement.span()) {
                    self.visit_macro(&statement.mac);
                }
            }
        }
    }

    fn visit_let(&mut self, local: &syn::Local, rest: &[syn::Stmt]) {
        let first_call = self.events.calls.len();
        let mut held = None;
        if let Some(init) = &local.init {
            self.visit_expr(&init.expr);
            held = self.type_of(&init.expr);
            if let Some((_, diverge)) = &init.diverge {
                self.visit_expr(diverge);
            }
            match patterns::plain(&local.pat) {
                syn::Pat::Wild(_) => self.dropped(&init.expr, "its handle is dropped by `let _`"),
                syn::Pat::Ident(name)
                    if name.ident.to_string().starts_with('_') && !tokens::mention(rest, &name.ident) =>
                {
                    self.dropped(&init.expr, "its handle is never used and dropped at the end of the block");
                }
                _ => {}
            }
        }
        let calls = self.pending_calls(first_call);
        self.visit_pat(&local.pat);
        self.bind(&local.pat, held, &calls, false);
    }

    /// The calls made since `first` whose futures nobody has awaited yet.
    fn pending_calls(&self, first: usize) -> Vec<usize> {
        let calls = self.events.calls.iter().enumerate().skip(first);
        calls
            .filter(|(_, call)| call.body != self.body || call.awaits == self.awaits)
            .map(|(index, _)| index)
            .collect()
    }

    fn visit_macro_body(&mut self, tokens: proc_macro2::TokenStream) {
        match macros::parse(tokens) {
            Body::Statements(statements) => self.visit_statements(&statements),
            Body::Expressions(expressions) => {
                for expression in &expressions {
                    self.visit_expr(expression);
                }
            }
            Body::Type(ty) => self.visit_type(&ty),
            Body::Pieces(pieces) => self.in_frame(Frame::default(), |visitor| {
                for piece in &pieces {
                    match piece {
                        Piece::Expression(expression) => match &**expression {
                            // `_ = future` is a pattern and what it waits for.
                            syn::Expr::Assign(arm) => visitor.visit_expr(&arm.right),
                            other => visitor.visit_expr(other),
                        },
                        Piece::Tokens(tokens) => visitor.scan(tokens),
                    }
                }
            }),
        }
    }
}

/// Where a path begins.
fn start_of(path: &syn::Path) -> Span {
    match (&path.leading_colon, path.segments.first()) {
        (Some(colons), _) => colons.spans[0],
        (None, Some(first)) => first.ident.span(),
        (None, None) => Span::call_site(),
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !self.skips(cfg::item_attributes(item), || item.span()) {
            self.enter_item(item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attributes = match item {
            syn::ImplItem::Const(item) => item.attrs.as_slice(),
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Type(item) => &item.attrs,
            syn::ImplItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !self.skips(attributes, || item.span()) {
            syn::visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast syn::TraitItem) {
        let attributes = match item {
            syn::TraitItem::Const(item) => item.attrs.as_slice(),
            syn::TraitItem::Fn(item) => &item.attrs,
            syn::TraitItem::Type(item) => &item.attrs,
            syn::TraitItem::Macro(item) => &item.attrs,
            _ => &[],
        };
        if !self.skips(attributes, || item.span()) {
            syn::visit::visit_trait_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.enter_function(&function.attrs, &function.sig, Some(&function.block));
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        self.enter_function(&function.attrs, &function.sig, function.default.as_ref());
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        if !self.skips(&field.attrs, || field.span()) {
            syn::visit::visit_field(self, field);
        }
    }

    fn visit_field_value(&mut self, value: &'ast syn::FieldValue) {
        if !self.skips(&value.attrs, || value.span()) {
            syn::visit::visit_field_value(self, value);
        }
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.visit_statements(&block.stmts);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.plain_path(path, Namespace::Type);
    }

    fn visit_type_path(&mut self, ty: &'ast syn::TypePath) {
        match &ty.qself {
            Some(qself) => self.qualified_path(qself, &ty.path),
            None => self.plain_path(&ty.path, Namespace::Type),
        }
    }

    fn visit_expr_path(&mut self, expression: &'ast syn::ExprPath) {
        if let Some(qself) = &expression.qself {
            self.qualified_path(qself, &expression.path);
            return;
        }
        if let Some(name) = expression.path.get_ident()
            && self.variable_used(&name.to_string())
        {
            return;
        }
        self.plain_path(&expression.path, Namespace::Value);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        let written = Written::of(&mac.path);
        let start = start_of(&mac.path);
        let at = self.at(start);
        for canon in self.resolve(&written, Namespace::Macro) {
            self.path_used(vec![canon.clone()], start);
            self.events.macros.push(MacroUse { at, canon });
        }
        self.visit_macro_body(mac.tokens.clone());
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        self.enter_call(call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.enter_method_call(call);
    }

    fn visit_expr_await(&mut self, expression: &'ast syn::ExprAwait) {
        self.awaits += 1;
        self.visit_expr(&expression.base);
        self.awaits -= 1;
    }

    fn visit_expr_async(&mut self, expression: &'ast syn::ExprAsync) {
        self.in_body(|visitor| visitor.visit_block(&expression.block));
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        self.in_body(|visitor| {
            visitor.in_frame(Frame::default(), |visitor| {
                for input in &closure.inputs {
                    visitor.visit_pat(input);
                    visitor.bind(input, None, &[], false);
                }
                visitor.visit_return_type(&closure.output);
                visitor.visit_expr(&closure.body);
            });
        });
    }

    fn visit_expr_assign(&mut self, assign: &'ast syn::ExprAssign) {
        let first_call = self.events.calls.len();
        self.visit_expr(&assign.right);
        if matches!(*assign.left, syn::Expr::Infer(_)) {
            self.dropped(&assign.right, "its handle is dropped by `_ =`");
            return;
        }
        let calls = self.pending_calls(first_call);
        if let syn::Expr::Path(path) = &*assign.left
            && let Some(name) = path.path.get_ident()
        {
            let held = self.type_of(&assign.right);
            self.assigned(&name.to_string(), held, &calls);
            return;
        }
        self.visit_expr(&assign.left);
    }

    fn visit_expr_if(&mut self, expression: &'ast syn::ExprIf) {
        self.in_frame(Frame::default(), |visitor| {
            visitor.visit_expr(&expression.cond);
            visitor.visit_block(&expression.then_branch);
        });
        if let Some((_, otherwise)) = &expression.else_branch {
            self.visit_expr(otherwise);
        }
    }

    fn visit_expr_while(&mut self, expression: &'ast syn::ExprWhile) {
        self.in_frame(Frame::default(), |visitor| {
            visitor.visit_expr(&expression.cond);
            visitor.visit_block(&expression.body);
        });
    }

    fn visit_expr_let(&mut self, expression: &'ast syn::ExprLet) {
        self.visit_expr(&expression.expr);
        let held = self.type_of(&expression.expr);
        self.visit_pat(&expression.pat);
        self.bind(&expression.pat, held, &[], false);
    }

    fn visit_expr_for_loop(&mut self, expression: &'ast syn::ExprForLoop) {
        let first_call = self.events.calls.len();
        self.visit_expr(&expression.expr);
        let mut calls = self.pending_calls(first_call);
        if let Some(name) = patterns::root_variable(&expression.expr) {
            calls.extend(scope::variable(&self.frames, &name).map_or(&[][..], |variable| &variable.calls));
        }
        self.in_frame(Frame::default(), |visitor| {
            visitor.visit_pat(&expression.pat);
            visitor.bind(&expression.pat, None, &calls, false);
            visitor.visit_block(&expression.body);
        });
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if self.skips(&arm.attrs, || arm.span()) {
            return;
        }
        self.in_frame(Frame::default(), |visitor| {
            visitor.bind(&arm.pat, None, &[], false);
            visitor.visit_pat(&arm.pat);
            visitor.visit_expr(&arm.body);
        });
    }
}
