//! Products with rows that are read where they are: one after another, or scattered, as those that a convolution sees.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::Packed;

/// Rows that meet a panel at once: with two vectors each, their sums fill the registers.
const ROWS: usize = 6;
/// Numbers of the depth that are taken at once: a panel's stretch is 16 kB where vectors are of eight numbers.
const DEPTH: usize = 256;
/// Rows of a task, at most: their stretch of the depth stays in a core's second cache, and so do their sums of a panel.
const TASK_ROWS: usize = 192;
/// Rows that each thread must have for tasks to be made of rows: with fewer, all threads together would read the matrix more
/// often than they can. Tasks are then made of panels.
const LEAST_ROWS: usize = 48;
/// Panels of a task, where tasks are made of panels.
const TASK_PANELS: usize = 4;

/// Rows of inputs, wherever they are.
pub(crate) trait ScatteredRows: Sync {
    /// What is worked out once about a row.
    type Place: Copy;

    fn place(&self, row: usize) -> Self::Place;

    /// The numbers of a run of the depth.
    fn run(&self, place: Self::Place, run: usize) -> &[f32];
}

/// The depth, divided into runs: a row has the numbers of a run in one place.
#[derive(Debug)]
pub(crate) struct Runs {
    segments: Vec<Segment>,
    /// Segments that are taken at once.
    stretches: Vec<Range<usize>>,
}

/// A run, or a part of one that is too long to be taken at once.
#[derive(Debug)]
struct Segment {
    run: usize,
    numbers: Range<usize>,
}

impl Runs {
    /// Of these lengths.
    pub(crate) fn of(lengths: impl IntoIterator<Item = usize>) -> Self {
        let mut segments: Vec<Segment> = Vec::new();
        for (run, length) in lengths.into_iter().enumerate() {
            let parts = length.div_ceil(DEPTH);
            let edge = |part: usize| length * part / parts;
            segments.extend((0..parts).map(|part| Segment { run, numbers: edge(part)..edge(part + 1) }));
        }
        let mut stretches = Vec::new();
        let (mut first, mut length) = (0, 0);
        for (at, segment) in segments.iter().enumerate() {
            if at > first && length + segment.numbers.len() > DEPTH {
                stretches.push(first..at);
                (first, length) = (at, 0);
            }
            length += segment.numbers.len();
        }
        stretches.push(first..segments.len());
        Self { segments, stretches }
    }
}

impl Packed {
    /// Adds to each row of `outputs` the sums of one of the rows of `inputs`, from the first one on; on all threads. Each sum
    /// is taken in the same order, whatever rows there are.
    ///
    /// Before that, `begin` is given each row, or some of its columns, to put there what is added to.
    pub(crate) fn add_products<I: ScatteredRows>(
        &self,
        inputs: &I,
        runs: &Runs,
        first: usize,
        begin: &Begin<'_>,
        outputs: &mut [f32],
    ) {
        let rows = outputs.len() / self.outputs.max(1);
        let threads = rayon::current_num_threads();
        let products = |rows, panels| Products { packed: self, inputs, runs, rows, panels, begin };
        if rows >= threads * LEAST_ROWS {
            let tasks = rows.div_ceil(TASK_ROWS).next_multiple_of(threads);
            let task_rows = rows.div_ceil(tasks);
            outputs.par_chunks_mut(task_rows * self.outputs).enumerate().for_each(|(task, outputs)| {
                let first = first + task * task_rows;
                let rows = first..first + outputs.len() / self.outputs;
                products(rows, 0..self.panel_count()).add_to(outputs);
            });
        } else if rows > 0 {
            let tasks: Vec<Range<usize>> = (0..self.panel_count())
                .step_by(TASK_PANELS)
                .map(|first| first..(first + TASK_PANELS).min(self.panel_count()))
                .collect();
            let so_far = &*outputs;
            // Rows cannot be written by several tasks at once, so each hands out its columns.
            let columns: Vec<Vec<f32>> = tasks
                .par_iter()
                .map(|panels| {
                    let place = self.columns(panels);
                    let each = so_far.chunks_exact(self.outputs);
                    let mut columns: Vec<f32> = each.flat_map(|row| &row[place.clone()]).copied().collect();
                    products(first..first + rows, panels.clone()).add_to(&mut columns);
                    columns
                })
                .collect();
            for (panels, columns) in tasks.iter().zip(&columns) {
                let place = self.columns(panels);
                let each = outputs.chunks_exact_mut(self.outputs).zip(columns.chunks_exact(place.len()));
                each.for_each(|(row, part)| row[place.clone()].copy_from_slice(part));
            }
        }
    }

    /// The same on the calling thread.
    pub(super) fn add_products_here<I: ScatteredRows>(
        &self,
        inputs: &I,
        runs: &Runs,
        first: usize,
        begin: &Begin<'_>,
        outputs: &mut [f32],
    ) {
        let rows = first..first + outputs.len() / self.outputs.max(1);
        Products { packed: self, inputs, runs, rows, panels: 0..self.panel_count(), begin }.add_to(outputs);
    }

    fn panel_count(&self) -> usize {
        self.outputs.div_ceil(self.width)
    }

    /// The outputs of some panels.
    fn columns(&self, panels: &Range<usize>) -> Range<usize> {
        panels.start * self.width..(panels.end * self.width).min(self.outputs)
    }
}

/// What is done with a row of outputs, or with these columns of it, before sums are added.
pub(crate) type Begin<'a> = dyn Fn(usize, Range<usize>, &mut [f32]) + Sync + 'a;

