//! A decoder whose logits are a function of the whole prefix, as it is read back from the blocks it was handed, and whose
//! pictures take as many pieces as they say.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use generation::{
    BlockId, CacheShape, Chunk, ContentHash, DecodeError, Decoder, Delta, Generation, GenerationConfig,
    GenerationJob, GenerationModel, GenerationRequest, Grammars, Item, JobPicture, Limits, LogitRows,
    Occupancy, SamplingParams, StopStrings, ToolFormat, ToolUse, Tools, Usage,
};
use pool_core::{
    Cost, Engine, Error, Group, GroupConfig, JobOptions, LoadError, Loader, ModelError, Prepared, Priority,
};
use serde_json::Value;

use crate::vocabulary::{Bytes, EOS, SIZE};

/// What a cell holds: the position it was written for, and what stands there.
type Cell = Option<(usize, u64)>;

/// What a decoder does, and what was seen of it.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) shape: CacheShape,
    pub(crate) context: usize,
    pub(crate) config: GenerationConfig,
    /// Answers end after so many tokens on average; 0: never by themselves.
    pub(crate) ends_after: u64,
    /// A sequence with this token cannot be computed.
    pub(crate) poison: Option<u32>,
    /// How long each step takes.
    pub(crate) step: Duration,
    /// Ids beyond the vocabulary's that rows have; the decoder finds them the likeliest.
    pub(crate) padding: usize,
    /// Positions computed.
    pub(crate) computed: AtomicUsize,
    /// The most sequences that one pass has advanced.
    pub(crate) widest: AtomicUsize,
    /// How long a piece of a picture takes.
    pub(crate) piece: Duration,
    /// Rows of pictures there is memory for.
    pub(crate) picture_rows: usize,
    /// What happened, in order.
    pub(crate) log: Mutex<Vec<Event>>,
    pub(crate) occupancy: Mutex<Option<Arc<Occupancy>>>,
}

/// What a decoder was asked to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// To compute chunks: from where to where.
    Forward(Vec<(usize, usize)>),
    /// A piece of the picture of that name.
    Piece(&'static str),
    /// The picture's last piece.
    Encoded(&'static str),
    /// To let go of a picture.
    Forgotten(&'static str),
}

/// A picture that takes so many pieces; none: it cannot be computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Drawing {
    pub(crate) name: &'static str,
    pub(crate) pieces: usize,
}

#[derive(Debug)]
pub(crate) struct Scripted {
    script: Arc<Script>,
    cells: Vec<Vec<Cell>>,
    /// The rows that are there.
    rows: BTreeMap<ContentHash, &'static str>,
    /// The picture that is being computed, and its pieces yet to do.
    pass: Option<(ContentHash, Drawing)>,
}

pub(crate) fn shape(block_tokens: usize, groups: &[(Option<usize>, usize)]) -> CacheShape {
    let groups = groups.iter().map(|&(window, blocks)| generation::CacheGroup { window, blocks }).collect();
    CacheShape { block_tokens, groups }
}

impl Script {
    pub(crate) fn new(shape: CacheShape) -> Self {
        Self {
            shape,
            context: 400,
            config: GenerationConfig::default(),
            ends_after: 0,
            poison: None,
            step: Duration::ZERO,
            padding: 0,
            computed: AtomicUsize::new(0),
            widest: AtomicUsize::new(0),
            piece: Duration::ZERO,
            picture_rows: 1000,
            log: Mutex::new(Vec::new()),
            occupancy: Mutex::new(None),
        }
    }

    /// Room for everything.
    pub(crate) fn ample() -> Self {
        Self::new(shape(16, &[(None, 400), (Some(20), 200)]))
    }

    pub(crate) fn occupancy(&self) -> Arc<Occupancy> {
        Arc::clone(self.occupancy.lock().unwrap().as_ref().unwrap())
    }

    pub(crate) fn note(&self, event: Event) {
        self.log.lock().unwrap().push(event);
    }

    /// What happened so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.log.lock().unwrap().clone()
    }

    /// How often any picture was computed to its end.
    pub(crate) fn encoded(&self) -> usize {
        self.events().iter().filter(|event| matches!(event, Event::Encoded(_))).count()
    }

    /// The row that follows from what a position of each group reads.
    fn row(&self, digest: u64) -> impl Iterator<Item = f32> {
        let ends = self.ends_after;
        (0..(SIZE + self.padding) as u64).map(move |token| {
            if token >= SIZE as u64 {
                return 25.0;
            }
            if token == u64::from(EOS) {
                return if ends > 0 && mix(digest).is_multiple_of(ends) { 30.0 } else { -30.0 };
            }
            (mix(digest ^ mix(token)) >> 40) as f32 / (1_u64 << 24) as f32 * 12.0 - 6.0
        })
    }
}

