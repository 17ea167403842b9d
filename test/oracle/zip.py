"""Logits of PEFT with the adapter of a zip, as the demo page gives it away.

    python zip.py BASE ZIP    token ids come as JSON on stdin; logits [T, V] go to stdout
"""

import json
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

base, archive = sys.argv[1:]
ids = torch.tensor([json.load(sys.stdin)])
with tempfile.TemporaryDirectory() as folder:
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
        file.extractall(folder)
    [inner] = Path(folder).iterdir()
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    adapted = PeftModel.from_pretrained(model, inner).eval()
    with torch.no_grad():
        after = adapted(ids).logits[0]
        with adapted.disable_adapter():
            before = adapted(ids).logits[0]
print(json.dumps({"after": after.flatten().tolist(), "moved": (after - before).abs().max().item()}))
