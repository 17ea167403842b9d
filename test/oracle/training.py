"""Trains what this project trained, in a plain PyTorch and PEFT loop, and loads what it saved.

    python training.py FOLDER

FOLDER/cases.json lists the runs. A run has the model folder, the rows of each micro-batch of each step, the settings, the
adapter it began with, and where its final model and merged models lie. What was found goes to stdout as JSON, logits to
FOLDER/expected.safetensors by the name of the run.
"""

import json
import sys
import warnings
from pathlib import Path

import torch
from datasets import Dataset
from loop import base_of, start_of, train
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerState
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

warnings.filterwarnings("error", message=".*(missing|unexpected).*")
# TRL prints what it logs.
sys.stdout = sys.stderr
folder = Path(sys.argv[1])


def load_final(run):
    """The saved model, and what of it was missing or too much."""
    if run["mode"] == "full":
        model, info = AutoModelForCausalLM.from_pretrained(run["final"], dtype=torch.float32, output_loading_info=True)
        return model, sorted(str(key) for keys in info.values() for key in keys)
    model = PeftModel.from_pretrained(base_of(run), run["final"])
    saved = load_file(Path(run["final"]) / "adapter_model.safetensors").keys()
    return model, sorted(saved ^ get_peft_model_state_dict(model).keys())


def last_checkpoint(run):
    """The newest checkpoint as the Trainer of transformers finds it, what it says, and the logits of its weights."""
    checkpoint = Path(get_last_checkpoint(Path(run["final"]).parent))
    # The constructor takes the fields of its dataclass and no other keys.
    state = TrainerState.load_from_json(checkpoint / "trainer_state.json")
    model, problems = load_final({**run, "final": str(checkpoint)})
    found = {"folder": checkpoint.name, "step": state.global_step, "max_steps": state.max_steps, "problems": problems}
    return model, {**found, "log": [row["step"] for row in state.log_history]}


def compare_merged(run, dtype):
    """A merged model against PEFT's own, rounded to its dtype: wrong keys, and differences in units of the last place."""
    merged = PeftModel.from_pretrained(base_of(run), run["final"]).merge_and_unload()
    loaded, info = AutoModelForCausalLM.from_pretrained(run["merged"][dtype], dtype="auto", output_loading_info=True)
    ours, theirs = loaded.state_dict(), merged.state_dict()
    problems = sorted(str(key) for keys in info.values() for key in keys) + sorted(ours.keys() ^ theirs.keys())
    differ, count, largest, relative = 0, 0, 0, 0.0
    integer = torch.int32 if dtype == "float32" else torch.int16
    for key, value in theirs.items():
        assert ours[key].dtype == getattr(torch, dtype), (key, ours[key].dtype)
        rounded = value.to(ours[key].dtype)
        places = (ours[key].contiguous().view(integer).long() - rounded.contiguous().view(integer).long()).abs()
        # Bits of numbers of both signs are no scale: around zero the distance to the unrounded value counts.
        near = (ours[key].float() - value).abs() <= 1e-7 * value.abs().max()
        places[near] = 0
        differ += int((places != 0).sum())
        largest = max(largest, int(places.max()))
        count += places.numel()
        relative = max(relative, float((ours[key].float() - value).abs().max() / value.abs().max()))
    return {"problems": problems, "differ": differ / count, "places": largest, "relative": relative}


def train_with_trl(run):
    """Losses of TRL's SFTTrainer on the same ids, as it logs them."""
    vocabulary = {f"t{i}": i for i in range(run["vocabulary"])}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(vocabulary, unk_token="t0")), eos_token="t1", pad_token="t0"
    )
    arguments = SFTConfig(
        output_dir=str(folder / "trl"),
        max_steps=len(run["steps"]),
        per_device_train_batch_size=len(run["steps"][0][0]),
        gradient_accumulation_steps=len(run["steps"][0]),
        learning_rate=run["learning_rate"],
        lr_scheduler_type=run["scheduler"],
        warmup_steps=run["warmup_steps"],
        weight_decay=run["weight_decay"],
        max_grad_norm=run["max_grad_norm"],
        optim="adamw_torch",
        train_sampling_strategy="sequential",
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        max_length=None,
    )
    trainer = SFTTrainer(
        model=start_of(run), args=arguments, train_dataset=Dataset.from_list(run["rows"]), processing_class=tokenizer
    )
    trainer.train()
    return {"losses": [row["loss"] for row in trainer.state.log_history if "loss" in row]}


answers, logits = {}, {}
for run in json.loads((folder / "cases.json").read_text()):
    answer = answers[run["name"]] = train_with_trl(run) if run["trl"] else train(run)
    if run["trl"] or run["mode"] == "qlora":
        continue
    model, answer["problems"] = load_final(run)
    with torch.no_grad():
        logits[run["name"]] = model.eval()(torch.tensor([run["rows"][0]["input_ids"]])).logits[0].contiguous()
    if run["checkpoints"]:
        newest, answer["newest"] = last_checkpoint(run)
        with torch.no_grad():
            same = torch.equal(newest.eval()(torch.tensor([run["rows"][0]["input_ids"]])).logits[0], logits[run["name"]])
        answer["newest"]["same_weights"] = same
    answer["step"] = TrainerState.load_from_json(Path(run["final"]).parent / "trainer_state.json").global_step
    answer["merged"] = {dtype: compare_merged(run, dtype) for dtype in run["merged"]}
save_file(logits, folder / "expected.safetensors")
json.dump(answers, sys.__stdout__)