fn code(item: Item) -> u64 {
    match item {
        Item::Token(token) => u64::from(token),
        Item::Embedding { content, row } => mix(u64::from(row) ^ 77) ^ pool_core_hash(&content),
    }
}

fn pool_core_hash(content: &generation::ContentHash) -> u64 {
    format!("{content:?}").bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)))
}

fn mix(state: u64) -> u64 {
    let mut state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    state = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ state >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ state >> 31
}

impl Scripted {
    fn cell(&mut self, group: usize, table: &[BlockId], position: usize) -> &mut Cell {
        let tokens = self.script.shape.block_tokens;
        let block = table[position / tokens];
        assert_ne!(block, BlockId::NONE, "position {position} of group {group} was given back");
        &mut self.cells[group][block.0 as usize * tokens + position % tokens]
    }

    /// What a row at `position` reads of all groups.
    fn digest(&mut self, tables: &[&[BlockId]], position: usize) -> u64 {
        let mut digest = 0;
        for (group, table) in tables.iter().enumerate() {
            let window = self.script.shape.groups[group].window.unwrap_or(usize::MAX);
            for at in (position + 1).saturating_sub(window)..=position {
                let (written_for, code) = self.cell(group, table, at).unwrap_or((usize::MAX, 0));
                assert_eq!(written_for, at, "a block of another place is read in group {group}");
                digest = mix(digest ^ code ^ (group as u64) << 32);
            }
        }
        digest
    }
}

impl Decoder for Scripted {
    type Pixels = Drawing;

    fn vocab_size(&self) -> usize {
        SIZE + self.script.padding
    }

    fn context(&self) -> usize {
        self.script.context
    }

    fn cache(&self) -> &CacheShape {
        &self.script.shape
    }

