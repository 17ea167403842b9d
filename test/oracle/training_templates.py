"""The chat templates that TRL carries: each model's own and the one with {% generation %} blocks that TRL trains with.

Prints, by template and conversation, both texts (null where a template raises) and what the blocks mark, in UTF-16 units.
"""

import importlib.util
import json
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

FOLDER = Path(importlib.util.find_spec("trl").origin).parent / "chat_templates"
CONVERSATIONS = json.loads((Path(__file__).parents[1] / "data" / "golden" / "conversations.json").read_text())
NAMES = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


def utf16(text, index):
    return len(text[:index].encode("utf-16-le")) // 2


def rendered(template, conversation, masked):
    try:
        texts, spans = render_jinja_template(
            [conversation["messages"]],
            tools=conversation.get("tools"),
            chat_template=template,
            return_assistant_tokens_mask=masked,
            **NAMES,
        )
    except Exception:  # what a template raises is any exception
        return {"text": None, "spans": []}
    [text] = texts
    marked = spans[0] if masked else []
    return {"text": text, "spans": [[utf16(text, start), utf16(text, end)] for start, end in marked if start < end]}


def main():
    made = {}
    for path in sorted(FOLDER.glob("*.jinja")):
        template = path.read_text()
        cases = {name: rendered(template, case, "generation" in template) for name, case in CONVERSATIONS.items()}
        made[path.stem] = {"template": template, "cases": cases}
    print(json.dumps(made))


main()
