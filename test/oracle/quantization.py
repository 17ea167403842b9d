"""Weights as bitsandbytes quantises them, and folders as transformers saves and loads them.

    python quantization.py quantize FOLDER    tensors, their codes and statistics: quantized.safetensors
    python quantization.py make FOLDER        models, and the same in 4 bits
    python quantization.py check FOLDER       what `make` made and our folders `<model>-ours` must be there
"""

import json
import math
import sys
from pathlib import Path

import bitsandbytes.functional as bnb
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

f32 = np.float32
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
# The comparisons of dQuantizeNF4 in bitsandbytes' csrc/kernels.cu; the last is one unit below the middle of its codes.
BOUNDS = np.array(
    [-0.8480964004993439, -0.6106329262256622, -0.4599952697753906, -0.33967943489551544, -0.23460740596055984,
     -0.13791173323988914, -0.045525018125772476, 0.03979014977812767, 0.1202552504837513, 0.2035212516784668,
     0.2920137718319893, 0.3893125355243683, 0.5016634166240692, 0.6427869200706482, 0.8614784178118011], f32)


def tensors():
    g = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=g) * 0.02
    outlier = normal(64, 100)
    outlier[3, 7] = 40
    made = {
        "normal": normal(96, 576),
        "odd": normal(33, 77),
        "one": normal(1, 1),
        "constant": torch.full((20, 64), 0.0371),
        "zero": torch.zeros(8, 100),
        "some zero blocks": normal(16, 128) * (torch.arange(16) % 3 > 0)[:, None],
        "tiny": normal(40, 80) * 1e-5,
        "huge": normal(40, 80).clamp(-0.04, 0.04) * 1e6,
        "outlier": outlier,
        "codes themselves": bnb.get_4bit_type("nf4", "cpu")[torch.randint(16, (64, 64), generator=g)] * 0.25,
    }
    result = {f"{name}|{dtype}": value.to(DTYPES[dtype]) for name, value in made.items() for dtype in DTYPES}
    result["tiny beyond halves|f32"] = normal(40, 80) * 1e-34
    result["huge beyond halves|f32"] = normal(40, 80) * 1e36
    result["extreme|f32"] = normal(40, 80) * 4e39
    result["extreme|f32"].clamp_(-3.4e38, 3.4e38)
    return result


def flush(x):
    return np.where(np.abs(x) < f32(2.0**-126), f32(0), x)


def maxima(x, size):
    padded = np.concatenate([x, np.zeros(-len(x) % size, f32)])
    return np.abs(padded).reshape(-1, size).max(1)


def scaled(x, absmax, size):
    with np.errstate(all="ignore"):
        return x * np.repeat(f32(1) / absmax, size)[: len(x)]


def nf4(values, size):
    """The rule of the CUDA kernels."""
    x = flush(values.float().flatten().numpy())
    absmax = maxima(x, size)
    if len(x) % 2:
        x = np.append(x, f32(0))
    ratio = scaled(x, absmax, size) if len(x) <= len(absmax) * size else np.append(scaled(x[:-1], absmax, size), f32(0))
    codes = (ratio[:, None] > BOUNDS).sum(1).astype(np.uint8)
    return codes[::2] << 4 | codes[1::2], absmax, ratio


def nearest(code, x):
    """dQuantize of csrc/kernels.cu."""
    pivot, upper, lower = np.full(len(x), 127), np.full(len(x), 255), np.zeros(len(x), int)
    for step in (64, 32, 16, 8, 4, 2, 1):
        up = x > code[pivot]
        lower, upper = np.where(up, pivot, lower), np.where(up, upper, pivot)
        pivot = pivot + np.where(up, step, -step)
    here = code[pivot]
    above = np.where(x > (code[upper] + here) * f32(0.5), upper, pivot)
    below = np.where(x < (code[lower] + here) * f32(0.5), lower, pivot)
    return np.where(x > here, above, below).astype(np.uint8)


def nested(absmax):
    mean = f32(math.fsum(absmax.tolist()) / len(absmax))
    difference = flush(absmax - mean)
    scales = maxima(difference, 256)
    codes = nearest(bnb.create_dynamic_map().numpy(), scaled(difference, scales, 256))
    return codes, scales, mean


def ulps(a, b):
    return abs(int(f32(a).view(np.int32)) - int(f32(b).view(np.int32)))


