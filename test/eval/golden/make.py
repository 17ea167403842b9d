"""What the metrics must give for hand-picked and random answers, by the programs that define them.

    python make.py EASSE_CHECKOUT SQUAD_SCRIPT > metrics.jsonl

Needs rouge-score and sacrebleu, a checkout of EASSE (github.com/feralvam/easse), and SQuAD's evaluate-v2.0.py. A line holds prediction,
reference, source, then ROUGE-L, ROUGE-Lsum, SARI, exact match and F1; the last line is SARI of the corpus.
"""

import importlib.util
import json
import random
import sys
import types

easse_folder, squad_script = sys.argv[1:]
sys.path.insert(0, easse_folder)
sys.modules["sacremoses"] = types.ModuleType("sacremoses")  # for tokenizers that are not used here

from easse.sari import corpus_sari  # noqa: E402
from rouge_score.rouge_scorer import RougeScorer  # noqa: E402

spec = importlib.util.spec_from_file_location("squad", squad_script)
squad = importlib.util.module_from_spec(spec)
spec.loader.exec_module(squad)

HAND_PICKED = [
    ("", "", ""),
    ("", "the answer", "a question"),
    ("the answer", "", "a question"),
    (" \n", "\t", "x"),
    ("The cat sat on the mat.", "the cat was sat on a mat", "The cat sits on the mat today."),
    ("About 95 species are currently known.", "About 95 species are now accepted.", "About 95 species are currently accepted."),
    ("About 95 you now get in.", "About 95 species are currently known.", "About 95 species are currently accepted."),
    ("the", "The!", "a"),
    ("a", "b", "c"),
    ("an apple, a day", "Apple day", "the apple of the day"),
    # Letters of other scripts next to articles; articles within them are none.
    ("über a Straße", "Über Straße", "die Straße"),
    ("éa thé the thë", "éa thé thë", "the"),
    ("a\u0301 b", "a\u0301 b", "a b"),
    ("it's the dog-a house", "its doga house", "the dog a house"),
    ("a_b the_c", "ab thec", "a_b"),
    ("中文 a 字", "中文 字", "中文"),
    ("one\u00a0two\u2003three", "one two three", "one two"),
    ("\u001fx\u0085", "x", "\ufeffx"),
    ("\ufeffx", "x", "x"),
    ("x \n", "  x", "y"),
    # Lines, empty ones among them; words that occur more often than they may count.
    ("a b c\nd e f", "d e f\na b c", "a b c d e f"),
    ("a b\n\n\nc d\n", "a b c d", "a b"),
    ("w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", "w1 w2 w3 w4 w5", "w1 w5"),
    ("a a a a", "a\na\na", "a a"),
    ("x a b x\nb a", "a b a b\nb x a", "b a"),
    ("one two three four\none three two four", "one two three four five\nfour three two one", "one"),
    # What the tokenizer of SARI takes apart, and what not.
    ("It cost $3,000.50 (in 1999-2001), didn't it?", "It cost 3,000.50 dollars - in 1999-2001.", "The price was $3,000.50!"),
    ("&quot;A &amp; B&lt;C&gt;&quot; <skipped>", "\"a & b<c>\"", "A&B"),
    ("well-\nknown end-", "wellknown end -", "well known"),
    ("3.14 .5 5. a.b,c 1,2,x", "3 . 14", ".,.,"),
    ("{\"name\": \"Ann\", \"age\": 3}", "{\"name\": \"Ann\", \"age\": 4}", "Ann is 3"),
    ("İstanbul ΣΑΣ ẞ K", "i̇stanbul σας ß k", "ISTANBUL"),
    ("👍 yes. 👎no", "yes 👍", "👍👍"),
    ("a b c d e f g h", "a b c d e f g h", "a b c d e f g h"),
    ("a b c d e f g h", "i j k l", "m n o p"),
    ("B a", "a b", "A B a b"),
]

WORDS = ["a", "an", "the", "The", "cat", "cat's", "sat", "mat.", "on", "over", "naïve", "Über", "12", "3.5", "1,000", "x-ray", "(and)", "end."]
SPACES = [" "] * 12 + ["  ", "\n", "\n\n", "\t", "\u00a0"]


def random_text(rng, words, most):
    return "".join(rng.choice(words) + rng.choice(SPACES) for _ in range(rng.randint(0, most)))


def edited(rng, text, words):
    """The text with a few words left out, put in or replaced, so that much agrees."""
    parts = text.split(" ")
    for _ in range(rng.randint(0, 4)):
        at = rng.randrange(len(parts))
        parts[at : at + rng.randint(0, 2)] = rng.choices(words, k=rng.randint(0, 2)) or [""]
    return " ".join(parts)


def cases():
    yield from HAND_PICKED
    rng = random.Random(1)
    for _ in range(500 - len(HAND_PICKED)):
        words = rng.sample(WORDS, rng.randint(2, len(WORDS)))
        source = random_text(rng, words, 14)
        reference = edited(rng, source, words)
        prediction = edited(rng, rng.choice([source, reference, random_text(rng, words, 14)]), words)
        yield prediction, reference, source


def main():
    scorer = RougeScorer(["rougeL", "rougeLsum"])
    corpus = list(cases())
    for prediction, reference, source in corpus:
        rouge = scorer.score(reference, prediction)
        scores = [
            rouge["rougeL"].fmeasure,
            rouge["rougeLsum"].fmeasure,
            corpus_sari([source], [prediction], [[reference]]),
            int(prediction.strip() == reference.strip()),
            squad.compute_f1(reference, prediction),
        ]
        print(json.dumps([prediction, reference, source, *scores]))
    predictions, references, sources = map(list, zip(*corpus))
    print(json.dumps(corpus_sari(sources, predictions, [references])))


main()
