"""What tokenizers and transformers make of texts and conversations, as one JSON document on stdout.

Templates come as JSON (name -> Jinja) on stdin. With an argument, the tokenizer of that model folder is asked too.
Offsets are given in UTF-16 units, as JavaScript counts.
"""

import json
import re
import sys
from pathlib import Path
from random import Random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast
from transformers.utils.chat_template_utils import render_jinja_template

CORPUS = [
    "The quick brown fox jumps over the lazy dog. The dog sleeps; the fox runs away!",
    "What is 12 * 7? It is 84, and 84 - 12 = 72.\nNatalia sold 48/2 = 24 clips in May.",
    "user assistant system tool think hello there friend, how are you today? I am fine, thanks.",
    "Grüße aus München, naïve café, 東京 and 서울 — emoji 🙂 too.  Two  spaces\n\n\tand tabs.",
    "def add(a, b):\n    return a + b\n\nprint(add(1, 2))",
] * 4

TEXTS = [
    "Hello world",
    " leading space and trailing ",
    "line one\nline two\n\n   indented\ttab  ",
    "Grüße, naïve café — 東京 서울 🙂🙃👩‍👩‍👧",
    "cafe\u0301 A\u030a \u1112\u1161\u11ab composed or not",
    "<s>begin</s> <sep> middle<sep>end <pad>",
    "x" * 40 + " " * 7 + "y",
    "non\u00a0breaking\u3000wide mark ﬁ ligature ½",
    "1234567 is 1,234,567 or 12.5% isn't",
    "зdravствуйте ß",
]

PIECES = TEXTS + [" ", "  ", "\n", "\n\n", "\t", "a", "é", "ß", "東", "🙂", "</s>", "<sep>"]
PIECES += ["The", "12", ".", ",", "'s", "▁", "Ġ"]


def shuffled_texts(count):
    """Texts thrown together from pieces, the same in every run."""
    random = Random(7)
    return ["".join(random.choices(PIECES, k=random.randint(1, 12))) for _ in range(count)]


def utf16(text, index):
    return len(text[:index].encode("utf-16-le")) // 2


def trained(kind):
    """A small tokenizer of each kind that models use."""
    specials = ["<unk>", "<s>", "</s>", "<pad>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    llama3 = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    byte_level = {"special_tokens": specials, "initial_alphabet": alphabet, "show_progress": False}
    if kind in ("gpt2", "llama3", "qwen"):
        tokenizer = Tokenizer(models.BPE(ignore_merges=kind == "llama3"))
        tokenizer.decoder = decoders.ByteLevel()
        if kind == "gpt2":
            tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        else:
            split = pre_tokenizers.Split(Regex(llama3), "isolated")
            level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
        if kind == "qwen":
            tokenizer.normalizer = normalizers.NFC()
        trainer = trainers.BpeTrainer(vocab_size=600, **byte_level)
    elif kind == "prefixed":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        trainer = trainers.BpeTrainer(vocab_size=600, **byte_level)
    elif kind in ("llama2", "mistral"):
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        if kind == "llama2":
            tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False)
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
        byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
        # Words are learnt one by one; the tokenizer itself does not cut at spaces, as Llama's does not.
        learner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
        learner.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
        ascii_only = [line.encode("ascii", "ignore").decode() for line in CORPUS]
        learner.train_from_iterator(
            ascii_only, trainers.BpeTrainer(vocab_size=700, special_tokens=specials + byte_tokens, show_progress=False)
        )
        learnt = json.loads(learner.to_str())["model"]
        merges = [tuple(merge) for merge in learnt["merges"]]
        tokenizer.model = models.BPE(learnt["vocab"], merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
        tokenizer.add_special_tokens(specials)
        trainer = None
    elif kind == "unigram":
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
        tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme="always")
        trainer = trainers.UnigramTrainer(
            vocab_size=220, special_tokens=specials, unk_token="<unk>", show_progress=False
        )
    if trainer is not None:
        tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken("<sep>", lstrip=kind == "gpt2", rstrip=kind == "unigram")])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A" if kind != "unigram" else "$A </s>",
        special_tokens=[("<s>", tokenizer.token_to_id("<s>")), ("</s>", tokenizer.token_to_id("</s>"))],
    )
    return tokenizer


def encodings(tokenizer):
    cases = []
    for text in TEXTS + shuffled_texts(150):
        bare, full = (tokenizer.encode(text, add_special_tokens=special) for special in (False, True))
        cases.append(
            {
                "text": text,
                "ids": bare.ids,
                "offsets": [[utf16(text, start), utf16(text, end)] for start, end in bare.offsets],
                "full_ids": full.ids,
                "decoded": tokenizer.decode(bare.ids, skip_special_tokens=False),
                "skipped": tokenizer.decode(bare.ids, skip_special_tokens=True),
            }
        )
    return cases


