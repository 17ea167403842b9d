"""What transformers samples from: raw logits and processed scores of one step, for each case of options on stdin, as JSON on stdout."""

import json
import sys

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

torch.manual_seed(5)
model = LlamaForCausalLM(
    LlamaConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.6,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
).eval()


def step(number, options):
    ids = torch.randint(0, 97, (1, 5 + number % 7), generator=torch.Generator().manual_seed(number))
    config = GenerationConfig(
        do_sample=True, max_new_tokens=1, output_logits=True, output_scores=True, return_dict_in_generate=True, pad_token_id=0, **options
    )
    made = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
    scores = made.scores[0][0].double().softmax(-1)
    return {"ids": ids[0].tolist(), "logits": made.logits[0][0].tolist(), "probabilities": scores.tolist()}


json.dump([step(number, options) for number, options in enumerate(json.load(sys.stdin))], sys.stdout)
