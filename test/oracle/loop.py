"""The training loop of transformers without its Trainer: a plain PyTorch and PEFT loop in float32.

A run is a JSON object: `model` (a folder), `mode` (over the numbers that NF4 leaves of the base in "qlora"), `initial` (the adapter that it begins with), `rows` of `input_ids` and
`labels`, `steps` (row numbers of each micro-batch of each optimizer step), and settings of AdamW and the schedule.
"""

import bitsandbytes.functional as bnb
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, Trainer, get_scheduler


def nf4(weight):
    """A weight after bitsandbytes' NF4 with double quantisation, in float32. Its own CPU code rounds rows of odd lengths wrongly."""
    packed, state = bnb.quantize_4bit(weight, blocksize=64, quant_type="nf4", compress_statistics=True)
    codes = torch.stack([packed.flatten() >> 4, packed.flatten() & 15], 1).flatten()[: weight.numel()].long()
    nested = state.state2.absmax.repeat_interleave(256)[: len(state.absmax)]
    absmax = state.state2.code[state.absmax.long()] * nested + state.offset
    return (state.code[codes] * absmax.repeat_interleave(64)[: weight.numel()]).view(weight.shape)


def base_of(run):
    model = AutoModelForCausalLM.from_pretrained(run["model"], dtype=torch.float32)
    if run["mode"] == "qlora":
        for name, module in model.named_modules():
            if isinstance(module, torch.nn.Linear) and name != "lm_head":
                module.weight.data = nf4(module.weight.data)
    return model


def start_of(run):
    """The model as it was before the first step."""
    if run["mode"] == "full":
        return base_of(run)
    return PeftModel.from_pretrained(base_of(run), run["initial"], is_trainable=True)


def collate(rows):
    longest = max(len(row["input_ids"]) for row in rows)
    padded = lambda key, value: torch.tensor([row[key] + [value] * (longest - len(row[key])) for row in rows])
    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows])
    return {"input_ids": padded("input_ids", 0), "labels": padded("labels", -100), "attention_mask": mask}


def optimizer_of(model, run):
    decayed = Trainer.get_decay_parameter_names(None, model)
    groups = [
        {
            "params": [p for name, p in model.named_parameters() if p.requires_grad and (name in decayed) == decay],
            "weight_decay": run["weight_decay"] if decay else 0.0,
        }
        for decay in (True, False)
    ]
    return torch.optim.AdamW(groups, lr=run["learning_rate"], betas=(0.9, 0.999), eps=1e-8)


def train(run):
    """Loss and gradient norm of each step."""
    model = start_of(run).train()
    optimizer = optimizer_of(model, run)
    schedule = get_scheduler(run["scheduler"], optimizer, run["warmup_steps"], len(run["steps"]))
    losses, norms = [], []
    for step in run["steps"]:
        batches = [[run["rows"][index] for index in micro_batch] for micro_batch in step]
        tokens = sum(label != -100 for batch in batches for row in batch for label in row["labels"][1:])
        loss = 0.0
        for batch in batches:
            part = model(**collate(batch), num_items_in_batch=tokens).loss
            part.backward()
            loss += part.item()
        parameters = [p for p in model.parameters() if p.requires_grad]
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, run["max_grad_norm"]).item())
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss)
    return {"losses": losses, "norms": norms}
