"""Files of safetensors, transformers and PEFT to read, and a check of the files that this project wrote.

    python formats.py make FOLDER     headers to judge come as JSON on stdin
    python formats.py check FOLDER    what `make` made must be there
"""

import json
import struct
import sys
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from safetensors import SafetensorError, deserialize
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

command, folder = sys.argv[1], Path(sys.argv[2])

ADAPTERS = {
    "default": {"r": 4, "lora_alpha": 12, "lora_dropout": 0.05},
    "list": {"r": 3, "target_modules": ["o_proj", "q_proj", "layers.1.mlp.up_proj"], "use_rslora": True},
    "regex": {"r": 2, "target_modules": r"model\.layers\.[02]\..*(gate|down)_proj"},
    "all-linear": {"r": 1, "target_modules": "all-linear", "revision": "main"},
}

DTYPES = "bool uint8 int8 float8_e5m2 float8_e4m3fn int16 float16 bfloat16 int32 float32 complex64 float64 int64".split()


def base():
    return AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)


def is_accepted(case):
    header = case["header"].encode("utf-8", "surrogatepass")
    try:
        deserialize(struct.pack("<Q", len(header)) + header + bytes(case["bytes"]))
        return True
    except SafetensorError:
        return False


def make():
    torch.manual_seed(0)
    tensors = {}
    for dtype in DTYPES:
        values = torch.randint(0, 2, (24,)).to(torch.uint8).repeat_interleave(16)
        tensors[f"z.{dtype}"] = values.view(getattr(torch, dtype)).reshape(2, 3, -1)
        tensors[f"ä.{dtype}"] = torch.zeros((), dtype=getattr(torch, dtype))
    tensors["empty"] = torch.zeros(0, 5)
    save_file(tensors, folder / "dtypes.safetensors", {"format": "pt"})

    halves = torch.arange(65536, dtype=torch.int32).to(torch.int16)
    floats = torch.randint(-(2**31), 2**31, (1 << 18,)).to(torch.int32).view(torch.float32)
    floats = torch.cat([floats[torch.isfinite(floats)], torch.randn(1 << 16) * 1e-6, torch.randn(1 << 16) * 1e5])
    save_file(
        {
            "widened.F16": halves.view(torch.float16).float(),
            "widened.BF16": halves.view(torch.bfloat16).float(),
            "floats": floats,
            "narrowed.F16": floats.half(),
            "narrowed.BF16": floats.bfloat16(),
        },
        folder / "floats.safetensors",
    )

    config = LlamaConfig(hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=4,
                         num_key_value_heads=2, vocab_size=40)
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder / "base", max_shard_size="8KB")
    for name, options in ADAPTERS.items():
        lora = get_peft_model(base(), LoraConfig(task_type="CAUSAL_LM", base_model_name_or_path="org/base", **options))
        for parameter in lora.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter)
        lora.peft_config["default"].base_model_name_or_path = "org/base"
        lora.save_pretrained(folder / f"peft-{name}")

    answer = {
        "defaults": TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING,
        "adapters": {name: options.get("target_modules") for name, options in ADAPTERS.items()},
        "accepted": [is_accepted(case) for case in json.load(sys.stdin)],
    }
    json.dump(answer, sys.stdout)


def check():
    warnings.simplefilter("error", UserWarning)  # PEFT warns of missing adapter keys
    ids = torch.arange(30).reshape(2, 15)
    for name in ADAPTERS:
        logits = [PeftModel.from_pretrained(base(), folder / f"{who}-{name}").eval()(ids).logits for who in ("peft", "ours")]
        assert torch.equal(*logits), name
        assert not torch.allclose(logits[0], base()(ids).logits), name

    (folder / "ours-base" / "config.json").write_text((folder / "base" / "config.json").read_text())
    ours, info = AutoModelForCausalLM.from_pretrained(folder / "ours-base", dtype=torch.float32, output_loading_info=True)
    assert not any(info.values()), info
    theirs = base().state_dict()
    assert ours.state_dict().keys() == theirs.keys()
    for key, value in ours.state_dict().items():
        assert torch.equal(value, theirs[key]), key


{"make": make, "check": check}[command]()
