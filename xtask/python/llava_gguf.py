"""One LLaVA model as llama.cpp keeps it: the language model in one GGUF file, the tower and the projector in another.

Names and metadata are those of llama.cpp's converters: `convert_hf_to_gguf.py` for the language model, and
`tools/mtmd/legacy-models/convert_image_encoder_to_gguf.py` for what it calls mmproj. The latter leaves out the layers behind
the last one used, and has called the two halves of the feed-forward part by each other's names all along.
"""

import json
from pathlib import Path

import gguf
import numpy as np

NORMAL, CONTROL, UNUSED = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL, gguf.TokenType.UNUSED
ARCHITECTURE = "clip"

TOWER = [("embeddings.class_embedding", "class_embd"), ("embeddings.patch_embedding", "patch_embd"),
         ("embeddings.position_embedding", "position_embd"), ("pre_layrnorm", "pre_ln"), ("encoder.layers", "blk"),
         ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
         ("self_attn.out_proj", "attn_out"), ("layer_norm1", "ln1"), ("layer_norm2", "ln2")]
LANGUAGE = [("embed_tokens", "token_embd"), ("layers", "blk"), ("input_layernorm", "attn_norm"),
            ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
            ("self_attn.o_proj", "attn_output"), ("post_attention_layernorm", "ffn_norm"), ("mlp.gate_proj", "ffn_gate"),
            ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down")]


def renamed(name: str, names: list) -> str:
    for old, new in names:
        name = name.replace(old, new)
    return name


def add(writer, name: str, tensor) -> None:
    """Matrices and convolutions in f16, vectors in f32."""
    values = tensor.detach().float().numpy()
    writer.add_tensor(name, values.astype(np.float16 if values.ndim > 1 else np.float32))


def finish(writer) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_tower(path: Path, model, images, legacy: bool) -> None:
    """`legacy`: as older converters did, without the layers to take and with the feed-forward halves' names exchanged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    config, vision = model.config, model.config.vision_config
    layers = config.vision_feature_layer
    layers = [layers] if isinstance(layers, int) else layers
    layers = [layer if layer >= 0 else vision.num_hidden_layers + layer + 1 for layer in layers]
    blocks = max(layers)
    writer = gguf.GGUFWriter(path, ARCHITECTURE)
    writer.add_bool("clip.has_text_encoder", False)
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_bool("clip.has_llava_projector", True)
    writer.add_file_type(1)
    writer.add_name("tiny")
    writer.add_description("image encoder for LLaVA")
    writer.add_string("clip.projector_type", "mlp")
    writer.add_uint32("clip.vision.image_size", vision.image_size)
    writer.add_uint32("clip.vision.patch_size", vision.patch_size)
    writer.add_uint32("clip.vision.embedding_length", vision.hidden_size)
    writer.add_uint32("clip.vision.feed_forward_length", vision.intermediate_size)
    writer.add_uint32("clip.vision.projection_dim", vision.projection_dim)
    writer.add_uint32("clip.vision.attention.head_count", vision.num_attention_heads)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", vision.layer_norm_eps)
    writer.add_uint32("clip.vision.block_count", blocks)
    if config.model_type == "llava_next":
        writer.add_array("clip.vision.image_grid_pinpoints", [side for pinpoint in config.image_grid_pinpoints for side in pinpoint])
        writer.add_uint32("clip.vision.image_crop_resolution", vision.image_size)
        writer.add_string("clip.vision.image_aspect_ratio", "anyres")
        writer.add_uint32("clip.vision.image_split_resolution", vision.image_size)
        writer.add_string("clip.vision.mm_patch_merge_type", "spatial_unpad")
        writer.add_string("clip.vision.mm_projector_type", "mlp2x_gelu")
    if not legacy:
        writer.add_array("clip.vision.feature_layer", layers)
    writer.add_array("clip.vision.image_mean", [float(value) for value in images.image_mean])
    writer.add_array("clip.vision.image_std", [float(value) for value in images.image_std])
    writer.add_bool("clip.use_gelu", vision.hidden_act == "gelu")
    halves = [("mlp.fc1", "ffn_down"), ("mlp.fc2", "ffn_up")] if legacy else [("mlp.fc1", "ffn_up"), ("mlp.fc2", "ffn_down")]
    if config.model_type == "llava_next":
        add(writer, "model.image_newline", model.model.image_newline)
    for name, tensor in model.model.multi_modal_projector.state_dict().items():
        add(writer, "mm." + name.replace("linear_1", "0").replace("linear_2", "2"), tensor)
    dropped = [f"encoder.layers.{layer}." for layer in range(blocks, vision.num_hidden_layers)] + ["post_layernorm."]
    for name, tensor in model.model.vision_tower.state_dict().items():
        name = name.removeprefix("vision_model.")
        if not name.startswith(tuple(dropped)):
            add(writer, "v." + renamed(name, TOWER + halves), tensor)
    finish(writer)


def permuted(weight, heads: int):
    """Rows of queries and keys in the order in which neighbours are rotated."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def write_language_model(path: Path, model, tokenizer, template: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    config = model.config.text_config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_file_type(1)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_dimension_count(config.head_dim)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = set(tokenizer.all_special_tokens)
    padding = [f"[PAD{token}]" for token in range(len(tokens), config.vocab_size)]
    merges = [" ".join(pair) for pair in json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens + padding)
    writer.add_token_types([CONTROL if token in special else NORMAL for token in tokens] + [UNUSED] * len(padding))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_pad_token_id(config.pad_token_id)
    writer.add_add_bos_token(True)
    writer.add_chat_template(template)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    add(writer, "output.weight", model.lm_head.weight)
    for name, tensor in model.model.language_model.state_dict().items():
        projection = next((heads[part] for part in heads if part in name), None)
        if projection is not None:
            tensor = permuted(tensor, projection)
        add(writer, "output_norm.weight" if name == "norm.weight" else renamed(name, LANGUAGE), tensor)
    finish(writer)

