// Vectors: how alike they are, and where they lie on the plane that shows most of them.

const dot = (a, b) => a.reduce((sum, value, index) => sum + value * b[index], 0);
const length = (a) => Math.sqrt(dot(a, a));

/** Cosines of the angles between all pairs; 0 with a vector of zeros. */
export function similarities(vectors) {
  const lengths = vectors.map(length);
  return vectors.map((a, i) =>
    vectors.map((b, j) => {
      const scale = lengths[i] * lengths[j];
      return scale > 0 ? Math.max(-1, Math.min(1, dot(a, b) / scale)) : 0;
    }),
  );
}

/**
 * Principal component analysis to two dimensions: `{ points, shares }`, where shares are the parts of the variance that each
 * axis shows. Works on the matrix of inner products, which is small where there are fewer vectors than components. An axis
 * points where its largest coordinate is positive, so that equal vectors give equal maps.
 */
export function plane(vectors) {
  const size = vectors.length;
  if (size === 0) return { points: [], shares: [0, 0] };
  const mean = vectors[0].map((_, k) => vectors.reduce((sum, vector) => sum + vector[k], 0) / size);
  const centred = vectors.map((vector) => vector.map((value, k) => value - mean[k]));
  const gram = centred.map((a) => centred.map((b) => dot(a, b)));
  const total = gram.reduce((sum, row, i) => sum + row[i], 0);
  const axes = [];
  const shares = [];
  for (let axis = 0; axis < 2; axis += 1) {
    const { value, vector } = largest(gram, total);
    axes.push(vector.map((part) => part * Math.sqrt(value)));
    shares.push(total > 0 ? value / total : 0);
    for (let i = 0; i < size; i += 1) for (let j = 0; j < size; j += 1) gram[i][j] -= value * vector[i] * vector[j];
  }
  return { points: axes[0].map((x, i) => [x, axes[1][i]]), shares };
}

/** The largest eigenvalue of a symmetric matrix without negative ones, and its vector, by power iteration. */
function largest(matrix, scale) {
  const size = matrix.length;
  const none = { value: 0, vector: new Array(size).fill(0) };
  if (!(scale > 0)) return none;
  // Begun with the longest row, which is never orthogonal to the answer by design, as a fixed vector may be.
  let vector = matrix.reduce((best, row) => (length(row) > length(best) ? row : best));
  let value = 0;
  for (let turn = 0; turn < 500; turn += 1) {
    const norm = length(vector);
    if (norm <= scale * 1e-12) return none;
    vector = vector.map((part) => part / norm);
    const next = matrix.map((row) => dot(row, vector));
    const estimate = dot(next, vector);
    const settled = Math.abs(estimate - value) <= scale * 1e-12;
    value = estimate;
    if (settled && turn > 10) break;
    vector = next;
  }
  if (value <= scale * 1e-9) return none;
  const norm = length(vector);
  vector = vector.map((part) => part / norm);
  const peak = vector.reduce((best, part) => (Math.abs(part) > Math.abs(best) + 1e-9 ? part : best), 0);
  return { value, vector: peak < 0 ? vector.map((part) => -part) : vector };
}
