"""Learning rates of transformers' schedules, one list per case, as JSON on stdout. Cases come as JSON on stdin."""

import json
import sys
import warnings

import torch
from transformers import TrainingArguments, get_scheduler

# torch complains that no optimizer step comes before a schedule step; there is nothing to optimise here.
warnings.filterwarnings("ignore", category=UserWarning)


def rates(case):
    total, warmup, rate = case["total"], case["warmup"], case["learning_rate"]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    steps = TrainingArguments.get_warmup_steps(type("Arguments", (), {"warmup_steps": warmup})(), total)
    scheduler = get_scheduler(case["name"], optimizer, steps, total, scheduler_specific_kwargs=case["kwargs"])
    found = [scheduler.get_last_lr()[0]]
    for _ in range(total - 1):
        scheduler.step()
        found.append(scheduler.get_last_lr()[0])
    return found


json.dump([rates(case) for case in json.load(sys.stdin)], sys.stdout)
