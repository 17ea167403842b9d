"""Hugging Face's datasets, tokenizers, transformers and TRL, doing what `bench/data.ts` does.

One task a line on stdin, as JSON; one line on stdout for each: how many rows or tokens came out, in how many seconds of the
clock and of all CPUs. What a task needs (files, tokenizers) is loaded before the clock starts, and only once.
"""

import functools
import json
import sys
import time

import datasets
import tokenizers
import transformers
from trl.data_utils import pack_dataset

datasets.disable_progress_bars()
transformers.logging.set_verbosity_error()


@functools.cache
def rows_of(path):
    with open(path, encoding="utf8") as lines:
        return datasets.Dataset.from_list([json.loads(line) for line in lines])


@functools.cache
def tokenizer_of(folder):
    return transformers.AutoTokenizer.from_pretrained(folder)


def turns_of(row):
    return [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": row["answer"]}]


def read(path, kind, chats=False):
    def run():
        rows = datasets.load_dataset(kind, data_files=path, split="train", streaming=True)
        if chats:
            rows = rows.map(lambda row: {"messages": turns_of(row)})
        return sum(1 for _ in rows)

    return run


def tokenize(path, folder):
    texts = [f"{row['question']}\n{row['answer']}" for row in rows_of(path)]
    tokenizer = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
    return lambda: sum(len(row.ids) for row in tokenizer.encode_batch(texts, add_special_tokens=False))


def chat(path, folder):
    """As TRL prepares rows of prompt and completion: the prompt's tokens are told by their number."""
    rows, tokenizer = rows_of(path), tokenizer_of(folder)
    render = functools.partial(tokenizer.apply_chat_template, return_dict=False)

    def prepare(row):
        turns = turns_of(row)
        ids = render(turns)
        prompt = len(render(turns[:1], add_generation_prompt=True))
        return {"input_ids": ids, "completion_mask": [0] * prompt + [1] * (len(ids) - prompt)}

    def run():
        return sum(len(ids) for ids in rows.map(prepare, load_from_cache_file=False)["input_ids"])

    return run


def pack(path, length):
    with open(path) as file:
        rows = datasets.Dataset.from_dict({"input_ids": [[0] * n for n in json.load(file)]})
    return lambda: len(rows) if pack_dataset(rows, length, "bfd", {"load_from_cache_file": False}) else 0


TASKS = {task.__name__: task for task in (read, tokenize, chat, pack)}
prepared = functools.cache(lambda name, *arguments: TASKS[name](*arguments))

for line in sys.stdin:
    run = prepared(*json.loads(line))
    cpu, clock = time.process_time(), time.perf_counter()
    count = run()
    print(json.dumps({"count": count, "cpu": time.process_time() - cpu, "clock": time.perf_counter() - clock}), flush=True)
