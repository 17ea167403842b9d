"""Runs exported TRL scripts one after the other.

    python trl_export.py FOLDER…

A folder is one that `webgpu-sft export --to trl` has written. What was logged goes to stdout as JSON: for each folder the losses with
all their digits, of training and of evaluation.
"""

import json
import os
import runpy
import sys
from pathlib import Path

import torch
from trl import SFTTrainer

out, sys.stdout = sys.stdout, sys.stderr
torch.set_num_threads(1)
losses = []


class Told(SFTTrainer):
    """Keeps the loss that the trainer rounds before it logs it."""

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        losses.append(loss.item())
        return loss


import trl  # noqa: E402

trl.SFTTrainer = Told
answer = {}
for folder in sys.argv[1:]:
    losses.clear()
    runpy.run_path(os.path.join(folder, "train.py"), run_name="__main__")
    state = json.loads((Path(folder) / "outputs" / "trainer_state.json").read_text())
    answer[folder] = {
        "losses": list(losses),
        "eval": [row["eval_loss"] for row in state["log_history"] if "eval_loss" in row],
        "rates": [row["learning_rate"] for row in state["log_history"] if "learning_rate" in row],
        "files": sorted(path.name for path in (Path(folder) / "outputs" / "final_model").iterdir()),
    }
json.dump(answer, out)
