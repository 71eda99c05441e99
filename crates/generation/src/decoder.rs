use crate::item::{ContentHash, Item};
use crate::job::JobPicture;

/// A block of a cache group: room for the keys and values of [`CacheShape::block_tokens`] positions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlockId(pub u32);

impl BlockId {
    /// Stands in a block table for a block that lies wholly outside the group's window. It is never read or written.
    pub const NONE: Self = Self(u32::MAX);
}

/// How a decoder's cache is cut up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CacheShape {
    /// Positions a block holds.
    pub block_tokens: usize,
    /// Groups of layers that keep the same positions.
    pub groups: Vec<CacheGroup>,
}

/// Layers that keep the same positions, and so share block tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheGroup {
    /// A row at position `p` reads positions above `p - window` only. `None`: it reads all before it.
    pub window: Option<usize>,
    /// Blocks there are.
    pub blocks: usize,
}

/// A part of one sequence that a forward pass computes.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// What stands at positions `start..start + items.len()`. Never empty.
    pub items: &'a [Item],
    /// The position of the first item. All positions before it are in the cache.
    pub start: usize,
    /// One block table for each cache group: entry `i` holds positions `i * block_tokens..`. Blocks that the items'
    /// positions fall into are this chunk's alone to write.
    pub tables: &'a [&'a [BlockId]],
    /// Which rows of logits are wanted.
    pub logits: LogitRows,
}

/// Which rows of logits a chunk yields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogitRows {
    /// None: more of the sequence follows.
    None,
    /// The last item's.
    Last,
}

/// A network that computes chunks of many sequences in one pass, their state in a cache of blocks.
pub trait Decoder: Send + 'static {
    /// What a picture is prepared to: see [`JobPicture`]. [`Infallible`](std::convert::Infallible) where only text is read.
    type Pixels: Send + Sync + 'static;

    /// Logits a row has.
    fn vocab_size(&self) -> usize;

    /// The most positions a sequence may have.
    fn context(&self) -> usize;

    /// How the cache is cut up.
    fn cache(&self) -> &CacheShape;

    /// Computes each chunk's positions into its blocks, and writes the rows of logits asked for, in the order of the
    /// chunks, each of [`Decoder::vocab_size`] numbers. No two chunks are of one sequence. `logits` comes empty.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Chunk`] when one chunk is at fault and the decoder is fit to go on: no chunk of the pass counts
    /// as computed then. Anything else means that the decoder is broken.
    fn forward(&mut self, chunks: &[Chunk<'_>], logits: &mut Vec<f32>) -> Result<(), DecodeError>;

    /// Copies one block of a group onto another.
    ///
    /// # Errors
    ///
    /// When the decoder is broken.
    fn copy_block(&mut self, group: usize, from: BlockId, to: BlockId) -> Result<(), DecodeError>;

    /// Rows of pictures there is memory for. Which pictures are kept is not the decoder's to decide.
    fn picture_rows(&self) -> usize {
        0
    }

    /// Goes on computing a picture's rows, piece by piece: at least one, and another each time `go_on` says so. `true`: they
    /// are there, and chunks may hold them until [`Decoder::forget_picture`]. Only one picture is computed at a time.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Picture`] when the picture is at fault and the decoder is fit to go on.
    fn encode(
        &mut self,
        picture: &JobPicture<Self::Pixels>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool, DecodeError> {
        let _ = (picture, go_on);
        Err(DecodeError::picture("this model reads text only"))
    }

    /// Lets go of a picture's rows, or of what has been computed of them.
    fn forget_picture(&mut self, content: ContentHash) {
        let _ = content;
    }
}

/// Why a pass yielded nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// One chunk cannot be computed, for instance because its picture is not there.
    #[error("{cause}")]
    Chunk {
        /// Which chunk of the pass.
        index: usize,
        /// What is wrong with it.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync + 'static>,
    },
    /// The rows of the picture cannot be computed.
    #[error("the picture cannot be computed: {0}")]
    Picture(#[source] Box<dyn std::error::Error + Send + Sync + 'static>),
    /// The decoder failed.
    #[error("{0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync + 'static>),
}

impl DecodeError {
    /// A chunk that cannot be computed, and why.
    pub fn chunk(index: usize, cause: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>) -> Self {
        Self::Chunk { index, cause: cause.into() }
    }

    /// A picture that cannot be computed, and why.
    pub fn picture(cause: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>) -> Self {
        Self::Picture(cause.into())
    }

    /// A failure of the decoder.
    pub fn broken(cause: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>) -> Self {
        Self::Broken(cause.into())
    }
}
