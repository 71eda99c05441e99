//! Random arrivals, cancellations, pauses, forks and steps, with pictures that take a while and are dropped again, against a
//! memory that remembers what was written where.

mod pictures;

use std::collections::BTreeMap;

use pool_core::{JobId, Priority};
use proptest::prelude::*;

use super::{Plan, Scheduler, SchedulerConfig, SequenceKey};
use crate::blocks::BlockKey;
use crate::decoder::{BlockId, CacheGroup, CacheShape};
use crate::item::{ContentHash, Item};

/// What a cell holds: the position it was written for, and the item there.
type Cell = Option<(usize, Item)>;

/// A cache that remembers: one list of cells for each group.
struct Memory {
    shape: CacheShape,
    cells: Vec<Vec<Cell>>,
}

impl Memory {
    fn new(shape: &CacheShape) -> Self {
        let cells = shape.groups.iter().map(|group| vec![None; group.blocks * shape.block_tokens]).collect();
        Self { shape: shape.clone(), cells }
    }

    fn cell(&mut self, group: usize, table: &[BlockId], position: usize) -> &mut Cell {
        let tokens = self.shape.block_tokens;
        let block = table[position / tokens];
        assert_ne!(
            block,
            BlockId::NONE,
            "position {position} of group {group} is used after it was given back"
        );
        &mut self.cells[group][block.0 as usize * tokens + position % tokens]
    }

    fn copy(&mut self, group: usize, from: BlockId, to: BlockId) {
        let tokens = self.shape.block_tokens;
        let from = from.0 as usize * tokens;
        self.cells[group].copy_within(from..from + tokens, to.0 as usize * tokens);
    }

    /// Asserts that a row at `position` reads what it should.
    fn read(&mut self, tables: &[&[BlockId]], items: &[Item], position: usize) {
        for (group, table) in tables.iter().enumerate() {
            let window = self.shape.groups[group].window.unwrap_or(usize::MAX);
            let first = (position + 1).saturating_sub(window);
            for (at, item) in items.iter().enumerate().take(position + 1).skip(first) {
                let cell = *self.cell(group, table, at);
                assert_eq!(cell, Some((at, *item)), "group {group} read back at {at} by {position}");
            }
        }
    }
}

/// What is done between two steps.
#[derive(Clone, Debug)]
enum Act {
    Arrive { prefix: usize, shared: usize, own: usize, answer: usize, class: Priority, choices: u32 },
    Cancel(usize),
    Pause(usize),
    Resume,
    Step(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let class = prop_oneof![Just(Priority::Low), Just(Priority::Normal), Just(Priority::High)];
    let arrive = (0..3_usize, 0..14_usize, 1..8_usize, 1..14_usize, class, 1..4_u32).prop_map(
        |(prefix, shared, own, answer, class, choices)| Act::Arrive {
            prefix,
            shared,
            own,
            answer,
            class,
            choices,
        },
    );
    let act = prop_oneof![
        3 => arrive,
        1 => any::<usize>().prop_map(Act::Cancel),
        1 => any::<usize>().prop_map(Act::Pause),
        1 => Just(Act::Resume),
        8 => (1..24_usize).prop_map(Act::Step),
    ];
    prop::collection::vec(act, 1..60)
}

/// A longest sequence that every shape below has room for.
const LONGEST: usize = 36;

fn shapes() -> impl Strategy<Value = (CacheShape, SchedulerConfig)> {
    let windows = prop::collection::vec(prop::option::of(1..12_usize), 1..4);
    let pictures = (any::<bool>(), 0..3 * PICTURE_ROWS);
    (1..6_usize, windows, 0..20_usize, 1..6_usize, pictures, 1..4_usize, 1..20_usize).prop_map(
        |(block_tokens, windows, more, batch, (fixed, picture_rows), steps, chunk)| {
            let chunk = if fixed { steps * block_tokens } else { chunk };
            let group = |window: Option<usize>| {
                let all = LONGEST.div_ceil(block_tokens);
                // Enough for the window and a chunk, wherever the blocks' edges lie.
                let least = window.map_or(all, |window| {
                    let most = if fixed { chunk } else { 1 };
                    ((window + most).saturating_sub(3) / block_tokens + 2).min(all)
                });
                CacheGroup { window, blocks: least + more / 2 }
            };
            let groups = windows.into_iter().map(group).collect();
            (CacheShape { block_tokens, groups }, SchedulerConfig { batch, chunk, fixed, picture_rows })
        },
    )
}

/// The item that follows: a function of all before it.
fn next(items: &[Item]) -> Item {
    let mut state = 7_u64;
    for item in items {
        let code = match item {
            Item::Token(token) => u64::from(*token),
            Item::Embedding { row, .. } => 1000 + u64::from(*row),
        };
        state = (state ^ code).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
    }
    Item::Token((state % 5) as u32)
}

/// Rows that every picture has.
const PICTURE_ROWS: usize = 4;
/// Steps that every picture takes.
const PICTURE_STEPS: u32 = 3;

struct World {
    scheduler: Scheduler,
    config: SchedulerConfig,
    /// The picture that is being computed, and the steps it will take yet.
    encoding: Option<(ContentHash, u32)>,
    memory: Memory,
    /// Each sequence's prompt, and how long it is to get. Further choices wait for the prompt.
    wanted: BTreeMap<SequenceKey, (Vec<Item>, usize, u32)>,
    paused: Vec<SequenceKey>,
    jobs: u64,
}

impl World {
    fn new(shape: &CacheShape, config: SchedulerConfig) -> Self {
        let scheduler = Scheduler::new(shape, BlockKey::root(&"revision"), config);
        assert!(scheduler.capacity() >= LONGEST, "{} of {shape:?} {config:?}", scheduler.capacity());
        Self {
            scheduler,
            memory: Memory::new(shape),
            wanted: BTreeMap::new(),
            paused: Vec::new(),
            config,
            encoding: None,
            jobs: 0,
        }
    }

