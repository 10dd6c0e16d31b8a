#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Numbers that the training tests are held against, computed by PyTorch in double precision.

usage: train_fixture.py OUT
Writes one file: a small GPT-2 with random weights, two sequences, the loss and the gradient of every
tensor; the same with LoRA adapters; and the losses of 50 steps of AdamW over random sequences.
Layout: int32 and float64 arrays, each behind its length as int64; see tests/train/train_oracle.h.
"""
import math
import struct
import sys

import torch
import torch.nn.functional as F

V, C, E, L, H, FF = 67, 16, 24, 2, 3, 96
RANK, ALPHA = 4, 6.0
STEPS, BATCH, WARMUP = 50, 4, 5
RATE, RATE_END, BETA1, BETA2, EPS, DECAY, CLIP = 3e-3, 3e-4, 0.9, 0.98, 1e-8, 0.1, 1.0
torch.set_default_dtype(torch.float64)
torch.manual_seed(11)


def parameters():
    """Name and tensor in the order that the library has."""
    out = []

    def add(name, *shape, gain=False, std=0.1):
        # Gains and biases are random too: at 1 and 0 a mistake in them would not show.
        t = torch.randn(*shape) * std + (1.0 if gain else 0.0)
        # What a float holds, so that both sides begin with the same numbers.
        out.append((name, t.float().double().requires_grad_()))

    add("token_embd.weight", V, E)
    add("position_embd.weight", C, E)
    for i in range(L):
        add(f"blk.{i}.attn_norm.weight", E, gain=True)
        add(f"blk.{i}.attn_norm.bias", E)
        add(f"blk.{i}.attn_qkv.weight", 3 * E, E, std=0.2)
        add(f"blk.{i}.attn_qkv.bias", 3 * E)
        add(f"blk.{i}.attn_output.weight", E, E)
        add(f"blk.{i}.attn_output.bias", E)
        add(f"blk.{i}.ffn_norm.weight", E, gain=True)
        add(f"blk.{i}.ffn_norm.bias", E)
        add(f"blk.{i}.ffn_up.weight", FF, E, std=0.2)
        add(f"blk.{i}.ffn_up.bias", FF)
        add(f"blk.{i}.ffn_down.weight", E, FF)
        add(f"blk.{i}.ffn_down.bias", E)
    add("output_norm.weight", E, gain=True)
    add("output_norm.bias", E)
    return out


def adapters():
    out = []
    shapes = {"attn_qkv": (3 * E, E), "attn_output": (E, E), "ffn_up": (FF, E), "ffn_down": (E, FF)}
    for i in range(L):
        for name, (n_out, n_in) in shapes.items():
            for end, shape in (("lora_a", (RANK, n_in)), ("lora_b", (n_out, RANK))):
                t = (torch.randn(*shape) * 0.2).float().double().requires_grad_()
                out.append((f"blk.{i}.{name}.weight.{end}", t))
    return out


def forward(p, ids, lora=None):
    def linear(x, name):
        y = x @ p[name + ".weight"].T + p[name + ".bias"]
        if lora is not None:
            a, b = lora[name + ".weight.lora_a"], lora[name + ".weight.lora_b"]
            y = y + (ALPHA / RANK) * (x @ a.T) @ b.T
        return y

    def norm(x, name):
        return F.layer_norm(x, (E,), p[name + ".weight"], p[name + ".bias"], 1e-5)

    n, t = ids.shape
    mask = torch.triu(torch.ones(t, t, dtype=torch.bool), 1)
    x = p["token_embd.weight"][ids] + p["position_embd.weight"][:t]
    for i in range(L):
        q, k, v = (s.view(n, t, H, E // H).transpose(1, 2)
                   for s in linear(norm(x, f"blk.{i}.attn_norm"), f"blk.{i}.attn_qkv").split(E, 2))
        w = (q @ k.transpose(-1, -2) / math.sqrt(E // H)).masked_fill(mask, -math.inf).softmax(-1)
        x = x + linear((w @ v).transpose(1, 2).reshape(n, t, E), f"blk.{i}.attn_output")
        h = linear(norm(x, f"blk.{i}.ffn_norm"), f"blk.{i}.ffn_up")
        h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h ** 3)))
        x = x + linear(h, f"blk.{i}.ffn_down")
    return norm(x, "output_norm") @ p["token_embd.weight"].T


def loss_of(p, ids, lora=None):
    logits = forward(p, ids[:, :-1], lora)
    return F.cross_entropy(logits.reshape(-1, V), ids[:, 1:].reshape(-1))


def rate_at(step):
    if step < WARMUP:
        return RATE * (step + 1) / WARMUP
    t = (step - WARMUP) / (STEPS - WARMUP)
    return RATE_END + 0.5 * (RATE - RATE_END) * (1 + math.cos(math.pi * t))


def flat(tensors):
    return torch.cat([t.detach().reshape(-1) for t in tensors]).tolist()


class Out:
    def __init__(self, path):
        self.file = open(path, "wb")

    def ints(self, values):
        self.file.write(struct.pack(f"<q{len(values)}i", len(values), *values))

    def floats(self, values, kind="d"):
        self.file.write(struct.pack("<q", len(values)) + struct.pack(f"<{len(values)}{kind}", *values))


def main():
    out = Out(sys.argv[1])
    named = parameters()
    p = dict(named)
    ids = torch.randint(0, V, (2, C + 1))
    out.ints([V, C, E, L, H, FF, RANK, STEPS, BATCH, WARMUP])
    out.floats([ALPHA, RATE, RATE_END, BETA1, BETA2, EPS, DECAY, CLIP])
    out.floats(flat(t for _, t in named), "f")
    out.ints(ids.reshape(-1).tolist())

    loss = loss_of(p, ids)
    loss.backward()
    out.floats([loss.item()])
    out.floats(flat(t.grad for _, t in named), "f")

    lora = adapters()
    frozen = {name: t.detach() for name, t in named}
    loss = loss_of(frozen, ids, dict(lora))
    loss.backward()
    out.floats(flat(t for _, t in lora), "f")
    out.floats([loss.item()])
    out.floats(flat(t.grad for _, t in lora), "f")

    matrices = [t for _, t in named if t.dim() > 1]
    rest = [t for _, t in named if t.dim() == 1]
    adamw = torch.optim.AdamW([{"params": matrices, "weight_decay": DECAY},
                               {"params": rest, "weight_decay": 0.0}],
                              lr=RATE, betas=(BETA1, BETA2), eps=EPS)
    # Sequences that can be learnt: each token follows from the one before it, most of the time.
    follows = torch.randperm(V)
    steps, losses = [], []
    for step in range(STEPS):
        rows = torch.randint(0, V, (BATCH, C + 1))
        for k in range(1, C + 1):
            keep = torch.rand(BATCH) < 0.8
            rows[:, k] = torch.where(keep, follows[rows[:, k - 1]], rows[:, k])
        steps += rows.reshape(-1).tolist()
        for group in adamw.param_groups:
            group["lr"] = rate_at(step)
        adamw.zero_grad()
        loss = loss_of(p, rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([t for _, t in named], CLIP)
        adamw.step()
        losses.append(loss.item())
    out.ints(steps)
    out.floats(losses)
    print(f"losses {losses[0]:.4f} to {losses[-1]:.4f}")


main()
