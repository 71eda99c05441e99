//! The weights: a vision tower, the projector behind it, and the newline between rows of tiles.

use std::fmt;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use imaging::PixelValues;
use language_model::{TowerError, VisionTower};
use nn::{Mlp, MlpConfig, NnError, Pixels, TensorStore, TowerOutputs, VisionPass, VisionTransformer};
use pool_core::{Bytes, Footprint};

use crate::config::{Family, LlavaConfig};
use crate::grid::{Grid, Row};
use crate::weights::{NEWLINE, PROJECTOR};

/// Rows that the projector takes at once: about as much work as a piece of the tower.
const PROJECTED: usize = 128;

const NUMBER: u64 = size_of::<f32>() as u64;

/// How the tower's rows of a picture become the language model's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Arrangement {
    /// As they are, those of one tile.
    Whole {
        /// How many.
        rows: usize,
    },
    /// Those of several tiles, in the order of a grid.
    Tiled(Grid),
}

impl Arrangement {
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Whole { rows } => *rows,
            Self::Tiled(grid) => grid.rows(),
        }
    }
}

/// The weights that turn pictures into rows of a LLaVA model.
pub struct PictureTower {
    config: LlavaConfig,
    tower: VisionTransformer,
    projector: Mlp,
    /// Only where there are tiles.
    newline: Option<Vec<f32>>,
    /// Numbers of a row of the language model's.
    width: usize,
}

/// A picture on its way through.
pub struct PicturePass {
    pixels: Arc<PixelValues>,
    arrangement: Arrangement,
    /// The tile at hand.
    tile: usize,
    /// Its way through the tower.
    pass: Option<VisionPass>,
    /// Its rows out of the tower, side by side, while they are projected.
    selected: Vec<f32>,
    /// Projected rows of all tiles so far.
    pub(crate) projected: Vec<f32>,
}

impl PictureTower {
    /// Loads what is computed with and nothing else: no layer behind the last one used.
    pub(crate) fn load(
        config: LlavaConfig,
        projector: MlpConfig,
        weights: &dyn TensorStore,
    ) -> Result<Self, NnError> {
        let outputs = TowerOutputs::hidden(config.layers.iter().copied());
        let tower = VisionTransformer::load(config.vision.clone(), weights, outputs)?;
        let names = ["linear_1", "linear_2"].map(|name| format!("{PROJECTOR}{name}"));
        if !projector.bias && weights.contains(&format!("{}.bias", names[0])) {
            return Err(NnError::Weights(
                "the projector has a bias, and multimodal_projector_bias is false".to_owned(),
            ));
        }
        let newline = match config.family {
            Family::Llava => None,
            Family::LlavaNext { .. } => Some(weights.vector(NEWLINE, projector.outputs)?),
        };
        let width = projector.outputs;
        let projector = Mlp::load(projector, weights, [&names[0], &names[1]])?;
        Ok(Self { config, tower, projector, newline, width })
    }

    /// The tile's rows out of the tower: the hidden states wanted, side by side.
    fn select(&self, pass: &VisionPass) -> Vec<f32> {
        let states: Vec<&[f32]> = (0..self.config.layers.len()).map(|place| pass.hidden(0, place)).collect();
        let width = self.config.vision.hidden_size;
        let rows = states.first().map_or(0, |state| state.len() / width);
        let first = usize::from(self.config.drop_first);
        let mut selected = Vec::with_capacity((rows - first) * width * states.len());
        for row in first..rows {
            for state in &states {
                selected.extend_from_slice(&state[row * width..(row + 1) * width]);
            }
        }
        selected
    }

    /// A stretch of the selected rows through the projector. True when none is left.
    fn project(&self, pass: &mut PicturePass) -> bool {
        let inputs = self.config.vision.hidden_size * self.config.layers.len();
        let done = pass.projected.len() / self.width - pass.tile * self.config.tile_rows();
        let rest = &pass.selected[done * inputs..];
        let stretch = rest.len().min(PROJECTED * inputs);
        pass.projected.extend(self.projector.apply(&rest[..stretch]));
        stretch == rest.len()
    }