    fn act(&mut self, act: &Act) {
        let pick = |world: &Self, at: usize| world.wanted.keys().nth(at % world.wanted.len().max(1)).copied();
        match act {
            Act::Arrive { prefix, shared, own, answer, class, choices } => {
                let picture = ContentHash::of(&prefix);
                let mut prompt: Vec<Item> = (0..*shared)
                    .map(|row| match row % 4 {
                        3 => Item::Embedding { content: picture, row: row as u32 },
                        _ => Item::Token((prefix * 7 + row) as u32),
                    })
                    .collect();
                let other = ContentHash::of(&(100 + self.jobs % 3));
                prompt.extend((0..*own).map(|at| match at % 3 {
                    1 => Item::Embedding { content: other, row: at as u32 },
                    _ => Item::Token((self.jobs as usize % 3 + at) as u32),
                }));
                let key = SequenceKey::new(*class, JobId::new(self.jobs), 0);
                self.jobs += 1;
                let length = (prompt.len() + answer).min(LONGEST - 1);
                self.scheduler.add(key, prompt.clone());
                self.wanted.insert(key, (prompt, length, *choices));
            }
            Act::Cancel(at) => {
                if let Some(key) = pick(self, *at) {
                    self.wanted.remove(&key);
                    self.scheduler.remove(key);
                }
            }
            Act::Pause(at) => {
                if let Some(key) = pick(self, *at) {
                    self.scheduler.pause(key, true);
                    self.paused.push(key);
                }
            }
            Act::Resume => {
                for key in self.paused.drain(..) {
                    self.scheduler.pause(key, false);
                }
            }
            Act::Step(prefill) => self.step(*prefill),
        }
        self.check();
    }

    fn step(&mut self, prefill: usize) {
        let plan = self.scheduler.plan(prefill);
        let runnable = self.wanted.keys().any(|key| !self.paused.contains(key));
        let encodes = self.encode(&plan);
        assert_eq!(!plan.chunks.is_empty() || encodes, runnable, "a step goes on whenever something can");
        assert!(plan.chunks.len() <= self.config.batch);
        for copy in &plan.copies {
            self.memory.copy(copy.group, copy.from, copy.to);
        }
        self.run(&plan);
        self.scheduler.commit(&plan);
        for chunk in plan.chunks.iter().filter(|chunk| chunk.ends) {
            self.go_on(chunk.key);
        }
        if let Some(wanted) = &plan.picture
            && let Some((content, 0)) = self.encoding
        {
            assert_eq!(content, wanted.content);
            let given_up = self.scheduler.picture_room(wanted, PICTURE_ROWS).unwrap();
            assert!(!given_up.iter().any(|content| wanted.own.contains(content)));
            self.scheduler.keep_picture(wanted, PICTURE_ROWS, &given_up);
            self.encoding = None;
        }
        // One alone may take more than there is room for, or nothing would go on; so may those of a chunk that is not cut.
        let rows = self.scheduler.pictures.rows();
        assert!(rows <= self.config.picture_rows || rows == PICTURE_ROWS || self.config.fixed);
    }

