"""Steps of 8-bit AdamW: by the rule of bitsandbytes' CUDA kernel in numpy, and by bitsandbytes itself on the CPU.

Reads {"start", "gradients", "settings"} from stdin. Writes the dynamic maps, the state after each step by the rule, and the
parameters after each step of bitsandbytes.optim.AdamW8bit.
"""

import json
import sys

import numpy as np
import torch
import bitsandbytes as bnb
from bitsandbytes.functional import create_dynamic_map

BLOCK = 256
f32 = np.float32


def quantize_2d(x, code, lowest):
    """csrc, `quantize_2D`, for all elements at once."""
    pivot = np.full(x.shape, 127)
    below, above = np.zeros(x.shape, int), np.full(x.shape, 255)
    lower, upper = np.full(x.shape, f32(lowest)), np.full(x.shape, f32(1))
    value = code[pivot]
    for step in (64, 32, 16, 8, 4, 2, 1):
        up = x > value
        below, lower = np.where(up, pivot, below), np.where(up, value, lower)
        above, upper = np.where(up, above, pivot), np.where(up, upper, value)
        pivot = np.where(up, pivot + step, pivot - step)
        value = code[pivot]
    high = np.where(x > (upper + value) * f32(0.5), above, pivot)
    low = np.where(x < (lower + value) * f32(0.5), below, pivot)
    return np.where(x > value, high, low)


def rule(start, gradients, settings, signed, unsigned):
    """csrc, `kOptimizerStatic8bit2StateBlockwise` for ADAM, in float32. The length is a multiple of the block."""
    beta1, beta2, eps, lr, decay = (f32(settings[k]) for k in ("beta1", "beta2", "epsilon", "lr", "weight_decay"))
    p = start.astype(f32).reshape(-1, BLOCK)
    m, v = np.zeros(p.shape, int), np.zeros(p.shape, int)
    max1, max2 = np.zeros((len(p), 1), f32), np.zeros((len(p), 1), f32)
    for index, g in enumerate(gradients):
        t = index + 1
        g = g.astype(f32).reshape(p.shape)
        first = f32(1 - settings["beta1"] ** t)
        second = f32(np.sqrt(1 - settings["beta2"] ** t))
        s1 = signed[m] * max1 * beta1 + (f32(1) - beta1) * g
        s2 = unsigned[v] * max2 * beta2 + (f32(1) - beta2) * g * g
        max1, max2 = np.abs(s1).max(1, keepdims=True), s2.max(1, keepdims=True)
        p = p + (-lr * second / first) * (s1 / (np.sqrt(s2) + second * eps))
        if decay > 0:
            p = p * (f32(1) - lr * decay)
        m = quantize_2d(s1 / max1, signed, -1)
        wrong = np.signbit(signed[m]) != np.signbit(s1)
        m = np.where(wrong, np.where(s1 > 0, m + 1, m - 1), m)
        v = quantize_2d(s2 / max2, unsigned, 0)
        absmax = np.concatenate([max1, max2], 1)
        yield {"p": p.ravel().tolist(), "m": m.ravel().tolist(), "v": v.ravel().tolist(), "absmax": absmax.ravel().tolist()}


def theirs(start, gradients, settings):
    """bitsandbytes on the CPU, without decay: there it comes before the update, and on CUDA after."""
    p = torch.nn.Parameter(torch.tensor(start, dtype=torch.float32))
    betas = (settings["beta1"], settings["beta2"])
    optimizer = bnb.optim.AdamW8bit([p], lr=settings["lr"], betas=betas, eps=settings["epsilon"], weight_decay=0.0)
    for g in gradients:
        p.grad = torch.tensor(g, dtype=torch.float32)
        optimizer.step()
        assert optimizer.state[p]["state1"].dtype == torch.uint8
        yield p.detach().tolist()


def main():
    given = json.load(sys.stdin)
    start = np.array(given["start"])
    gradients = [np.array(g) for g in given["gradients"]]
    settings = given["settings"]
    signed, unsigned = (create_dynamic_map(signed=flag).numpy() for flag in (True, False))
    json.dump(
        {
            "maps": [signed.tolist(), unsigned.tolist()],
            "rule": list(rule(start, gradients, settings, signed, unsigned)),
            "undecayed": list(rule(start, gradients, {**settings, "weight_decay": 0}, signed, unsigned)),
            "theirs": list(theirs(start, gradients, settings)),
        },
        sys.stdout,
    )


main()
