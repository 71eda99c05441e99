//! `sync-worker`: a worker entry point (`*_worker`, `run` of a `*Worker`) that is not `async fn`, or that neither
//! `tokio::spawn` nor a `JoinSet` starts.
//!
//! A call starts a worker where it stands in the arguments of a spawn: by itself, in an async block, through a variable
//! that holds its future, or in a function that is itself started so. Whether a method call means this worker is told by
//! the receiver's type where that is known, and by the method's name where it is not.

use std::collections::{HashMap, HashSet};

use super::Context;
use crate::audit::{
    events::{Call, Callee, Function},
    finding::{Finding, Rule},
    names::canon,
};

const SPAWNS: [&str; 4] = ["spawn", "spawn_local", "spawn_local_on", "spawn_on"];

/// Crates whose `spawn` starts no task.
const THREADS: [&[&str]; 4] = [&["std", "thread"], &["crossbeam"], &["rayon"], &["rayon_core"]];

pub(super) fn check(context: &Context<'_>) -> Vec<Finding> {
    let functions = &context.events.functions;
    let entries: Vec<usize> =
        (0..functions.len()).filter(|index| is_entry_point(&functions[*index])).collect();
    if entries.is_empty() {
        return Vec::new();
    }
    let starts = Starts::find(context);
    let mut findings = Vec::new();
    for entry in entries {
        let function = &functions[entry];
        let name = name_of(function);
        if !function.is_async {
            let message = format!("the worker entry point `{name}` is not an async fn");
            findings.push(context.finding(Rule::SyncWorker, function.at, message));
        } else if !starts.started.contains(&entry) {
            let message =
                format!("neither tokio::spawn nor a JoinSet starts the worker entry point `{name}`");
            let help = "start it with tokio::spawn or JoinSet::spawn, and keep the handle";
            findings.push(context.finding(Rule::SyncWorker, function.at, message).with_help(help));
        } else {
            for (index, call) in context.events.calls.iter().enumerate() {
                if call.awaits > 0
                    && calls(call, function) == Match::Surely
                    && !starts.is_in_task(index, call)
                {
                    let message =
                        format!("the worker entry point `{name}` is awaited in place, not started as a task");
                    findings.push(context.finding(Rule::SyncWorker, call.at, message));
                }
            }
        }
    }
    findings
}

fn is_entry_point(function: &Function) -> bool {
    if function.is_test {
        return false;
    }
    let of_worker = function.of.as_ref().and_then(|of| of.last()).is_some_and(|of| of.ends_with("Worker"));
    function.name.ends_with("_worker") || (function.name == "run" && of_worker)
}

fn name_of(function: &Function) -> String {
    match function.of.as_ref().and_then(|of| of.last()) {
        Some(of) => format!("{of}::{}", function.name),
        None => function.name.clone(),
    }
}

#[derive(PartialEq, Eq)]
enum Match {
    Surely,
    Perhaps,
    No,
}

/// Whether a call calls a function.
fn calls(call: &Call, function: &Function) -> Match {
    match &call.callee {
        Callee::Path { canons, name } => {
            if canons.contains(&function.canon) {
                Match::Surely
            } else if *name == function.name && canons.is_empty() {
                Match::Perhaps
            } else {
                Match::No
            }
        }
        Callee::Method { name, receiver } => {
            let (true, Some(of)) = (*name == function.name, &function.of) else {
                return Match::No;
            };
            match receiver {
                Some(receiver) if receiver == of => Match::Surely,
                // A type parameter may be any type.
                Some(receiver) if !receiver.first().is_some_and(|first| first.starts_with('?')) => Match::No,
                _ => Match::Perhaps,
            }
        }
    }
}

/// Which calls are spawns and which functions run in tasks.
struct Starts<'a> {
    context: &'a Context<'a>,
    by_name: HashMap<&'a str, Vec<usize>>,
    /// Functions of the tree that spawn a parameter.
    wrappers: HashSet<usize>,
    /// Calls that are a spawn or stand in the arguments of one.
    spawned: Vec<bool>,
    /// Functions that a task runs.
    started: HashSet<usize>,
}

impl<'a> Starts<'a> {
    fn find(context: &'a Context<'a>) -> Self {
        let events = context.events;
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, function) in events.functions.iter().enumerate() {
            by_name.entry(&function.name).or_default().push(index);
        }
        let mut starts =
            Self { context, by_name, wrappers: HashSet::new(), spawned: Vec::new(), started: HashSet::new() };
        loop {
            starts.spawned = starts.find_spawned();
            let of_parameters = events.parameter_uses.iter().filter(|(_, call)| starts.spawned[*call]);
            let wrappers: HashSet<usize> = of_parameters.map(|(function, _)| *function).collect();
            if wrappers.len() == starts.wrappers.len() {
                break;
            }
            starts.wrappers = wrappers;
        }
        loop {
            let in_tasks =
                events.calls.iter().enumerate().filter(|(index, call)| starts.is_in_task(*index, call));
            let started: HashSet<usize> =
                in_tasks.flat_map(|(_, call)| starts.callees(call)).map(|(function, _)| function).collect();
            if started.len() == starts.started.len() {
                break;
            }
            starts.started = started;
        }
        starts
    }

    /// The functions of the tree that a call may call.
    fn callees(&self, call: &Call) -> impl Iterator<Item = (usize, Match)> {
        let named = self.by_name.get(call.callee.name()).map(Vec::as_slice).unwrap_or_default();
        named
            .iter()
            .map(|index| (*index, calls(call, &self.context.events.functions[*index])))
            .filter(|(_, matched)| *matched != Match::No)
    }

    /// Whether what this call gives runs in a task.
    fn is_in_task(&self, index: usize, call: &Call) -> bool {
        call.function.is_some_and(|function| self.started.contains(&function))
            || self.context.events.calls[index].parents.iter().any(|parent| self.spawned[*parent])
    }

    /// The spawns, and all calls in their arguments.
    fn find_spawned(&self) -> Vec<bool> {
        let calls = &self.context.events.calls;
        let mut inside: Vec<Vec<usize>> = vec![Vec::new(); calls.len()];
        for (index, call) in calls.iter().enumerate() {
            for parent in &call.parents {
                inside[*parent].push(index);
            }
        }
        let mut spawned = vec![false; calls.len()];
        let mut open: Vec<usize> = (0..calls.len()).filter(|index| self.is_spawn(&calls[*index])).collect();
        while let Some(index) = open.pop() {
            if !std::mem::replace(&mut spawned[index], true) {
                open.extend_from_slice(&inside[index]);
            }
        }
        spawned
    }

    fn is_spawn(&self, call: &Call) -> bool {
        if call.takes_closure {
            return false;
        }
        if self
            .callees(call)
            .any(|(callee, matched)| matched == Match::Surely && self.wrappers.contains(&callee))
        {
            return true;
        }
        match &call.callee {
            Callee::Path { canons, name } => {
                SPAWNS.contains(&name.as_str())
                    && canons.iter().any(|canon| !canon::is_local(canon) && !starts_thread(canon))
            }
            Callee::Method { name, receiver } => {
                SPAWNS.contains(&name.as_str())
                    && !self.context.is_own_method(receiver.as_deref(), name)
                    && !receiver.as_ref().is_some_and(|receiver| starts_thread(receiver))
            }
        }
    }
}

fn starts_thread(path: &[String]) -> bool {
    THREADS.iter().any(|threads| canon::starts_with(path, threads))
}
