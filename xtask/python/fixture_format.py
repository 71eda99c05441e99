"""How fixtures are written: JSON whose numbers are the shortest decimals that read back as the same f32."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np

PACKAGES = ["sentence-transformers", "transformers", "torch", "numpy", "tokenizers", "model2vec"]


def versions(packages=PACKAGES) -> dict:
    """The packages that a fixture was made with; it is their output that Candlepool is held to."""
    return {name: version(name) for name in packages}


def numbers(values) -> list:
    """An array of f32 as nested lists of the shortest decimals."""
    values = np.asarray(values, np.float32)
    if values.ndim == 0:
        return float(str(values))
    return [numbers(row) for row in values]


def rounded(value: float) -> float:
    """Two digits, for a measured noise."""
    return float(f"{value:.2g}")


def dump(value, indent: int = 0) -> str:
    """JSON with one line for each innermost list and each record of scalars, so that differences can be read."""
    if isinstance(value, dict) and indent > 1 and not any(isinstance(item, (list, dict)) for item in value.values()):
        return json.dumps(value, ensure_ascii=True)
    pad = "  " * (indent + 1)
    end = "  " * indent
    if isinstance(value, dict) and value:
        rows = [f"{pad}{json.dumps(key)}: {dump(item, indent + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{end}}}"
    if isinstance(value, list) and any(isinstance(item, (list, dict)) for item in value):
        return "[\n" + ",\n".join(pad + dump(item, indent + 1) for item in value) + f"\n{end}]"
    return json.dumps(value, ensure_ascii=True)


def write(path: Path, value) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dump(value) + "\n", encoding="utf-8")


def worst_relative(reference: np.ndarray, other: np.ndarray) -> float:
    """The norm of the difference over the norm of the reference, the worst row's."""
    reference = np.atleast_2d(np.asarray(reference, np.float64))
    difference = np.linalg.norm(reference - other, axis=-1)
    return float(np.max(difference / np.maximum(np.linalg.norm(reference, axis=-1), 1e-30)))