    /// Computes on the picture that a plan wants. Whether it could.
    fn encode(&mut self, plan: &Plan) -> bool {
        let Some(wanted) = &plan.picture else { return false };
        assert!(!self.paused.contains(&wanted.key), "nothing is computed for a paused sequence");
        assert!(!self.scheduler.pictures.contains(wanted.content), "it is there already");
        if self.scheduler.picture_room(wanted, PICTURE_ROWS).is_none() {
            return false;
        }
        let steps = match self.encoding {
            Some((content, steps)) if content == wanted.content => steps,
            _ => PICTURE_STEPS,
        };
        self.encoding = Some((wanted.content, steps - 1));
        true
    }

    fn run(&mut self, plan: &Plan) {
        let memory = &mut self.memory;
        self.scheduler.with_chunks(plan, |chunks| {
            assert_eq!(chunks.len(), plan.chunks.len());
            for (chunk, planned) in chunks.iter().zip(&plan.chunks) {
                assert!(!self.paused.contains(&planned.key), "a paused sequence is left out");
                assert!(!chunk.items.is_empty());
                let length = self.scheduler.items(planned.key).len();
                let chunks = self.config.chunk;
                if self.config.fixed {
                    assert_eq!(planned.end, length.min((planned.start / chunks + 1) * chunks));
                }
                for item in chunk.items {
                    if let Item::Embedding { content, .. } = item {
                        assert!(self.scheduler.pictures.contains(*content), "the rows are there");
                    }
                }
                for (offset, item) in chunk.items.iter().enumerate() {
                    for (group, table) in chunk.tables.iter().enumerate() {
                        *memory.cell(group, table, chunk.start + offset) =
                            Some((chunk.start + offset, *item));
                    }
                }
            }
            // After all have written: nobody has written what another reads.
            for (chunk, planned) in chunks.iter().zip(&plan.chunks) {
                let items = self.scheduler.items(planned.key);
                for position in planned.start..planned.end {
                    memory.read(chunk.tables, items, position);
                }
            }
        });
    }

    /// The sequence gets its next item, its further choices begin, or it is done.
    fn go_on(&mut self, key: SequenceKey) {
        let (prompt, length, choices) = self.wanted[&key].clone();
        let mut keys = vec![key];
        if choices > 1 {
            self.wanted.insert(key, (prompt.clone(), length, 1));
            for choice in 1..choices {
                let sibling = key.sibling(choice);
                self.scheduler.fork(key, sibling);
                self.wanted.insert(sibling, (prompt.clone(), length, 1));
                keys.push(sibling);
            }
        }
        for key in keys {
            let items = self.scheduler.items(key).to_vec();
            assert_eq!(items, alone(&prompt, items.len()), "{key:?}");
            // Choices part at once.
            let item = match (choices, key.choice) {
                (1, _) | (_, 0) => next(&items),
                (_, choice) => Item::Token(100 + choice),
            };
            if items.len() >= length {
                self.wanted.remove(&key);
                self.scheduler.remove(key);
            } else {
                if item != next(&items) {
                    // From here on it is a prompt of its own.
                    let own = [items.as_slice(), &[item]].concat();
                    self.wanted.insert(key, (own, length, 1));
                }
                self.scheduler.append(key, [item]);
            }
        }
    }

