//! Where a pipeline's weights are: each component's in its folder, or all in one file.

use candle_core::{DType, Device};
use model_source::{ModelFiles, Weights, WeightsView};
use nn::{ComponentStore, TowerStore};

use super::at;
use super::original::{self, Component};
use crate::error::Error;

/// The tensors of one component, by diffusers' names.
#[derive(Debug)]
pub(super) struct Tensors {
    place: String,
    stored: Stored,
    dtype: DType,
}

#[derive(Debug)]
enum Stored {
    Own(Weights),
    Renamed(WeightsView),
}

/// Whether the weights are one file at the pipeline's top.
pub(super) fn is_single_file(files: &ModelFiles) -> bool {
    files.folder("").weight_files().next().is_some()
}

impl Tensors {
    /// Opens the weights of a component, which has a folder of this name. Blocks.
    pub(super) fn open(files: &ModelFiles, folder: &str, component: Component) -> Result<Self, Error> {
        if !is_single_file(files) {
            let files = files.folder(folder);
            let place = files.place().to_owned();
            let weights = Weights::open(&files)?;
            return Ok(Self { dtype: weights.dtype(), stored: Stored::Own(weights), place });
        }
        let place = files.weight_files().next().map_or_else(String::new, |file| file.label().to_owned());
        let weights = Weights::open(&files.folder(""))?;
        match original::component(&weights, component) {
            Ok(view) => Ok(Self { dtype: weights.dtype(), stored: Stored::Renamed(view), place }),
            Err(reason) => Err(Error::Checkpoint { place, reason }),
        }
    }

    /// What messages call them.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The type that most of their data has, or most of the file's that they share.
    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    /// Those of a UNet or a VAE.
    pub(super) fn component(&self) -> Result<ComponentStore, Error> {
        let (dtype, device) = (DType::F32, Device::Cpu);
        let store = match &self.stored {
            Stored::Own(weights) => ComponentStore::new(weights.var_builder(dtype, &device))
                .map(|store| store.with_names(weights.names())),
            Stored::Renamed(view) => ComponentStore::new(view.var_builder(dtype, &device))
                .map(|store| store.with_names(view.names())),
        };
        store.map_err(at(&self.place))
    }

    /// Those of a text encoder.
    pub(super) fn text(&self) -> Result<TowerStore, Error> {
        let (dtype, device) = (DType::F32, Device::Cpu);
        let store = match &self.stored {
            Stored::Own(weights) => TowerStore::text(weights.var_builder(dtype, &device))
                .map(|store| store.with_names(weights.names())),
            Stored::Renamed(view) => {
                TowerStore::text(view.var_builder(dtype, &device)).map(|store| store.with_names(view.names()))
            }
        };
        store.map_err(at(&self.place))
    }
}
