"""What Python finds in a cache of the hub that this project has filled, without asking the hub."""

import json
import os
import sys

from huggingface_hub import constants, hf_hub_download, scan_cache_dir, snapshot_download
from transformers import AutoConfig, AutoTokenizer

request = json.load(sys.stdin)
cache, model, dataset = request["cache"], request["model"], request["dataset"]
assert constants.HF_HUB_OFFLINE

folder = snapshot_download(model, cache_dir=cache, local_files_only=True)
rows = snapshot_download(dataset, repo_type="dataset", cache_dir=cache, local_files_only=True)
info = scan_cache_dir(cache)
json.dump(
    {
        "files": sorted(os.listdir(folder)),
        "rows": [os.path.relpath(os.path.join(base, name), rows) for base, _, names in os.walk(rows) for name in names],
        "weights": os.path.getsize(hf_hub_download(model, "model.safetensors", cache_dir=cache, local_files_only=True)),
        "hidden_size": AutoConfig.from_pretrained(model, cache_dir=cache, local_files_only=True).hidden_size,
        "ids": AutoTokenizer.from_pretrained(model, cache_dir=cache, local_files_only=True)("Wake me at seven.").input_ids,
        "repos": {repo.repo_id: [repo.repo_type, *sorted(ref for rev in repo.revisions for ref in rev.refs)] for repo in info.repos},
        "warnings": [str(warning) for warning in info.warnings],
    },
    sys.stdout,
)