CONVERSATIONS = json.loads((Path(__file__).parents[1] / "data" / "golden" / "conversations.json").read_text())


def rendered(template, conversation, generation_prompt=False):
    try:
        texts, _ = render_jinja_template(
            [conversation["messages"]],
            tools=conversation.get("tools"),
            chat_template=template,
            add_generation_prompt=generation_prompt,
            bos_token="<s>",
            eos_token="</s>",
            unk_token="<unk>",
            pad_token="<pad>",
        )
        return texts[0]
    except Exception as error:  # what a template raises is any exception
        return {"error": f"{type(error).__name__}: {error}"}


def wrapped(tokenizer):
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )


def generation_masks(templates):
    """transformers' own assistant mask, for templates with generation blocks."""
    cases = []
    for name, template in templates.items():
        if not re.search(r"\{%-?\s*generation\s*-?%\}", template):
            continue
        tokenizer = trained("gpt2")
        tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
        fast = wrapped(tokenizer)
        for conversation in ("basic", "system", "spaces", "again"):
            out = fast.apply_chat_template(
                CONVERSATIONS[conversation]["messages"],
                chat_template=template,
                return_assistant_tokens_mask=True,
                return_dict=True,
            )
            cases.append(
                {
                    "template": name,
                    "conversation": conversation,
                    "tokenizer": json.loads(tokenizer.to_str()),
                    "ids": list(out["input_ids"]),
                    "mask": list(out["assistant_masks"]),
                }
            )
    return cases


# What must be trained, written down by hand: ⟦so⟧. "..." stands for a beginning that is not looked at.
MASKS = [
    (
        "default/_base",
        "system",
        ["<|im_start|>", "<|im_end|>"],
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\n⟦Hello!<|im_end|>⟧\n<|im_start|>user\nBye<|im_end|>\n"
        "<|im_start|>assistant\n⟦See you.<|im_end|>⟧\n",
    ),
    (
        "default/_base",
        "spaces",
        ["<|im_start|>", "<|im_end|>"],
        "<|im_start|>user\n  What? \n<|im_end|>\n"
        "<|im_start|>assistant\n⟦\n  def f():\n    pass \n<|im_end|>⟧\n"
        "<|im_start|>user\nok<|im_end|>\n<|im_start|>assistant\n⟦ done <|im_end|>⟧\n",
    ),
    (
        "default/_base",
        "again",
        ["<|im_start|>", "<|im_end|>"],
        "<|im_start|>user\nyes<|im_end|>\n<|im_start|>assistant\n⟦yes<|im_end|>⟧\n"
        "<|im_start|>user\nSay yes and user and assistant.<|im_end|>\n"
        "<|im_start|>assistant\n⟦yes<|im_end|>⟧\n",
    ),
    (
        "default/_base",
        "nothing",
        ["<|im_start|>", "<|im_end|>"],
        "<|im_start|>user\nSay nothing.<|im_end|>\n<|im_start|>assistant\n⟦<|im_end|>⟧\n",
    ),
    (
        "default/llama",
        "system",
        [],
        "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] ⟦Hello! </s>⟧"
        "<s>[INST] Bye [/INST] ⟦See you. </s>⟧",
    ),
    (
        "default/llama",
        "spaces",
        [],
        "<s>[INST] What? [/INST] ⟦def f():\n    pass </s>⟧<s>[INST] ok [/INST] ⟦done </s>⟧",
    ),
    (
        "custom/HuggingFaceH4/zephyr-7b-beta (add_generation_prompt=true)",
        "spaces",
        [],
        "<|user|>\n  What? \n</s>\n<|assistant|>\n⟦\n  def f():\n    pass \n</s>⟧"
        "\n<|user|>\nok</s>\n<|assistant|>\n⟦ done </s>⟧\n",
    ),
    (
        "custom/Deci/DeciLM-7B-instruct",
        "again",
        [],
        "### User:\nyes\n### Assistant:\n⟦yes⟧\n### User:\nSay yes and user and assistant.\n"
        "### Assistant:\n⟦yes⟧\n",
    ),
    (
        "custom/TheBloke/deepseek-coder-33B-instruct-AWQ",
        "basic",
        ["<|EOT|>"],
        "...\n### Instruction:\nWhat is 2 + 2?\n### Response:\n⟦It is 4.\n<|EOT|>⟧\n### Response:\n",
    ),
    (
        "custom/deepseek-ai/DeepSeek-R1",
        "think",
        ["<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"],
        "<s><｜User｜>2 + 2?<｜Assistant｜>⟦\n\nIt is 4.<｜end▁of▁sentence｜>⟧"
        "<｜User｜>3?<｜Assistant｜>⟦Yes<｜end▁of▁sentence｜>⟧",
    ),
    (
        "custom/Qwen/Qwen3-0.6B",
        "reasoning",
        ["<|im_start|>", "<|im_end|>"],
        "<|im_start|>user\n2 + 2?<|im_end|>\n"
        "<|im_start|>assistant\n⟦<think>\nTwo and two make four.\n</think>\n\nIt is 4.<|im_end|>⟧\n",
    ),
    (
        "custom/Qwen/Qwen3-0.6B",
        "think",
        ["<|im_start|>", "<|im_end|>"],
        "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n⟦It is 4.<|im_end|>⟧\n"
        "<|im_start|>user\n3?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n⟦Yes<|im_end|>⟧"
        "\n",
    ),
    (
        "custom/Qwen/Qwen2.5-7B-Instruct",
        "tools",
        ["<|im_start|>", "<|im_end|>"],
        "...<|im_end|>\n<|im_start|>user\nWeather in Paris?<|im_end|>\n"
        "<|im_start|>assistant\n⟦<tool_call>\n"
        '{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}}\n</tool_call><|im_end|>⟧'
        '\n<|im_start|>user\n<tool_response>\n{"temperature": 21}\n</tool_response><|im_end|>\n'
        "<|im_start|>assistant\n⟦It is 21 degrees.<|im_end|>⟧\n",
    ),
    (
        "custom/mistralai/Mistral-Nemo-Instruct-2407",
        "tools",
        ["[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"],
        "...[INST]Weather in Paris?[/INST]⟦[TOOL_CALLS]"
        '[{"name": "get_weather", "arguments": {"city": "Paris", "days": 2}, "id": "abcdefghi"}]</s>⟧'
        '[TOOL_RESULTS]{"content": {"temperature": 21}, "call_id": "abcdefghi"}[/TOOL_RESULTS]⟦It is 21 degrees.</s>⟧',
    ),
    (
        "custom/meta-llama/Llama-3.1-8B-Instruct",
        "system",
        ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        "...Be brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n⟦Hello!<|eot_id|>⟧"
        "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n⟦See you.<|eot_id|>⟧",
    ),
]


