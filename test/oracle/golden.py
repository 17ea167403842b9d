"""Writes the golden files of test/data/golden: what tokenizers and transformers make of texts and conversations.

    python test/oracle/golden.py ~/.cache/webgpu-sft/tokenizers/VERSION test/data/golden [SMOLLM2]

The arguments are TOKENIZERS OUT [SMOLLM2]. Prints the names of the files.
TOKENIZERS holds a folder for each model, made by scripts/tokenizers.mjs; SMOLLM2 is the folder of SmolLM2-Instruct, whose
tokenizer no package holds: without it, what OUT has of it stays. Offsets are in UTF-16 units, as JavaScript counts.
"""

import hashlib
import json
import re
import sys
from datetime import datetime
from pathlib import Path

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

HERE = Path(__file__).resolve().parent
INPUTS = HERE.parent / "data" / "golden"
DEFAULT = (HERE.parent.parent / "assets" / "default.jinja").read_text()

# What is trained (group 1) in texts of templates without generation blocks, told by their fixed words.
TRAINED = {
    "qwen2_5": r"<\|im_start\|>assistant\n(.*?<\|im_end\|>)",
    "qwen3": r"<\|im_start\|>assistant\n(?:<think>\n\n</think>\n\n)?(.*?<\|im_end\|>)",
    "llama3_2": r"<\|start_header_id\|>assistant<\|end_header_id\|>\n\n(.*?<\|eot_id\|>)",
    "mistral_nemo": r"(?:\[/INST\]|\[/TOOL_RESULTS\](?!\[TOOL_RESULTS\]))(.*?</s>)",
    "smollm2": r"<\|im_start\|>assistant\n(.*?<\|im_end\|>)",
}


class FixedDate(datetime):
    """Templates print the day."""

    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26)


chat_template_utils.datetime = FixedDate


def shuffled(corpus):
    """Texts thrown together from pieces by a Lehmer generator, which JavaScript computes exactly too."""
    state = 7

    def below(limit):
        nonlocal state
        state = state * 48271 % 2147483647
        return state % limit

    pieces = corpus["pieces"]
    return ["".join(pieces[below(len(pieces))] for _ in range(1 + below(12))) for _ in range(corpus["shuffled"])]


def well_formed(text):
    """Halves of surrogate pairs become U+FFFD: Python's tokenizers take Unicode only."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def utf16(text):
    places = [0]
    for character in text:
        places.append(places[-1] + len(character.encode("utf-16-le")) // 2)
    return places


def hashed(value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def encodings(folder, corpus):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids, hashes = [], []
    for text in corpus["texts"] + shuffled(corpus):
        text = well_formed(text)
        places = utf16(text)
        bare, full = (tokenizer.encode(text, add_special_tokens=special) for special in (False, True))
        # Where a normaliser composes characters, places are coarser here than there.
        composed = tokenizer.normalizer is None or tokenizer.normalizer.normalize_str(text) in (
            text,
            text.replace(" ", "▁"),
            "▁" + text.replace(" ", "▁"),
        )
        offsets = [[places[start], places[end]] for start, end in bare.offsets] if composed else None
        decoded = [tokenizer.decode(bare.ids, skip_special_tokens=skip) for skip in (False, True)]
        ids.append(" ".join(map(str, bare.ids)))
        hashes.append(hashed([bare.ids, full.ids, offsets, *decoded]))
    return {
        "sha256": hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest(),
        "ids": ids[: len(corpus["texts"])],
        "hashes": " ".join(hashes),
    }


def runs(mask):
    """The first and the last of each run of trained tokens."""
    found = []
    for index, trained in enumerate(mask):
        if trained and found and found[-1][1] == index - 1:
            found[-1][1] = index
        elif trained:
            found.append([index, index])
    return " ".join(f"{first}-{last}" for first, last in found)


def chat(fast, template, rule, conversation):
    messages, tools = conversation["messages"], conversation.get("tools")
    options = {"tools": tools, "chat_template": template}
    try:
        text = fast.apply_chat_template(messages, tokenize=False, **options)
    except Exception:  # what a template raises is any exception
        return None
    prompt = fast.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True, **options)
    masked = rule is None
    out = fast.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=masked, **options)
    ids = list(out["input_ids"])
    case = {
        "text": text,
        # Where the text begins with the prompt: how long it is.
        "prompt": utf16(prompt)[-1] if text.startswith(prompt) else prompt,
        "tokens": len(ids),
        "ids": hashed(ids),
    }
    if masked:
        case["trained"] = runs(out["assistant_masks"])
    elif not any(re.search(r"<\|im_end\|>|</s>|<\|eot_id\|>", message["content"]) for message in messages):
        spans = [match.span(1) for match in re.finditer(rule, text, re.DOTALL)]
        offsets = fast(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        case["trained"] = runs(any(max(start, s) < min(end, e) for s, e in spans) for start, end in offsets)
    return case


def chats(name, folder, conversations):
    """By template: the model's own, and the one for models that have none."""
    config = json.loads((folder / "tokenizer_config.json").read_text())
    named = {key: config.get(key) for key in ("bos_token", "eos_token", "unk_token", "pad_token")}
    fast = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **named)
    jinja = folder / "chat_template.jinja"
    own = jinja.read_text() if jinja.exists() else config.get("chat_template")
    templates = {"default": (DEFAULT, None)} | ({"own": (own, TRAINED[name])} if own else {})
    return {
        template: {case: chat(fast, text, rule, conversation) for case, conversation in conversations.items()}
        for template, (text, rule) in templates.items()
    }


def jinja(golden):
    """The cases of jinja.json, each with its text, or null where it is refused."""

    def text(template):
        try:
            variables = json.loads(json.dumps(golden["variables"]))
            return chat_template_utils._compile_jinja_template(template).render(**variables)
        except Exception:  # what a template raises is any exception
            return None

    return golden | {"cases": {template: text(template) for template in golden["cases"]}}


def main():
    tokenizers, out = Path(sys.argv[1]), Path(sys.argv[2])
    folders = {folder.name: folder for folder in sorted(tokenizers.iterdir())}
    if len(sys.argv) > 3:
        folders["smollm2"] = Path(sys.argv[3])
    corpus = json.loads((INPUTS / "corpus.json").read_text())
    conversations = json.loads((INPUTS / "conversations.json").read_text())
    files = {
        "tokenizers.json": lambda _, folder: encodings(folder, corpus),
        "chats.json": lambda name, folder: chats(name, folder, conversations),
    }
    for file, make in files.items():
        kept = json.loads((out / file).read_text()) if (out / file).exists() else {}
        made = kept | {name: make(name, folder) for name, folder in folders.items()}
        (out / file).write_text(json.dumps(made, indent=1, ensure_ascii=True, sort_keys=True) + "\n")
    made = jinja(json.loads((INPUTS / "jinja.json").read_text()))
    (out / "jinja.json").write_text(json.dumps(made, indent=1, ensure_ascii=True) + "\n")
    print(json.dumps([*files, "jinja.json"]))


main()
