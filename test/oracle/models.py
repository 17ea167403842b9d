"""Random small models, what transformers computes with them, and what autograd differentiates.

    python models.py FOLDER

Makes in FOLDER a model folder for each entry of MODELS, with `adapter/` where its gradients are those of an adapter, and
`expected.safetensors`: `logits` [rows, longest, vocabulary], `losses` of each trained token, `gradient.<name>`. The rows are
in `rows.json`. What to test with each model goes to stdout as JSON. All arithmetic is float32, whatever a model is stored in.
"""

import json
import sys
import warnings
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

warnings.simplefilter("error", UserWarning)
folder = Path(sys.argv[1])

LENGTHS = [3, 21, 40, 64]
LONGEST = max(LENGTHS)
VOCABULARY = 151
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 100,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
BIASES = {"attention_bias": True, "mlp_bias": True}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
YARN = {"factor": 4.0, "original_max_position_embeddings": 32}
WINDOWS = {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}

# name: what the config has beside SIZES. Keys that begin with `_` say how the folder is written:
# `_dtype` of the stored weights, `_sharded`, `_rope` as the older generation of configs has it in place of `rope_parameters`
# (they lack `layer_types` and a plain `head_dim` too), `_gradients` of "full" or of a LoRA config.
MODELS = {
    "llama": {"_gradients": "full"},
    "llama-biases-head_dim-tied": {**BIASES, "head_dim": 20, "tie_word_embeddings": True, "_gradients": "full"},
    "llama-wide-head_dim-float16": {
        "head_dim": 32,
        "num_attention_heads": 4,
        "_dtype": "float16",
        "_gradients": {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"},
    },
    "llama-theta-old-bfloat16-sharded": {"_rope": {"rope_theta": 500.0}, "_dtype": "bfloat16", "_sharded": True},
    "llama-default-gelu": {
        "hidden_act": "gelu_pytorch_tanh",
        "rope_parameters": {"rope_type": "default", "rope_theta": 700.0},
    },
    "llama-linear": {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 3.0}},
    "llama-linear-old": {"_rope": {"rope_theta": 2e4, "rope_scaling": {"type": "linear", "factor": 3.0}}},
    "llama-dynamic": {
        "max_position_embeddings": 24,
        "rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0},
    },
    "llama-dynamic-old": {
        "max_position_embeddings": 24,
        "_rope": {"rope_theta": 1e4, "rope_scaling": {"type": "dynamic", "factor": 2.0}},
    },
    "llama-llama3-bfloat16": {
        "rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, **LLAMA3},
        "_dtype": "bfloat16",
        "_gradients": {"r": 3, "lora_alpha": 6, "use_rslora": True, "target_modules": ["v_proj", "o_proj", "gate_proj"]},
    },
    "llama-llama3-old": {"_rope": {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **LLAMA3}}},
    "llama-yarn": {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, **YARN}},
    "llama-yarn-old": {"_rope": {"rope_theta": 1e4, "rope_scaling": {"type": "yarn", **YARN, "attention_factor": 1.3}}},
    "llama-yarn-betas": {
        "rope_parameters": {
            "rope_type": "yarn",
            "rope_theta": 1e4,
            **YARN,
            "beta_fast": 4.0,
            "beta_slow": 0.5,
            "mscale": 1.4,
            "mscale_all_dim": 0.7,
            "truncate": False,
        }
    },
    "qwen2": {"_gradients": {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}},
    "qwen2-tied-windows": {**WINDOWS, "tie_word_embeddings": True, "_gradients": "full"},
    "qwen2-windows-old-bfloat16-sharded": {
        **WINDOWS,
        "sliding_window": 16,
        "max_window_layers": 2,
        "_rope": {"rope_theta": 1e6, "rope_scaling": {"type": "yarn", **YARN}},
        "_dtype": "bfloat16",
        "_sharded": True,
    },
    "qwen2-window-off-float16": {"sliding_window": 9, "use_sliding_window": False, "_dtype": "float16"},
}


def make_model(name, given):
    """Writes a model folder. Every weight is random, biases and norms too."""
    config_class, model_class = (
        (Qwen2Config, Qwen2ForCausalLM) if name.startswith("qwen2") else (LlamaConfig, LlamaForCausalLM)
    )
    fields = {key: value for key, value in given.items() if not key.startswith("_")}
    model = model_class(config_class(**{**SIZES, **fields}))
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if "norm" in key:
                weight.uniform_(0.7, 1.3)
            else:
                weight.normal_(std=0.25 if "embed" in key else 0.12)
    size = "60KB" if given.get("_sharded") else "1GB"
    model.to(getattr(torch, given.get("_dtype", "float32"))).save_pretrained(folder / name, max_shard_size=size)
    assert (folder / name / "model.safetensors.index.json").exists() == bool(given.get("_sharded"))
    if "_rope" in given:
        path = folder / name / "config.json"
        config = json.loads(path.read_text())
        for key in ("rope_parameters", "layer_types", "head_dim" if "head_dim" not in given else ""):
            config.pop(key, None)
        path.write_text(json.dumps({**config, **given["_rope"]}))


def make_rows():
    def row(length):
        ids = torch.randint(VOCABULARY, (length,))
        trained = (torch.rand(length) < 0.6) & (torch.arange(length) >= length // 4)
        return {"input_ids": ids.tolist(), "labels": torch.where(trained, ids, -100).tolist()}

    return [row(length) for length in LENGTHS]


def compute(name, given, rows):
    """Logits and losses of the stored model, and the gradients of the mean loss that are asked for."""
    model = AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32)
    gradients = given.get("_gradients")
    adapter = folder / name / "adapter"
    if isinstance(gradients, dict):
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **gradients))
        for key, weight in model.named_parameters():
            if "lora_B" in key:
                torch.nn.init.normal_(weight, std=0.1)
        model.save_pretrained(adapter)

    padded = lambda key, padding: torch.tensor([row[key] + [padding] * (LONGEST - len(row[key])) for row in rows])
    ids, labels = padded("input_ids", 0), padded("labels", -100)
    mask = torch.tensor([[t < length for t in range(LONGEST)] for length in LENGTHS]).long()
    logits = model(input_ids=ids, attention_mask=mask).logits
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="none"
    )[labels[:, 1:].flatten() != -100]
    found = {"logits": logits.detach().contiguous(), "losses": losses.detach()}
    if gradients:
        losses.mean().backward()
        for key, weight in model.named_parameters():
            if weight.grad is not None:
                found[f"gradient.{key.replace('.default', '')}"] = weight.grad.contiguous()
    save_file(found, folder / name / "expected.safetensors")
    mode = "none" if gradients is None else "full" if gradients == "full" else "lora"
    return {"name": name, "mode": mode, "dtype": given.get("_dtype", "float32")}


torch.manual_seed(0)
rows = make_rows()
(folder / "rows.json").write_text(json.dumps(rows))
answers = []
for name, given in MODELS.items():
    make_model(name, given)
    answers.append(compute(name, given, rows))
json.dump(answers, sys.stdout)
