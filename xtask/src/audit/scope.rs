//! The blocks around a place in the code: what they declare, which variables live in them, and what those hold.

use std::collections::HashMap;

use super::names::{Names, canon::Canon};

/// One block, function, closure or pattern with names of its own.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    /// Items and imports of the block.
    pub(crate) names: Names,
    pub(crate) variables: HashMap<String, Variable>,
    /// What `Self` is from here on.
    pub(crate) self_type: Option<Canon>,
    /// Variables further out are not seen: the frame of an item.
    pub(crate) item_barrier: bool,
    /// Nothing further out is seen, nor the module around: a module inside a function.
    pub(crate) module_barrier: bool,
}

/// A local variable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Variable {
    /// Its type, as far as its declaration or first value tells.
    pub(crate) held: Option<Canon>,
    /// Calls whose futures it may hold.
    pub(crate) calls: Vec<usize>,
    /// It is a parameter of the function around.
    pub(crate) parameter: bool,
}

/// The innermost variable of this name.
pub(crate) fn variable<'a>(frames: &'a [Frame], name: &str) -> Option<&'a Variable> {
    for frame in frames.iter().rev() {
        if let Some(variable) = frame.variables.get(name) {
            return Some(variable);
        }
        if frame.item_barrier || frame.module_barrier {
            return None;
        }
    }
    None
}
