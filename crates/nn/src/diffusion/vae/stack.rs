//! Layers one after another.

use super::attention::{AttentionRun, MapAttention};
use super::plan::{LayerShape, PlannedLayer};
use crate::diffusion::conv::{ConvShape, Start};
use crate::diffusion::maps::{MapSize, Part};
use crate::diffusion::resnet::{NormedConv, NormedRun, ResnetBlock, ResnetRun};
use crate::diffusion::sampling::{ConvRun, Resampler};
use crate::error::NnError;
use crate::store::TensorStore;

#[derive(Debug)]
pub(super) struct Stack {
    layers: Vec<Layer>,
}

#[derive(Debug)]
enum Layer {
    Conv(Resampler),
    Resnet(Box<ResnetBlock>),
    Attention(Box<MapAttention>),
    Out(NormedConv),
}

/// A map on its way through.
#[derive(Debug)]
pub(super) struct StackRun {
    /// The next layer, or that which the map is in.
    layer: usize,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Between(Vec<f32>, MapSize),
    Conv(ConvRun),
    Resnet(ResnetRun, MapSize),
    Attention(AttentionRun, MapSize),
    Out { numbers: Vec<f32>, size: MapSize, run: NormedRun, outputs: Vec<f32> },
}

impl Stack {
    pub(super) fn load(store: &dyn TensorStore, layers: &[PlannedLayer]) -> Result<Self, NnError> {
        let layers = layers.iter().map(|planned| Layer::load(store, planned)).collect::<Result<_, _>>()?;
        Ok(Self { layers })
    }

    /// One map before the first layer, channels last.
    pub(super) fn begin(numbers: Vec<f32>, size: MapSize) -> StackRun {
        StackRun { layer: 0, place: Place::Between(numbers, size) }
    }

    /// One piece of work; true when all is done.
    pub(super) fn advance(&self, run: &mut StackRun) -> bool {
        let Some(layer) = self.layers.get(run.layer) else {
            return true;
        };
        let place = std::mem::replace(&mut run.place, Place::Between(Vec::new(), NOTHING));
        run.place = layer.advance(layer.enter(place));
        run.layer += usize::from(matches!(run.place, Place::Between(..)));
        run.layer == self.layers.len()
    }
}

/// The size of no map.
const NOTHING: MapSize = MapSize { maps: 0, height: 0, width: 0 };

impl StackRun {
    /// The output, channels last, once all is done.
    pub(super) fn into_output(self) -> (Vec<f32>, MapSize) {
        match self.place {
            Place::Between(numbers, size) => (numbers, size),
            _ => (Vec::new(), NOTHING),
        }
    }
}

impl Layer {
    fn load(store: &dyn TensorStore, PlannedLayer { name, shape }: &PlannedLayer) -> Result<Self, NnError> {
        Ok(match *shape {
            LayerShape::Conv(shape) => Self::Conv(Resampler::plain(store, name, shape)?),
            LayerShape::Up(channels) => Self::Conv(Resampler::up(store, name, channels)?),
            LayerShape::Resnet(shape) => {
                Self::Resnet(Box::new(ResnetBlock::load(store, &format!("{name}."), shape)?))
            }
            LayerShape::Attention(channels, norm) => {
                Self::Attention(Box::new(MapAttention::load(store, name, channels, norm)?))
            }
            LayerShape::Out(shape, norm) => {
                let names = (&*format!("{name}.conv_norm_out"), &*format!("{name}.conv_out"));
                Self::Out(NormedConv::load(store, names, shape, norm)?)
            }
        })
    }

    /// A map that is before the layer enters it, one that is within stays.
    fn enter(&self, place: Place) -> Place {
        let Place::Between(numbers, size) = place else {
            return place;
        };
        match self {
            Self::Conv(conv) => Place::Conv(conv.begin(numbers, size, None)),
            Self::Resnet(block) => Place::Resnet(block.begin(vec![numbers], size, &[]), size),
            Self::Attention(_) => Place::Attention(MapAttention::begin(numbers, size), size),
            Self::Out(out) => {
                let outputs = vec![0.0; size.positions() * out.outputs()];
                Place::Out { numbers, size, run: NormedRun::default(), outputs }
            }
        }
    }

    /// One piece of work on a map within.
    fn advance(&self, mut place: Place) -> Place {
        let done = match (self, &mut place) {
            (Self::Conv(conv), Place::Conv(run)) => conv.advance(run),
            (Self::Resnet(block), Place::Resnet(run, _)) => block.advance(run),
            (Self::Attention(attention), Place::Attention(run, _)) => attention.advance(run),
            (Self::Out(out), Place::Out { numbers, size, run, outputs }) => {
                out.advance(run, &[Part::of(numbers, *size)], *size, Start::Bias, outputs)
            }
            // A map is only ever in the layer that it has entered.
            _ => true,
        };
        match place {
            place if !done => place,
            Place::Conv(run) => {
                let (numbers, size) = run.into_output();
                Place::Between(numbers, size)
            }
            Place::Resnet(run, size) => Place::Between(run.into_output(), size),
            Place::Attention(run, size) => Place::Between(run.into_output(), size),
            Place::Out { outputs, size, .. } => Place::Between(outputs, size),
            between @ Place::Between(..) => between,
        }
    }
}

/// The size of what layers make of maps.
pub(super) fn output_size(layers: &[PlannedLayer], size: MapSize) -> MapSize {
    layers.iter().fold(size, |size, layer| match layer.shape {
        LayerShape::Conv(shape) => shape.output_size(size),
        LayerShape::Up(_) => MapSize { height: 2 * size.height, width: 2 * size.width, ..size },
        LayerShape::Resnet(_) | LayerShape::Attention(..) | LayerShape::Out(..) => size,
    })
}

/// Channels of what a layer is given and of what it hands on.
pub(super) fn channels(shape: LayerShape) -> (usize, usize) {
    match shape {
        LayerShape::Conv(ConvShape { inputs, outputs, .. })
        | LayerShape::Out(ConvShape { inputs, outputs, .. }, _) => (inputs, outputs),
        LayerShape::Resnet(shape) => (shape.inputs, shape.outputs),
        LayerShape::Attention(channels, _) | LayerShape::Up(channels) => (channels, channels),
    }
}
