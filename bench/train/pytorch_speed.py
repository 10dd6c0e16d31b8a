#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tokens a second of the same training step in PyTorch, over random tokens.

usage: pytorch_speed.py STEPS [THREADS [EMBD LAYERS HEADS CONTEXT VOCAB BATCH]]
"""
import math
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

numbers = [int(a) for a in sys.argv[1:]]
STEPS, THREADS, E, L, H, C, V, B = (numbers + [20, 2, 128, 4, 4, 192, 2048, 24][len(numbers):])[:8]
torch.manual_seed(1)
torch.set_num_threads(THREADS)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(E), nn.LayerNorm(E)
        self.qkv, self.proj = nn.Linear(E, 3 * E), nn.Linear(E, E)
        self.up, self.down = nn.Linear(E, 4 * E), nn.Linear(4 * E, E)

    def forward(self, x, mask):
        n, t, _ = x.shape
        q, k, v = (s.view(n, t, H, E // H).transpose(1, 2)
                   for s in self.qkv(self.norm_1(x)).split(E, 2))
        w = (q @ k.transpose(-1, -2) / math.sqrt(E // H)).masked_fill(mask, -math.inf).softmax(-1)
        x = x + self.proj((w @ v).transpose(1, 2).reshape(n, t, E))
        h = self.up(self.norm_2(x))
        h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h ** 3)))
        return x + self.down(h)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(V, E), nn.Embedding(C, E)
        self.blocks, self.norm = nn.ModuleList(Block() for _ in range(L)), nn.LayerNorm(E)
        self.register_buffer("mask", torch.triu(torch.ones(C, C, dtype=torch.bool), 1))

    def forward(self, ids):
        x = self.tokens(ids) + self.positions(torch.arange(C))
        for block in self.blocks:
            x = block(x, self.mask)
        return self.norm(x) @ self.tokens.weight.T


net = Net()
adamw = torch.optim.AdamW(net.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=0.1)
for step in range(STEPS):
    if step == 1:
        begin = time.perf_counter()
    ids = torch.randint(0, V, (B, C + 1))
    loss = F.cross_entropy(net(ids[:, :-1]).reshape(-1, V), ids[:, 1:].reshape(-1))
    adamw.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    adamw.step()
print(f"pytorch {(STEPS - 1) * B * C / (time.perf_counter() - begin):.0f} {loss.item():.5f}")
