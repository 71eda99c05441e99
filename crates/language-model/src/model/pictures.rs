use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Tensor};
use generation::{ContentHash, DecodeError, JobPicture};

use crate::vision::{TowerError, VisionTower};

/// Rows of pictures that a worker keeps, and the picture it is in the midst of. The tower is shared by all workers.
pub(crate) struct Pictures<T: VisionTower> {
    tower: Arc<T>,
    /// Numbers a row has.
    width: usize,
    /// Rows there is memory for.
    capacity: usize,
    kept: BTreeMap<ContentHash, Tensor>,
    pass: Option<(ContentHash, T::Pass)>,
}

impl<T: VisionTower> Pictures<T> {
    pub(super) fn new(tower: Arc<T>, width: usize, capacity: usize) -> Self {
        Self { tower, width, capacity, kept: BTreeMap::new(), pass: None }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Some rows of a picture, if they are there.
    pub(super) fn rows(&self, content: ContentHash, first: usize, length: usize) -> Option<Tensor> {
        self.kept.get(&content)?.narrow(0, first, length).ok()
    }

    pub(super) fn encode(
        &mut self,
        picture: &JobPicture<T::Pixels>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<bool, DecodeError> {
        let pass = self.pass.take().filter(|(content, _)| *content == picture.content);
        let mut pass = match pass {
            Some((_, pass)) => pass,
            None => self.tower.begin(&picture.pixels).map_err(DecodeError::Picture)?,
        };
        match self.tower.advance(&mut pass, go_on).map_err(DecodeError::Picture)? {
            None => {
                self.pass = Some((picture.content, pass));
                Ok(false)
            }
            Some(rows) => {
                let rows = self.checked(rows, picture.rows as usize).map_err(DecodeError::Picture)?;
                self.kept.insert(picture.content, rows);
                Ok(true)
            }
        }
    }

    pub(super) fn forget(&mut self, content: ContentHash) {
        self.kept.remove(&content);
        self.pass.take_if(|(of, _)| *of == content);
    }

    /// Refuses rows that are not what the prompt has places for.
    fn checked(&self, rows: Tensor, wanted: usize) -> Result<Tensor, TowerError> {
        if rows.dims() == [wanted, self.width] && rows.dtype() == DType::F32 && rows.device().is_cpu() {
            return Ok(rows.contiguous()?);
        }
        let (width, dims, dtype) = (self.width, rows.dims(), rows.dtype());
        Err(format!(
            "it has rows of {dims:?} numbers as {dtype:?}, not {:?} as F32: a defect",
            [wanted, width]
        )
        .into())
    }
}
