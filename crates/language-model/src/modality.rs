use std::convert::Infallible;
use std::fmt;

use candle_core::Tensor;
use pool_core::{Footprint, ModelError};

use crate::error::Error;
use crate::vision::{Picture, RenderedSpecial, TowerError, Vision, VisionFiles, VisionTower};

/// A modality that writes text.
pub trait Modality: Clone + fmt::Debug + Send + Sync + Sized + 'static {
    /// Its name as configuration spells it.
    const NAME: &'static str;

    /// How it reads pictures; [`NoVision`] if it does not.
    type Vision: Vision;
}

/// A modality whose calls take pictures.
pub trait ReadsPictures: Modality {}

/// A picture as callers hand it to a modality.
pub type PictureOf<M> = <<M as Modality>::Vision as Vision>::Picture;

/// Of modalities that read text only. There is none, and no picture, so none of it is ever called.
#[derive(Debug)]
pub enum NoVision {}

impl Picture for Infallible {
    fn encoded(&self) -> &[u8] {
        match *self {}
    }
}

impl Vision for NoVision {
    type Picture = Infallible;
    type Pixels = Infallible;
    type Tower = Infallible;

    fn read(_: &VisionFiles<'_>) -> Result<Option<Self>, Error> {
        Ok(None)
    }

    fn architecture(&self) -> &str {
        match *self {}
    }

    fn image_token(&self) -> &str {
        match *self {}
    }

    fn rendered_special(&self) -> RenderedSpecial {
        match *self {}
    }

    fn tokens(&self, _: &Infallible) -> Result<usize, ModelError> {
        match *self {}
    }

    fn most_tokens(&self) -> usize {
        match *self {}
    }

    fn preparing_bytes(&self, _: &Infallible) -> u64 {
        match *self {}
    }

    fn prepare(&self, _: &Infallible) -> Result<Infallible, ModelError> {
        match *self {}
    }

    fn pixel_bytes(&self, _: &Infallible) -> usize {
        match *self {}
    }

    fn footprint(&self) -> Footprint {
        match *self {}
    }

    fn load(&self) -> Result<Infallible, Error> {
        match *self {}
    }
}

impl VisionTower for Infallible {
    type Pixels = Self;
    type Pass = Self;

    fn begin(&self, _: &Self) -> Result<Self, TowerError> {
        match *self {}
    }

    fn advance(&self, _: &mut Self, _: &mut dyn FnMut() -> bool) -> Result<Option<Tensor>, TowerError> {
        match *self {}
    }
}