    fn forward(&mut self, chunks: &[Chunk<'_>], logits: &mut Vec<f32>) -> Result<(), DecodeError> {
        let poison = self.script.poison.map(Item::Token);
        if let Some(index) =
            chunks.iter().position(|chunk| chunk.items.iter().any(|item| Some(*item) == poison))
        {
            return Err(DecodeError::chunk(index, "poisoned"));
        }
        for item in chunks.iter().flat_map(|chunk| chunk.items) {
            if let Item::Embedding { content, .. } = item {
                assert!(
                    self.rows.contains_key(content),
                    "the rows of a picture are read before they are there"
                );
            }
        }
        self.script.note(Event::Forward(
            chunks.iter().map(|chunk| (chunk.start, chunk.start + chunk.items.len())).collect(),
        ));
        std::thread::sleep(self.script.step);
        self.script.widest.fetch_max(chunks.len(), Ordering::Relaxed);
        for chunk in chunks {
            self.script.computed.fetch_add(chunk.items.len(), Ordering::Relaxed);
            for (offset, item) in chunk.items.iter().enumerate() {
                let position = chunk.start + offset;
                for (group, table) in chunk.tables.iter().enumerate() {
                    *self.cell(group, table, position) = Some((position, code(*item)));
                }
            }
        }
        for chunk in chunks.iter().filter(|chunk| chunk.logits == LogitRows::Last) {
            let digest = self.digest(chunk.tables, chunk.start + chunk.items.len() - 1);
            logits.extend(self.script.row(digest));
        }
        Ok(())
    }

    fn copy_block(&mut self, group: usize, from: BlockId, to: BlockId) -> Result<(), DecodeError> {
        let tokens = self.script.shape.block_tokens;
        let start = from.0 as usize * tokens;
        self.cells[group].copy_within(start..start + tokens, to.0 as usize * tokens);
        Ok(())
    }

    fn picture_rows(&self) -> usize {
        self.script.picture_rows
    }

    fn encode(
        &mut self,
        picture: &JobPicture<Drawing>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool, DecodeError> {
        assert!(!self.rows.contains_key(&picture.content), "it is there");
        let pass = self.pass.take().filter(|(content, _)| *content == picture.content);
        let mut left = pass.map_or(picture.pixels, |(_, left)| left);
        if left.pieces == 0 {
            return Err(DecodeError::picture("it cannot be drawn"));
        }
        loop {
            std::thread::sleep(self.script.piece);
            left.pieces -= 1;
            self.script.note(Event::Piece(left.name));
            if left.pieces == 0 {
                self.script.note(Event::Encoded(left.name));
                self.rows.insert(picture.content, left.name);
                return Ok(true);
            }
            if !go_on() {
                self.pass = Some((picture.content, left));
                return Ok(false);
            }
        }
    }

    fn forget_picture(&mut self, content: ContentHash) {
        if let Some(name) = self.rows.remove(&content) {
            self.script.note(Event::Forgotten(name));
        }
        if let Some((_, drawing)) = self.pass.take_if(|(of, _)| *of == content) {
            self.script.note(Event::Forgotten(drawing.name));
        }
    }
}

/// A request, as a modality might have it.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) prompt: Vec<Item>,
    pub(crate) pictures: Vec<JobPicture<Drawing>>,
    pub(crate) sampling: SamplingParams,
    pub(crate) choices: u32,
    pub(crate) max_tokens: Option<usize>,
    pub(crate) stop: Vec<String>,
    pub(crate) ignore_eos: bool,
    pub(crate) schema: Option<Value>,
    pub(crate) tools: Option<(ToolFormat, Tools, Choosing)>,
    pub(crate) one_call: bool,
    pub(crate) priority: Priority,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Choosing {
    Auto,
    Begun,
    Required,
}

pub(crate) fn ask(text: &str) -> Ask {
    Ask {
        prompt: crate::vocabulary::prompt(text),
        pictures: Vec::new(),
        sampling: SamplingParams::default(),
        choices: 1,
        max_tokens: Some(20),
        stop: Vec::new(),
        ignore_eos: false,
        schema: None,
        one_call: false,
        tools: None,
        priority: Priority::Normal,
    }
}

impl Ask {
    /// Lets a picture of so many rows follow, and more text.
    pub(crate) fn with_picture(mut self, drawing: Drawing, rows: u32, text: &str) -> Self {
        let content = ContentHash::of(drawing.name);
        self.prompt.extend((0..rows).map(|row| Item::Embedding { content, row }));
        self.prompt.extend(crate::vocabulary::prompt(text));
        self.pictures.push(JobPicture { content, rows, pixels: drawing });
        self
    }
}

impl GenerationRequest for Ask {
    fn estimate(&self) -> Cost {
        generation::expected_cost(self.prompt.len(), self.choices, self.max_tokens, self.prompt.len())
    }

    fn priority(&self) -> Priority {
        self.priority
    }
}

pub(crate) type Scripting = GenerationModel<Scripted, Ask>;

pub(crate) struct ScriptLoader {
    script: Arc<Script>,
    vocabulary: Arc<Bytes>,
    grammars: Grammars,
    limits: Limits,
}

impl Loader for ScriptLoader {
    type Model = Scripting;

    fn load(&self) -> Result<Scripting, LoadError> {
        let tokens = self.script.shape.block_tokens;
        let cells = self.script.shape.groups.iter().map(|group| vec![None; group.blocks * tokens]).collect();
        let (rows, pass) = (BTreeMap::new(), None);
        let decoder = Scripted { script: Arc::clone(&self.script), cells, rows, pass };
        let vocabulary = Arc::clone(&self.vocabulary);
        let model = GenerationModel::new(&"scripted".into(), &1, decoder, vocabulary, &self.script.config);
        let model = model.map_err(LoadError::new)?;
        assert_eq!(*model.limits(), self.limits);
        *self.script.occupancy.lock().unwrap() = Some(Arc::clone(model.occupancy()));
        Ok(model)
    }

    fn prepare(&self, ask: &Ask) -> Result<Prepared<GenerationJob<Drawing>>, ModelError> {
        let mut job = GenerationJob::new(ask.prompt.clone());
        job.pictures = ask.pictures.clone();
        job.sampling = ask.sampling.clone();
        job.choices = ask.choices;
        job.max_tokens = ask.max_tokens;
        job.stop = StopStrings::new(ask.stop.clone())?;
        job.ignore_eos = ask.ignore_eos;
        job.grammar = ask.schema.as_ref().map(|schema| self.grammars.json_schema(schema)).transpose()?;
        if let Some((format, tools, choosing)) = &ask.tools {
            let mut used =
                ToolUse { format: *format, tools: tools.clone(), several: !ask.one_call, call: None };
            match choosing {
                Choosing::Required => {
                    job.grammar = Some(self.grammars.tool_calls(*format, tools, !ask.one_call)?)
                }
                Choosing::Begun => {
                    used.call = Some(Arc::new(self.grammars.begun_call(*format, tools, !ask.one_call)?))
                }
                Choosing::Auto => {}
            }
            job.tools = Some(used);
        }
        job.check(&self.limits)?;
        let cost = job.cost(ask.prompt.len());
        Ok(Prepared { value: job, cost })
    }
}

/// An engine with a scripted model in it.
pub(crate) struct Pool {
    pub(crate) engine: Engine,
    pub(crate) group: Group<Scripting>,
    pub(crate) script: Arc<Script>,
}

impl Pool {
    pub(crate) async fn new(script: Script) -> Self {
        Self::with(script, Bytes::new()).await
    }

    pub(crate) async fn with(script: Script, vocabulary: Bytes) -> Self {
        let script = Arc::new(script);
        let vocabulary = Arc::new(vocabulary);
        let loader = ScriptLoader {
            grammars: Grammars::new(vocabulary.clone()),
            limits: Limits::new(SIZE + script.padding, script.context, &script.shape, &script.config)
                .unwrap(),
            script: Arc::clone(&script),
            vocabulary,
        };
        let engine = Engine::builder().build().unwrap();
        let group = engine.add(GroupConfig::new("scripted"), loader).await.unwrap();
        Self { engine, group, script }
    }

    pub(crate) async fn answer(&self, ask: Ask) -> Result<Generation, Error> {
        let options = JobOptions::default().priority(ask.priority);
        self.group.submit(ask, options).await?.await
    }

    /// All deltas of an answer, and the answer.
    pub(crate) async fn stream(&self, ask: Ask) -> (Vec<Delta>, Result<Generation, Error>) {
        let options = JobOptions::default().priority(ask.priority);
        let ahead = std::num::NonZeroUsize::new(8).unwrap();
        let (ticket, mut events) = self.group.submit_streaming(ask, options, ahead).await.unwrap();
        let mut deltas = Vec::new();
        let reading = async {
            while let Some(delta) = events.recv().await {
                deltas.push(delta);
            }
        };
        let (outcome, ()) = tokio::join!(ticket, reading);
        (deltas, outcome)
    }

    /// Waits until the model has taken everything back.
    pub(crate) async fn emptied(&self) {
        for _ in 0..500 {
            let occupancy = self.script.occupancy();
            if occupancy.blocks_used() == 0 && occupancy.running() + occupancy.waiting() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("blocks are not given back: {:?}", self.script.occupancy());
    }
}

/// An answer with nothing but its tokens.
pub(crate) fn tokens(generation: &Generation) -> Vec<Vec<u32>> {
    let choice = |choice: &generation::Choice| choice.tokens.iter().map(|written| written.token).collect();
    generation.choices.iter().map(choice).collect()
}

/// What a request comes to by itself, in a cache with room for everything.
pub(crate) async fn alone(ask: &Ask, ends_after: u64, windows: &CacheShape) -> Generation {
    let groups: Vec<_> = windows.groups.iter().map(|group| (group.window, 400)).collect();
    let mut script = Script::new(shape(windows.block_tokens, &groups));
    script.ends_after = ends_after;
    let pool = Pool::new(script).await;
    let answer = pool.answer(ask.clone()).await.unwrap();
    pool.engine.drain(Duration::from_secs(5)).await;
    Generation { usage: Usage { cached: 0, ..answer.usage }, ..answer }
}