def written_masks(templates):
    cases = []
    for name, conversation, specials, marked in MASKS:
        text = rendered(templates["hf-jinja/" + name], CONVERSATIONS[conversation])
        written = marked.replace("⟦", "").replace("⟧", "")
        head = ""
        if written.startswith("..."):
            marked, written = marked[3:], written[3:]
            head = text[: len(text) - len(written)]
        assert text == head + written, (name, conversation, text, head + written)
        spans, position = [], len(head)
        for index, piece in enumerate(re.split("[⟦⟧]", marked)):
            if index % 2 == 1:
                spans.append((position, position + len(piece)))
            position += len(piece)
        tokenizer = trained("gpt2")
        tokenizer.add_special_tokens(specials)
        encoding = tokenizer.encode(text, add_special_tokens=False)
        labels = [
            id if any(max(start, s) < min(end, e) for s, e in spans) else -100
            for id, (start, end) in zip(encoding.ids, encoding.offsets)
        ]
        cases.append(
            {
                "template": "hf-jinja/" + name,
                "conversation": conversation,
                "tokenizer": json.loads(tokenizer.to_str()),
                "text": text,
                "spans": [[utf16(text, start), utf16(text, end)] for start, end in spans],
                "ids": encoding.ids,
                "labels": labels,
            }
        )
    return cases


def folder_cases(folder):
    fast = PreTrainedTokenizerFast.from_pretrained(folder)
    messages = [CONVERSATIONS[name]["messages"] for name in ("basic", "system", "spaces", "again")]
    return {
        "encodings": encodings(fast.backend_tokenizer),
        "chats": [
            {
                "messages": chat,
                "text": fast.apply_chat_template(chat, tokenize=False),
                "prompt": fast.apply_chat_template(chat[:-1], tokenize=False, add_generation_prompt=True),
                "ids": list(fast.apply_chat_template(chat, return_dict=True)["input_ids"]),
            }
            for chat in messages
        ],
    }


def main():
    templates = json.load(sys.stdin)
    kinds = ["gpt2", "llama3", "qwen", "prefixed", "llama2", "mistral", "unigram"]
    tokenizers = {kind: trained(kind) for kind in kinds}
    document = {
        "tokenizers": [
            {"kind": kind, "json": json.loads(tokenizer.to_str()), "cases": encodings(tokenizer)}
            for kind, tokenizer in tokenizers.items()
        ],
        "conversations": CONVERSATIONS,
        "rendered": {
            name: {
                case: {
                    "text": rendered(template, conversation),
                    "prompt": rendered(template, {**conversation, "messages": conversation["messages"][:-1]}, True),
                }
                for case, conversation in CONVERSATIONS.items()
            }
            for name, template in templates.items()
        },
        "generation_masks": generation_masks(templates),
        "written_masks": written_masks(templates),
        "folder": folder_cases(sys.argv[1]) if len(sys.argv) > 1 else None,
    }
    json.dump(document, sys.stdout)


main()
