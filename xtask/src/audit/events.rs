//! What happens in the code, names resolved: the rules judge these and see no syntax.

use std::collections::HashMap;

use super::{finding::Position, names::canon::Canon};

/// A place in a file of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct At {
    pub(crate) file: usize,
    pub(crate) position: Position,
}

/// A path that leads somewhere.
#[derive(Debug)]
pub(crate) struct PathUse {
    pub(crate) at: At,
    pub(crate) module: usize,
    pub(crate) canon: Canon,
    /// Where the segments before the last lead, in a `use` tree: what holds for them was said there.
    pub(crate) parent: Option<Canon>,
}

/// A macro invoked.
#[derive(Debug)]
pub(crate) struct MacroUse {
    pub(crate) at: At,
    pub(crate) canon: Canon,
}

/// A function of the tree.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) at: At,
    pub(crate) name: String,
    pub(crate) canon: Canon,
    pub(crate) is_async: bool,
    /// A test, audited on request.
    pub(crate) is_test: bool,
    /// The type of the `impl` around it.
    pub(crate) of: Option<Canon>,
}

/// What a call calls.
#[derive(Clone, Debug)]
pub(crate) enum Callee {
    Path {
        /// Where the path may lead.
        canons: Vec<Canon>,
        /// Its last segment.
        name: String,
    },
    Method {
        name: String,
        /// The receiver's type, where it can be told.
        receiver: Option<Canon>,
    },
}

impl Callee {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Path { name, .. } | Self::Method { name, .. } => name,
        }
    }
}

/// A function or method called.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) at: At,
    pub(crate) module: usize,
    pub(crate) callee: Callee,
    /// Calls in whose arguments it stands, or its value goes by a variable.
    pub(crate) parents: Vec<usize>,
    /// The function around it.
    pub(crate) function: Option<usize>,
    /// Its first argument is a closure: what it runs is no future.
    pub(crate) takes_closure: bool,
    /// Which body it runs in: async blocks and closures are bodies of their own.
    pub(super) body: usize,
    /// How many `.await`s of that body it stands under.
    pub(super) awaits: usize,
}

/// A call whose value is dropped at once, or at the end of its block unseen.
#[derive(Debug)]
pub(crate) struct Dropped {
    pub(crate) at: At,
    pub(crate) callee: Callee,
    /// How it is dropped, for the message.
    pub(crate) how: &'static str,
}

/// Everything the rules see.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) paths: Vec<PathUse>,
    pub(crate) macros: Vec<MacroUse>,
    pub(crate) functions: Vec<Function>,
    pub(crate) calls: Vec<Call>,
    pub(crate) dropped: Vec<Dropped>,
    /// A parameter of a function that goes into a call there.
    pub(crate) parameter_uses: Vec<(usize, usize)>,
    /// First and last lines of code that was left out because only tests have it.
    pub(crate) skipped: HashMap<usize, Vec<(usize, usize)>>,
}
