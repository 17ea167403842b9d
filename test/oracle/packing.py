"""How many sequences TRL packs rows into by best-fit decreasing, as JSON on stdout. Cases come as JSON on stdin."""

import json
import sys

import datasets
from trl.data_utils import pack_dataset

datasets.disable_progress_bars()


def sequences(case):
    lengths = case["lengths"]
    rows = datasets.Dataset.from_dict({"input_ids": [[0] * length for length in lengths]})
    # All rows at once: by default only each thousand is packed together.
    packed = pack_dataset(rows, case["max_seq_len"], "bfd", {"batch_size": len(lengths)})
    return len(packed)


json.dump([sequences(case) for case in json.load(sys.stdin)], sys.stdout)