    /// All rows in the language model's order.
    fn arrange(&self, pass: &mut PicturePass) -> Vec<f32> {
        let projected = std::mem::take(&mut pass.projected);
        let Arrangement::Tiled(grid) = &pass.arrangement else {
            return projected;
        };
        let newline = self.newline.as_deref().unwrap_or_default();
        let mut rows = Vec::with_capacity(grid.rows() * self.width);
        for row in grid.order() {
            rows.extend_from_slice(match row {
                Row::Feature(feature) => &projected[feature * self.width..(feature + 1) * self.width],
                Row::Newline => newline,
            });
        }
        rows
    }
}

impl VisionTower for PictureTower {
    type Pixels = Arc<PixelValues>;
    type Pass = PicturePass;

    fn begin(&self, pixels: &Arc<PixelValues>) -> Result<PicturePass, TowerError> {
        let arrangement = self.config.arrange(pixels.layout())?;
        // All tiles' rows at once, as the footprint counts them: what grows by doubling takes more.
        let tiles = pixels.layout().tiles;
        let projected = Vec::with_capacity(tiles * self.config.tile_rows() * self.width);
        let (pass, selected) = (None, Vec::new());
        Ok(PicturePass { pixels: Arc::clone(pixels), arrangement, tile: 0, pass, selected, projected })
    }

    fn advance(
        &self,
        pass: &mut PicturePass,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Tensor>, TowerError> {
        while pass.tile < pass.pixels.layout().tiles {
            if pass.selected.is_empty() {
                let mut tile = match pass.pass.take() {
                    Some(tile) => tile,
                    None => {
                        let values = pass.pixels.tile(pass.tile);
                        let side = self.config.vision.image_size;
                        self.tower.begin(&[Pixels { values: &values, height: side, width: side }])?
                    }
                };
                // One that pauses asks at its end, too; what follows is another piece.
                let done = self.tower.advance(&mut tile, go_on);
                if !done {
                    pass.pass = Some(tile);
                    return Ok(None);
                }
                pass.selected = self.select(&tile);
            } else if self.project(pass) {
                pass.selected = Vec::new();
                pass.tile += 1;
                if pass.tile == pass.pixels.layout().tiles {
                    break;
                }
            }
            if !go_on() {
                return Ok(None);
            }
        }
        let rows = self.arrange(pass);
        let count = rows.len() / self.width;
        Ok(Some(Tensor::from_vec(rows, (count, self.width), &Device::Cpu)?))
    }
}

/// What the tower takes, and a pass over a picture of so many rows and tiles.
pub(crate) fn footprint(config: &LlavaConfig, projector: MlpConfig, rows: usize, tiles: usize) -> Footprint {
    let vision = &config.vision;
    let layers = config.layers.iter().max().copied().unwrap_or_default();
    let newline = projector.outputs as u64;
    let weights = vision.parameters(layers).saturating_add(projector.parameters()).saturating_add(newline);
    let tile_rows = config.tile_rows();
    let tokens = config.side * config.side + vision.leading_tokens();
    let pixels = vision.channels * vision.image_size * vision.image_size;
    // The tile's numbers, its rows side by side and between the projector's maps, all tiles' rows, and those in order.
    let beside = (pixels + tile_rows * projector.inputs + PROJECTED * projector.inner) as u64;
    let kept = ((tiles * tile_rows + rows) * projector.outputs) as u64;
    let numbers = beside.saturating_add(kept).saturating_mul(NUMBER);
    let working = vision.activation_bytes(tokens, config.layers.len()).saturating_add(numbers);
    Footprint { weights: Bytes(weights.saturating_mul(NUMBER)), working_set: Bytes(working) }
}

impl fmt::Debug for PictureTower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PictureTower").field("config", &self.config).finish_non_exhaustive()
    }
}

impl fmt::Debug for PicturePass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PicturePass").field("tile", &self.tile).finish_non_exhaustive()
    }
}
