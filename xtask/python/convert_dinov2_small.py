"""DINOv2-small out of an ONNX file that has it as a backbone, in the layout of Hugging Face checkpoints.

Needs nothing but Python: what it reads of protocol buffers and what it writes of safetensors is a few lines each. The file
holds weights of linear maps turned round, under numbers in the place of names; the nodes that use them have the names.
"""

import argparse
import json
import struct
from array import array
from pathlib import Path

CONFIG = {"architectures": ["Dinov2Model"], "model_type": "dinov2", "hidden_size": 384, "num_hidden_layers": 12,
          "num_attention_heads": 6, "mlp_ratio": 4, "hidden_act": "gelu", "image_size": 518, "patch_size": 14, "num_channels": 3,
          "layer_norm_eps": 1e-06, "qkv_bias": True, "use_swiglu_ffn": False, "use_mask_token": False, "torch_dtype": "float32"}
# That of the published checkpoints of DINOv2.
PROCESSOR = {"image_processor_type": "BitImageProcessor", "do_convert_rgb": True, "do_resize": True, "size": {"shortest_edge": 256},
             "resample": 3, "do_center_crop": True, "crop_size": {"height": 224, "width": 224}, "do_rescale": True,
             "rescale_factor": 0.00392156862745098, "do_normalize": True, "image_mean": [0.485, 0.456, 0.406],
             "image_std": [0.229, 0.224, 0.225]}


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """The fields of a message: numbers and their values, which are numbers or bytes."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = data[at:at + size], at + size
        elif kind == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            raise SystemExit(f"a field of kind {kind} is no part of an ONNX file")
        yield key >> 3, value


def read(path: Path):
    """The tensors by name, as (shape, bytes), and the inputs of each node by its name."""
    (graph,) = [value for field, value in fields(memoryview(path.read_bytes())) if field == 7]
    tensors, nodes = {}, {}
    for field, value in fields(graph):
        if field == 5:
            shape, name, raw, kind = [], None, None, None
            for number, part in fields(value):
                if number == 1 and isinstance(part, int):
                    shape.append(part)
                elif number == 1:
                    at = 0
                    while at < len(part):
                        size, at = varint(part, at)
                        shape.append(size)
                elif number == 2:
                    kind = part
                elif number == 8:
                    name = bytes(part).decode()
                elif number == 9:
                    raw = part
            if kind == 1 and raw is not None:
                tensors[name] = (shape, bytes(raw))
        elif field == 1:
            inputs, name = [], ""
            for number, part in fields(value):
                if number == 1:
                    inputs.append(bytes(part).decode())
                elif number == 3:
                    name = bytes(part).decode()
            nodes[name] = inputs
    return tensors, nodes


def turned(shape, raw):
    """The transposed matrix."""
    rows, columns = shape
    numbers = array("f", raw)
    return [columns, rows], b"".join(numbers[column::columns].tobytes() for column in range(columns))


def checkpoint(tensors, nodes) -> dict:
    names = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items() if name.startswith("backbone.")}
    for node, inputs in nodes.items():
        if node.startswith("/backbone/encoder/") and node.endswith("/MatMul") and inputs[-1] in tensors:
            name = node.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            names[f"{name}.weight"] = turned(*tensors[inputs[-1]])
    # The class token's position, and those of the patches, before they are interpolated.
    (_, first), (shape, rest) = (tensors[nodes["/backbone/embeddings/Concat_6"][0]], tensors[nodes["/backbone/embeddings/Reshape_1"][0]])
    names["embeddings.position_embeddings"] = ([1, shape[1] + 1, shape[2]], first + rest)
    return names


def write(path: Path, names: dict) -> None:
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (shape, raw) in sorted(names.items()):
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + len(raw)]}
        at += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, (_, raw) in sorted(names.items()):
            file.write(raw)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    write(arguments.folder / "model.safetensors", checkpoint(*read(arguments.onnx)))
    for name, content in [("config.json", CONFIG), ("preprocessor_config.json", PROCESSOR)]:
        (arguments.folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