    fn check(&mut self) {
        self.scheduler.check();
        let memory = &mut self.memory;
        self.scheduler.for_each_table(|items, tables, computed| {
            // What the next row will read is all there.
            for (group, table) in tables.iter().enumerate() {
                let window = memory.shape.groups[group].window.unwrap_or(usize::MAX);
                let first = (computed + 1).saturating_sub(window);
                for (at, item) in items.iter().enumerate().take(computed).skip(first) {
                    assert_eq!(*memory.cell(group, table, at), Some((at, *item)));
                }
            }
        });
    }
}

/// What a sequence comes to by itself.
fn alone(prompt: &[Item], length: usize) -> Vec<Item> {
    let mut items = prompt.to_vec();
    while items.len() < length {
        items.push(next(&items));
    }
    items
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_comes_to_what_it_does_alone((shape, config) in shapes(), acts in acts()) {
        let mut world = World::new(&shape, config);
        for act in &acts {
            world.act(act);
        }
        world.act(&Act::Resume);
        let mut steps = 0;
        while !world.wanted.is_empty() {
            world.act(&Act::Step(7));
            steps += 1;
            // Every step computes something that is new, or was given up for one of higher rank.
            prop_assert!(steps < 20_000, "it does not come to an end");
        }
        prop_assert_eq!(world.scheduler.pool().in_use(), 0);
        world.scheduler.pool_mut().forget_all();
        prop_assert_eq!(world.scheduler.pool().cached(), 0);
        world.scheduler.check();
    }
}

fn shape(block_tokens: usize, groups: &[(Option<usize>, usize)]) -> CacheShape {
    let groups = groups.iter().map(|&(window, blocks)| CacheGroup { window, blocks }).collect();
    CacheShape { block_tokens, groups }
}

const EASY: SchedulerConfig = SchedulerConfig { batch: 8, chunk: 100, fixed: false, picture_rows: 100 };

fn tokens(range: std::ops::Range<u32>) -> Vec<Item> {
    range.map(Item::Token).collect()
}

fn key(class: Priority, job: u64) -> SequenceKey {
    SequenceKey::new(class, JobId::new(job), 0)
}

fn planned(plan: &Plan) -> Vec<(u64, usize, usize)> {
    plan.chunks.iter().map(|chunk| (chunk.key.job.get(), chunk.start, chunk.end)).collect()
}

fn run(scheduler: &mut Scheduler, prefill: usize) -> Vec<(u64, usize, usize)> {
    let plan = scheduler.plan(prefill);
    scheduler.commit(&plan);
    planned(&plan)
}

#[test]
fn prompts_share_what_a_step_may_prefill_and_decoding_goes_on() {
    let mut scheduler = Scheduler::new(&shape(4, &[(None, 50)]), BlockKey::root(&0), EASY);
    let one = key(Priority::Normal, 1);
    scheduler.add(one, tokens(0..3));
    assert_eq!(run(&mut scheduler, 10), [(1, 0, 3)]);
    scheduler.append(one, [Item::Token(9)]);
    scheduler.add(key(Priority::Normal, 2), tokens(100..120));
    scheduler.add(key(Priority::Normal, 3), tokens(200..230));
    assert_eq!(run(&mut scheduler, 10), [(1, 3, 4), (2, 0, 10)]);
    scheduler.append(one, [Item::Token(9)]);
    // What is left of the second is short enough for a decode step.
    assert_eq!(run(&mut scheduler, 8), [(1, 4, 5), (2, 10, 18)]);
    assert_eq!(run(&mut scheduler, 8), [(2, 18, 20), (3, 0, 8)]);
}

#[test]
fn a_shared_beginning_is_computed_once() {
    let mut scheduler = Scheduler::new(&shape(4, &[(None, 50)]), BlockKey::root(&0), EASY);
    scheduler.add(key(Priority::Normal, 1), tokens(0..18));
    assert_eq!(run(&mut scheduler, 100), [(1, 0, 18)]);
    scheduler.remove(key(Priority::Normal, 1));
    let longer = key(Priority::Normal, 2);
    scheduler.add(longer, tokens(0..21));
    assert_eq!(run(&mut scheduler, 100), [(2, 16, 21)]);
    assert_eq!(scheduler.cached(longer), 16);
    // Of one that is wholly there, the last position is computed again: its row is wanted.
    scheduler.add(key(Priority::Normal, 3), tokens(0..16));
    assert_eq!(run(&mut scheduler, 100), [(3, 12, 16)]);
}

#[test]
fn an_equal_prompt_beside_it_is_taken_over_on_the_way() {
    let mut scheduler = Scheduler::new(&shape(4, &[(None, 50)]), BlockKey::root(&0), EASY);
    scheduler.add(key(Priority::Normal, 1), tokens(0..40));
    scheduler.add(key(Priority::Normal, 2), tokens(0..40));
    assert_eq!(run(&mut scheduler, 44), [(1, 0, 40), (2, 0, 4)]);
    assert_eq!(run(&mut scheduler, 44), [(2, 36, 40)]);
    assert_eq!(
        scheduler.cached(key(Priority::Normal, 2)),
        32,
        "of 40, it has computed the first 4 and the last 4"
    );
    assert_eq!(scheduler.pool().in_use(), 10, "the last one is shared too, once both have it");
}

#[test]
fn the_least_urgent_and_youngest_gives_way_and_comes_back() {
    let mut scheduler = Scheduler::new(&shape(4, &[(None, 6)]), BlockKey::root(&0), EASY);
    let (low, normal, high) = (key(Priority::Low, 1), key(Priority::Normal, 2), key(Priority::High, 3));
    scheduler.add(low, tokens(0..7));
    scheduler.add(normal, tokens(50..57));
    assert_eq!(run(&mut scheduler, 100), [(2, 0, 7), (1, 0, 7)]);
    scheduler.append(low, [Item::Token(1)]);
    scheduler.append(normal, [Item::Token(1)]);
    scheduler.add(high, tokens(80..90));
    assert_eq!(run(&mut scheduler, 100), [(3, 0, 10), (2, 7, 8)]);
    assert_eq!((scheduler.running_and_waiting(), scheduler.preemptions()), ((2, 1), 1));
    scheduler.remove(high);
    scheduler.remove(normal);
    assert_eq!(
        run(&mut scheduler, 100),
        [(1, 4, 8)],
        "the urgent one took its second block, and left the first cached"
    );
}

#[test]
fn a_prompt_that_waits_for_room_is_not_passed_by() {
    let mut scheduler = Scheduler::new(&shape(4, &[(None, 6)]), BlockKey::root(&0), EASY);
    scheduler.add(key(Priority::Normal, 1), tokens(0..15));
    assert_eq!(run(&mut scheduler, 100), [(1, 0, 15)]);
    scheduler.add(key(Priority::Normal, 2), tokens(50..62));
    scheduler.add(key(Priority::Normal, 3), tokens(80..82));
    assert_eq!(run(&mut scheduler, 100), []);
    scheduler.remove(key(Priority::Normal, 1));
    assert_eq!(run(&mut scheduler, 100), [(2, 0, 12), (3, 0, 2)]);
}

#[test]
fn a_paused_sequence_gives_way_to_any() {
    let mut scheduler = Scheduler::new(&shape(4, &[(None, 6)]), BlockKey::root(&0), EASY);
    let paused = key(Priority::High, 1);
    scheduler.add(paused, tokens(0..15));
    run(&mut scheduler, 100);
    scheduler.append(paused, [Item::Token(1)]);
    scheduler.pause(paused, true);
    scheduler.add(key(Priority::Low, 2), tokens(50..65));
    assert_eq!(run(&mut scheduler, 100), [(2, 0, 15)]);
    scheduler.remove(key(Priority::Low, 2));
    scheduler.pause(paused, false);
    assert_eq!(run(&mut scheduler, 100).len(), 1);
}

#[test]
fn a_window_keeps_what_cached_prefixes_need_and_gives_the_rest_back_first() {
    // Of 64 positions, 16 blocks without a window; the window group holds 8 in all, a window reads at most 3.
    let mut scheduler = Scheduler::new(&shape(4, &[(None, 40), (Some(9), 8)]), BlockKey::root(&0), EASY);
    for at in 0..16 {
        let job = key(Priority::Normal, at);
        // The same 16 positions first, then different ones.
        let mut items = tokens(0..16);
        items.extend(tokens(100 + 20 * at as u32..116 + 20 * at as u32));
        scheduler.add(job, items);
        let mut steps = 0;
        let mut first = None;
        while scheduler.pending(job) > 0 {
            let plan = scheduler.plan(4);
            first = first.or(plan.chunks.first().map(|chunk| chunk.start));
            scheduler.commit(&plan);
            scheduler.check();
            steps += 1;
            assert!(steps < 20);
        }
        if at > 1 {
            // Where two or more went different ways, the next may join: that window is kept.
            assert_eq!(first, Some(16), "job {at}");
        }
        scheduler.remove(job);
    }
}

#[test]
fn fixed_chunks_are_cut_at_the_same_places_with_and_without_the_cache() {
    let config = SchedulerConfig { batch: 8, chunk: 8, fixed: true, picture_rows: 100 };
    let mut scheduler = Scheduler::new(&shape(4, &[(None, 50)]), BlockKey::root(&0), config);
    scheduler.add(key(Priority::Normal, 1), tokens(0..21));
    assert_eq!(run(&mut scheduler, 3), [(1, 0, 8)]);
    assert_eq!(run(&mut scheduler, 100), [(1, 8, 16)]);
    assert_eq!(run(&mut scheduler, 100), [(1, 16, 21)]);
    scheduler.remove(key(Priority::Normal, 1));
    // Three blocks are equal; from the second chunk's beginning it is computed.
    let mut other = tokens(0..15);
    other.extend(tokens(70..80));
    scheduler.add(key(Priority::Normal, 2), other);
    assert_eq!(run(&mut scheduler, 100), [(2, 8, 16)]);
    assert_eq!(run(&mut scheduler, 100), [(2, 16, 24)]);
    assert_eq!(run(&mut scheduler, 100), [(2, 24, 25)]);
}

#[test]
fn another_revision_shares_nothing() {
    let root = |revision: &str| BlockKey::root(&revision);
    assert_ne!(root("a").then(&tokens(0..4)), root("b").then(&tokens(0..4)));
    assert_eq!(root("a").then(&tokens(0..4)), root("a").then(&tokens(0..4)));
    let picture = |of: &str| [Item::Embedding { content: ContentHash::of(of), row: 0 }];
    assert_ne!(root("a").then(&picture("cat")), root("a").then(&picture("dog")));
}
