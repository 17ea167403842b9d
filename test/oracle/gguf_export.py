"""Reads GGUF files of this project with llama.cpp's own reader and with transformers.

    python gguf_export.py FOLDER

FOLDER/cases.json lists folders of models and what was written from them. Exits with the first thing that is not as it should be; what
was compared goes to stdout as JSON: the largest relative differences by what they are of.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFReader
from gguf.quants import dequantize, quantize
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

folder = Path(sys.argv[1])
TYPES = {name: GGMLQuantizationType[name.upper()] for name in ("f32", "f16", "bf16", "q8_0")}
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TEXTS = [
    "Hello world, it's 1234567 o'clock!",
    "  two  spaces\n\nand\ttabs ",
    "Grüße aus Zürich, 日本語 🙂 ünïcödé",
    "def f(x):\n    return x ** 2  # comment",
    "",
    " ",
]
answer = {}


def note(what, value):
    answer[what] = max(answer.get(what, 0.0), float(value))


def name_of(tensor):
    module, kind = tensor.rsplit(".", 1)
    if module.startswith("model.layers."):
        layer, inner = module.removeprefix("model.layers.").split(".", 1)
        return f"blk.{layer}.{NAMES[inner]}.{kind}"
    return f"{NAMES[module]}.{kind}"


def permute(weights, heads):
    """As llama.cpp's converter does to queries and keys of Llama."""
    return (
        weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)
    )


def expected(name, value, config):
    if config.model_type == "llama" and "self_attn.q_proj" in name:
        return permute(value, config.num_attention_heads)
    if config.model_type == "llama" and "self_attn.k_proj" in name:
        return permute(value, config.num_key_value_heads)
    return value


def field(reader, key):
    return reader.fields[key].contents()


def check_model(case):
    reader = GGUFReader(case["gguf"])
    config = AutoConfig.from_pretrained(case["model"])
    architecture = field(reader, "general.architecture")
    assert architecture == config.model_type and field(reader, "general.type") == "model"
    assert field(reader, "general.file_type") == {"f32": 0, "f16": 1, "q8_0": 7, "bf16": 32}[case["type"]]
    sizes = {
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
    }
    for key, value in sizes.items():
        assert field(reader, f"{architecture}.{key}") == value, key
    weights = load_file(Path(case["model"]) / "model.safetensors")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    scaled = config.rope_parameters["rope_type"] == "llama3"
    assert tensors.keys() == {name_of(name) for name in weights} | ({"rope_freqs.weight"} if scaled else set())
    for name, value in weights.items():
        if case.get("adapter"):
            break
        want = expected(name, value.float().numpy(), config)
        kind = TYPES["f32"] if want.ndim == 1 else TYPES[case["type"]]
        if kind == TYPES["q8_0"] and want.shape[-1] % 32 != 0:
            kind = TYPES["f16"]
        tensor = tensors[name_of(name)]
        assert tensor.tensor_type == kind, (name, tensor.tensor_type)
        assert list(tensor.shape) == list(want.shape[::-1]), name
        bytes_of = quantize(want, kind)
        assert np.array_equal(tensor.data.view(np.uint8).ravel(), bytes_of.view(np.uint8).ravel()), name
        assert tensor.data_offset % 32 == 0
        assert dequantize(tensor.data, kind).shape == want.shape
    if scaled:
        inverse, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
        head = config.head_dim or config.hidden_size // config.num_attention_heads
        plain = 1 / config.rope_parameters["rope_theta"] ** (torch.arange(0, head, 2).float() / head)
        note("rope factors", (torch.tensor(tensors["rope_freqs.weight"].data) * inverse / plain - 1).abs().max())
        return
    # transformers does not know from a file that a Llama has biases.
    if getattr(config, "attention_bias", False):
        return
    ids = torch.arange(40).reshape(2, 20) % config.vocab_size
    model = AutoModelForCausalLM.from_pretrained(case["model"], dtype=torch.float32)
    if case.get("adapter"):
        model = PeftModel.from_pretrained(model, case["adapter"])
    gguf = Path(case["gguf"])
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    with torch.no_grad():
        want, got = model.eval()(ids).logits, loaded.eval()(ids).logits
    note(f"logits, {case['type']}", (got - want).abs().max() / want.abs().max())


def check_tokenizer(case):
    gguf = Path(case["gguf"])
    reader = GGUFReader(gguf)
    want = AutoTokenizer.from_pretrained(case["model"])
    assert field(reader, "tokenizer.ggml.model") == case["kind"]
    assert field(reader, "tokenizer.ggml.pre") == case["pre"]
    tokens = field(reader, "tokenizer.ggml.tokens")
    types = field(reader, "tokenizer.ggml.token_type")
    config = AutoConfig.from_pretrained(case["model"])
    assert len(tokens) == len(types) == config.vocab_size
    for token, index in want.get_vocab().items():
        assert tokens[index] == token, (token, tokens[index])
    for index in set(range(config.vocab_size)) - set(want.get_vocab().values()):
        assert types[index] == 5 and tokens[index] == f"[PAD{index}]"
    for index in want.all_special_ids:
        assert types[index] == (2 if case["kind"] == "llama" and index == want.unk_token_id else 3), index
    for key, index in (("bos", want.bos_token_id), ("eos", want.eos_token_id), ("padding", want.pad_token_id)):
        stored = reader.fields.get(f"tokenizer.ggml.{key}_token_id")
        assert index is None or stored.contents() == index, key
    framed = want("a").input_ids
    assert field(reader, "tokenizer.ggml.add_bos_token") == (len(framed) > 1 and framed[0] == want.bos_token_id)
    if want.chat_template:
        assert field(reader, "tokenizer.chat_template") == want.chat_template
    if not case["same"]:
        return
    got = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    for text in TEXTS:
        ours = got(text, add_special_tokens=False).input_ids
        assert ours == want(text, add_special_tokens=False).input_ids, (case["model"], text, ours)


def check_adapter(case):
    """The base's tensor and the adapter's make the tensor of the merged model, as llama.cpp adds them up."""
    reader, base, merged = (GGUFReader(case[key]) for key in ("gguf", "base", "merged"))
    assert field(reader, "general.type") == "adapter" and field(reader, "adapter.type") == "lora"
    alpha = field(reader, "adapter.lora.alpha")
    pairs = {tensor.name: tensor.data for tensor in reader.tensors}
    base_tensors = {tensor.name: tensor.data for tensor in base.tensors}
    names = {name.rsplit(".", 1)[0] for name in pairs}
    assert pairs.keys() == {f"{name}.{side}" for name in names for side in ("lora_a", "lora_b")}
    assert names <= base_tensors.keys() and len(names) == case["layers"]
    for tensor in merged.tensors:
        want = base_tensors[tensor.name].astype(np.float64)
        if tensor.name in names:
            a, b = (pairs[f"{tensor.name}.{side}"].astype(np.float64) for side in ("lora_a", "lora_b"))
            want = want + alpha / a.shape[0] * (b @ a)
            assert not np.allclose(want, base_tensors[tensor.name]), tensor.name
        note("adapter", np.abs(tensor.data - want).max() / np.abs(want).max())


CHECKS = {"model": check_model, "tokenizer": check_tokenizer, "adapter": check_adapter}
for one in json.loads((folder / "cases.json").read_text()):
    CHECKS[one["check"]](one)
json.dump(answer, sys.stdout)