/// The sums of some rows with some panels.
struct Products<'a, I> {
    packed: &'a Packed,
    inputs: &'a I,
    runs: &'a Runs,
    rows: Range<usize>,
    panels: Range<usize>,
    begin: &'a Begin<'a>,
}

impl<I: ScatteredRows> Products<'_, I> {
    /// Rows of `outputs` have one number for each output of the panels.
    fn add_to(self, outputs: &mut [f32]) {
        let columns = self.packed.columns(&self.panels);
        if columns.is_empty() || outputs.is_empty() {
            return;
        }
        for (row, outputs) in self.rows.clone().zip(outputs.chunks_exact_mut(columns.len())) {
            (self.begin)(row, columns.clone(), outputs);
        }
        Arch::new().dispatch(Adding { products: self, outputs });
    }
}

struct Adding<'a, I> {
    products: Products<'a, I>,
    outputs: &'a mut [f32],
}

impl<I: ScatteredRows> WithSimd for Adding<'_, I> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { products: Products { packed, inputs, runs, rows, panels, .. }, outputs } = self;
        let (depth, width, stride) = (packed.depth, packed.width, packed.columns(&panels).len());
        let places: Vec<I::Place> = rows.map(|row| inputs.place(row)).collect();
        let groups = Groups::of(places.len());
        let mut table: Vec<&[f32]> = Vec::new();
        let mut from = 0;
        for stretch in &runs.stretches {
            let segments = &runs.segments[stretch.clone()];
            let length: usize = segments.iter().map(|segment| segment.numbers.len()).sum();
            table.clear();
            for (row, rows) in groups.iter() {
                for segment in segments {
                    let each = places[row..row + rows].iter();
                    table.extend(each.map(|place| &inputs.run(*place, segment.run)[segment.numbers.clone()]));
                }
            }
            for (column, panel) in panels.clone().enumerate() {
                let panel = &packed.panels[(panel * depth + from) * width..][..length * width];
                let place = column * width..((column + 1) * width).min(stride);
                for (row, rows) in groups.iter() {
                    let table = &table[row * segments.len()..(row + rows) * segments.len()];
                    let outputs = &mut outputs[row * stride..(row + rows) * stride];
                    let outputs = outputs.chunks_exact_mut(stride).map(|row| &mut row[place.clone()]);
                    match rows {
                        ROWS => tile::<S, ROWS>(simd, table, panel, outputs),
                        5 => tile::<S, 5>(simd, table, panel, outputs),
                        4 => tile::<S, 4>(simd, table, panel, outputs),
                        3 => tile::<S, 3>(simd, table, panel, outputs),
                        2 => tile::<S, 2>(simd, table, panel, outputs),
                        _ => tile::<S, 1>(simd, table, panel, outputs),
                    }
                }
            }
            from += length;
        }
    }
}

/// Rows, shared out evenly to groups that meet a panel at once.
struct Groups {
    rows: usize,
    groups: usize,
}

impl Groups {
    fn of(rows: usize) -> Self {
        Self { rows, groups: rows.div_ceil(ROWS) }
    }

    /// The first row of each group, and how many it has.
    #[inline(always)]
    fn iter(&self) -> impl Iterator<Item = (usize, usize)> {
        let (least, more) = (self.rows / self.groups, self.rows % self.groups);
        (0..self.groups)
            .map(move |group| (group * least + group.min(more), least + usize::from(group < more)))
    }
}

/// Adds the products of a few rows with a panel to what they have so far. The table has, segment by segment, the numbers of
/// each row.
#[inline(always)]
fn tile<'a, S: Simd, const R: usize>(
    simd: S,
    table: &[&[f32]],
    panel: &[f32],
    outputs: impl Iterator<Item = &'a mut [f32]>,
) {
    let mut sums = [[simd.splat_f32s(0.0); 2]; R];
    let mut weights = S::as_simd_f32s(panel).0.as_chunks::<2>().0;
    for segment in table.as_chunks::<R>().0 {
        let length = segment[0].len();
        let (now, later) = weights.split_at(length);
        weights = later;
        let rows: [&[f32]; R] = std::array::from_fn(|row| &segment[row][..length]);
        for at in 0..length {
            let [left, right] = now[at];
            for (sums, row) in sums.iter_mut().zip(rows) {
                let number = simd.splat_f32s(row[at]);
                sums[0] = simd.mul_add_e_f32s(number, left, sums[0]);
                sums[1] = simd.mul_add_e_f32s(number, right, sums[1]);
            }
        }
    }
    add_sums(simd, outputs, sums);
}

/// Adds each row's sums, two vectors, to what it has so far.
#[inline(always)]
fn add_sums<'a, S: Simd, const R: usize>(
    simd: S,
    rows: impl Iterator<Item = &'a mut [f32]>,
    sums: [[S::f32s; 2]; R],
) {
    for (row, sums) in rows.zip(sums) {
        // What takes parts of vectors is a call, and only the last panel may need it.
        if row.len() == 2 * S::F32_LANES {
            for (so_far, sum) in S::as_mut_simd_f32s(row).0.iter_mut().zip(sums) {
                *so_far = simd.add_f32s(*so_far, sum);
            }
        } else {
            let (left, right) = row.split_at_mut(row.len().min(S::F32_LANES));
            for (part, sum) in [left, right].into_iter().zip(sums) {
                let so_far = simd.partial_load_f32s(part);
                simd.partial_store_f32s(part, simd.add_f32s(so_far, sum));
            }
        }
    }
}
