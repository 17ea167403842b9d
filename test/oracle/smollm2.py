"""The real model in PEFT and transformers: the losses of a few steps, and the greedy answers before and after.

    python smollm2.py < run.json

A run as `loop.py` has it, with `prompts` (messages), `new_tokens`, and `final` (the adapter that was trained). The losses,
the ids of the prompts and the answers of the base and of the adapter go to stdout as JSON.
"""

import json
import sys

import torch
from loop import base_of, train
from peft import PeftModel
from transformers import AutoTokenizer

run = json.load(sys.stdin)
answer = train(run)
if not run["prompts"]:
    json.dump(answer, sys.stdout)
    sys.exit()

tokenizer = AutoTokenizer.from_pretrained(run["model"])
prompts = [
    tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False) for prompt in run["prompts"]
]
model = PeftModel.from_pretrained(base_of(run), run["final"]).eval()


def answers():
    texts = []
    for ids in prompts:
        found = model.generate(
            input_ids=torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            do_sample=False,
            max_new_tokens=run["new_tokens"],
        )[0, len(ids) :]
        texts.append(tokenizer.decode(found, skip_special_tokens=True))
    return texts


with torch.no_grad():
    after = answers()
    with model.disable_adapter():
        before = answers()
json.dump({**answer, "prompts": prompts, "before": before, "after": after}, sys.stdout)
