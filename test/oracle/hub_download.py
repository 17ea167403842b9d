"""Brings a model from a hub into a cache with Python's own client: hub_download.py MODEL CACHE."""

import sys

from huggingface_hub import snapshot_download

model, cache = sys.argv[1:]
snapshot_download(model, cache_dir=cache, allow_patterns=["*.json", "*.safetensors"])