def quantize(folder):
    arrays, report = {"map": bnb.create_dynamic_map(), "nf4": bnb.get_4bit_type("nf4", "cpu")}, {}
    for name, values in tensors().items():
        arrays[f"{name}|values"] = values
        for size in (64, 32, 256, 4096):
            key = f"{name}|{size}"
            packed, absmax, ratio = nf4(values, size)
            theirs, state = bnb.quantize_4bit(values, blocksize=size, quant_type="nf4", compress_statistics=False)
            theirs = theirs.flatten().numpy()
            # Where the CPU code differs, the number lies within a unit of a bound, in a block of zeros, or at the end.
            near = (np.abs(ratio[:, None] - BOUNDS) <= np.spacing(np.abs(BOUNDS))).any(1) | ~np.isfinite(ratio)
            explained = near[::2] | near[1::2]
            differs = theirs != packed
            codes, scales, mean = nested(absmax)
            double = bnb.quantize_4bit(values, blocksize=size, quant_type="nf4", compress_statistics=True)[1]
            x = scaled(flush(absmax - mean), scales, 256)
            error = lambda chosen: np.nan_to_num(np.abs(bnb.create_dynamic_map().numpy()[chosen].astype(float) - x))
            equal_mean = f32(double.offset.item()) == mean
            report[key] = {
                "codes": int(differs.sum()),
                "unexplained": int((differs & ~explained).sum()),
                "absmax": bool((state.absmax.numpy() == absmax).all()),
                "ulps": ulps(double.offset.item(), mean),
                # Their CPU code looks codes up in a table of 65536 numbers, so it misses the nearest where two are as near.
                "nested": [int((double.absmax.numpy() != codes).sum()), len(codes)] if equal_mean else None,
                "nearer": int((error(double.absmax.numpy()) < error(codes)).sum()) if equal_mean else None,
                "scales": bool((double.state2.absmax.numpy() == scales).all()) if equal_mean else None,
            }
            arrays |= {f"{key}|codes": torch.from_numpy(packed), f"{key}|absmax": torch.from_numpy(absmax),
                       f"{key}|nested codes": torch.from_numpy(codes), f"{key}|nested absmax": torch.from_numpy(scales),
                       f"{key}|offset": torch.tensor([float(mean)])}
        codes, absmax, _ = torch.ops.bitsandbytes.int8_vectorwise_quant(values.clone(), 0.0)
        arrays |= {f"{name}|int8": codes, f"{name}|int8 absmax": absmax.float()}
    save_file({key: value.contiguous() for key, value in arrays.items()}, folder / "quantized.safetensors")
    return report


# Multiples of 64: the CPU code of bitsandbytes computes rows of other lengths wrongly.
SIZES = dict(vocab_size=101, hidden_size=192, intermediate_size=320, num_hidden_layers=2, num_attention_heads=6,
             num_key_value_heads=2, max_position_embeddings=64)


def make(folder):
    torch.manual_seed(0)
    for kind, dtype, double in (("llama", torch.bfloat16, True), ("qwen2", torch.float16, False)):
        made = (LlamaForCausalLM(LlamaConfig(**SIZES)) if kind == "llama"
                else Qwen2ForCausalLM(Qwen2Config(**SIZES, tie_word_embeddings=True)))
        for value in made.parameters():
            torch.nn.init.normal_(value, std=0.3)
        made.to(dtype).save_pretrained(folder / kind)
        for storage in ("uint8", "bfloat16"):
            config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=double,
                                        bnb_4bit_quant_storage=storage)
            loaded = AutoModelForCausalLM.from_pretrained(folder / kind, quantization_config=config, dtype=dtype)
            loaded.save_pretrained(folder / f"{kind}-{storage}")


def by_hand(tensors, name):
    """A weight from its serialised form, in float32."""
    state = json.loads(bytes(tensors[f"{name}.quant_state.bitsandbytes__nf4"].tolist()))
    absmax = tensors[f"{name}.absmax"]
    if absmax.dtype == torch.uint8:
        scales = tensors[f"{name}.nested_absmax"].repeat_interleave(256)[: len(absmax)]
        absmax = tensors[f"{name}.nested_quant_map"][absmax.int()] * scales + f32(state["nested_offset"])
    codes = tensors[name].view(torch.uint8).flatten()
    codes = torch.stack([codes >> 4, codes & 15], 1).flatten()
    count = math.prod(state["shape"])
    values = tensors[f"{name}.quant_map"][codes.int()][:count]
    return (values * absmax.repeat_interleave(state["blocksize"])[:count]).reshape(state["shape"])


def check(folder):
    """Logits of our folder as transformers loads it, and of its weights dequantised by hand; what differs from theirs."""
    result = {}
    ids = torch.arange(24)[None] * 7 % 101
    for kind in ("llama", "qwen2"):
        ours, theirs = (load_file(folder / name / "model.safetensors") for name in (f"{kind}-ours", f"{kind}-uint8"))
        different = [key for key in ours.keys() | theirs.keys() if key not in ours or key not in theirs
                     or ours[key].dtype != theirs[key].dtype or not torch.equal(ours[key], theirs[key])]
        loaded = AutoModelForCausalLM.from_pretrained(folder / f"{kind}-ours")
        linear = loaded.model.layers[0].self_attn.q_proj
        plain = AutoModelForCausalLM.from_pretrained(folder / kind, dtype=torch.float32)
        weights = dict(plain.named_parameters())
        with torch.no_grad():
            for key in ours:
                if key.endswith("bitsandbytes__nf4"):
                    name = key.split(".quant_state")[0]
                    weights[name].copy_(by_hand(ours, name))
            by_weights = plain(ids).logits
            by_theirs = AutoModelForCausalLM.from_pretrained(folder / f"{kind}-uint8")(ids).logits.float()
            got = loaded(ids).logits.float()
        result[kind] = {
            "different": sorted(different),
            "total": len(theirs),
            "linear": type(linear).__name__,
            "head": type(loaded.lm_head).__name__,
            "by_theirs": ((got - by_theirs).norm() / by_theirs.norm()).item(),
            "by_weights": ((got - by_weights).norm() / by_weights.norm()).item(),
        }
        for name in (f"{kind}-uint8", f"{kind}-bfloat16"):
            tensors = load_file(folder / name / "model.safetensors")
            keys = [key.split(".quant_state")[0] for key in tensors if key.endswith("bitsandbytes__nf4")]
            save_file({key: by_hand(tensors, key) for key in keys}, folder / f"{name}.dequantized.safetensors")
    return result


command, folder = sys.argv[1], Path(sys.argv[2])
print(json.dumps({"quantize": quantize, "make": make, "check": check}[command](folder)))
