#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes tests/fixtures/hf-*: tiny GPT-2 checkpoints in the key layouts that Hugging Face's Hub has,
with golden numbers from a float64 forward pass in PyTorch.

Run by hand (Debian: python3-torch, python3-regex), the output is committed:

    python3 tests/oracle/make_fixture.py tests/fixtures

Nothing here is shared with the engine or its converter, so that they can be held against numbers
that they did not make. The weights are trained on TEXT below until greedy continuations are
decided by clear margins; that is all they are good for.
"""
import collections
import json
import math
import os
import struct
import sys

import regex
import torch
import torch.nn.functional as F

torch.set_num_threads(1)
EOT = "<|endoftext|>"
PATTERN = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")

TEXT = """The lamp on the pier went out at nine. Ruth rowed the small boat home by the sound of the bell.
A heron stood in the reeds and did not move. "Good evening," said Ruth, and the heron said nothing.
The baker's oven was warm before the sun was up. He made 12 loaves, 30 rolls and one long braid.
When the bread was done, the street smelled of it, and the children came without being called.
On the hill there is a clock that is always 7 minutes late. Nobody mends it; they like it that way.
Every spring the river takes back the lower field. Every summer it gives the field back again.
My uncle keeps bees behind the station. The trains don't mind the bees, and the bees don't mind the trains.
A letter came for the blue house. It had no name on it, only a drawing of a key and the word "soon".
The cat sat under the table and counted the feet: two, four, six, and one wooden leg.
If the wind is from the north, close the window. If it's from the south, open the door as well.
The pump, the rope, the bucket and the tin cup all belong to the well. Nobody takes them home.
Über die Brücke geht ein Mann mit einem Hut. Les étoiles brillent sur le café fermé. El niño ríe.
Она идёт домой по снегу. 猫は窓のそばで眠る。 你好,小船! 🙂 The sign says so in six languages.
\tindented  twice,   spaced   thrice
and then a line, and then another line.

In winter the lake is a floor. The children draw a road on it, with houses, and walk home along it.
The oldest tree in the square was planted by a woman who sold needles. It is called the needle tree.
At the end of the day the miller's boy sweeps the floor. He finds 3 coins and puts them in a jar.
The jar is for the bridge. When the jar is full there will be a bridge, and then there will be a feast.
Ruth painted the boat green. Then she painted it blue. Then she sat down and looked at the water.
"""

# (folder, sizes) of the two models; the first one is written in four layouts.
SIZES = {
    "tied": dict(n_embd=32, n_layer=3, n_head=4, n_ctx=160, n_inner=128, n_vocab=320, merges=63, seed=11),
    # Rows of 36 fit no block type, the feed-forward is not 4 x n_embd wide, three rows of the
    # vocabulary are padding, and the head is a matrix of its own.
    "untied": dict(n_embd=36, n_layer=2, n_head=3, n_ctx=96, n_inner=96, n_vocab=320, merges=60, seed=23),
}
# For each case the first prompt whose numbers are clear is taken.
PROMPTS = [
    ["The lamp on the pier", "The lamp on", "The lamp"],
    ["Ruth painted the boat green.", "Ruth painted", "Ruth"],
    ["The baker's oven was warm before 7, and they don't mind", "The bees don't mind 30 trains", "It's 7 o'clock, the"],
    ["Les étoiles 你好 🙂\t a  b ", "naïve — 猫 🙂\t x  y", "Über 你好,小船! 🙂  is", "Она 猫 is\té  🙂 The"],
]


# --- byte-level BPE ----------------------------------------------------------------------------

def byte_letters():
    """The letter that stands for each byte: printable bytes for themselves, the rest from U+0100."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in plain}
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + len(table) - len(plain))
    return table


LETTER = byte_letters()


def join_pair(symbols, pair):
    out, i = [], 0
    while i < len(symbols):
        if tuple(symbols[i:i + 2]) == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return out


def learn_merges(text, count):
    words = collections.Counter(PATTERN.findall(text))
    split = {w: [LETTER[b] for b in w.encode()] for w in words}
    merges = []
    for _ in range(count):
        pairs = collections.Counter()
        for w, symbols in split.items():
            for pair in zip(symbols, symbols[1:]):
                pairs[pair] += words[w]
        best = max(pairs, key=lambda p: (pairs[p], p))
        merges.append(best)
        split = {w: join_pair(s, best) for w, s in split.items()}
    return merges


class Tokenizer:
    def __init__(self, text, merges):
        self.merges = learn_merges(text, merges)
        # GPT-2's order: the 256 letters by code point of the printable ones first, merges, <|endoftext|>.
        letters = sorted(LETTER.values(), key=lambda c: (ord(c) >= 256, ord(c)))
        tokens = letters + [a + b for a, b in self.merges] + [EOT]
        self.vocab = {t: i for i, t in enumerate(tokens)}
        self.rank = {m: i for i, m in enumerate(self.merges)}
        self.end = self.vocab[EOT]

    def encode(self, text):
        ids = []
        for word in PATTERN.findall(text):
            symbols = [LETTER[b] for b in word.encode()]
            while len(symbols) > 1:
                best = min(zip(symbols, symbols[1:]), key=lambda p: self.rank.get(p, math.inf))
                if best not in self.rank:
                    break
                symbols = join_pair(symbols, best)
            ids += [self.vocab[s] for s in symbols]
        return ids

    def decode(self, ids):
        back = {c: b for b, c in LETTER.items()}
        name = {i: t for t, i in self.vocab.items()}
        return bytes(back[c] for i in ids for c in name[i]).decode("utf-8", "replace")


# --- the model ---------------------------------------------------------------------------------

def new_weights(s):
    g = torch.Generator().manual_seed(s["seed"])
    e, f = s["n_embd"], s["n_inner"]

    def normal(rows, cols, std=0.05):
        return torch.randn(rows, cols, generator=g) * std

    w = {"wte.weight": normal(s["n_vocab"], e), "wpe.weight": normal(s["n_ctx"], e, 0.02)}
    for i in range(s["n_layer"]):
        for n in ("ln_1", "ln_2"):
            w[f"h.{i}.{n}.weight"], w[f"h.{i}.{n}.bias"] = torch.ones(e), torch.zeros(e)
        for n, a, b in (("attn.c_attn", e, 3 * e), ("attn.c_proj", e, e), ("mlp.c_fc", e, f), ("mlp.c_proj", f, e)):
            w[f"h.{i}.{n}.weight"], w[f"h.{i}.{n}.bias"] = normal(a, b, 0.1), torch.zeros(b)
    w["ln_f.weight"], w["ln_f.bias"] = torch.ones(e), torch.zeros(e)
    if s["n_embd"] == SIZES["untied"]["n_embd"]:
        w["lm_head.weight"] = normal(s["n_vocab"], e)
    return w


def as_half(x):
    return x.to(torch.float16).to(x.dtype)


def as_q8_0(x):
    """Blocks of 32 along the head, as the engine keeps them: a half-precision scale and int8."""
    pad = -x.shape[-1] % 32
    b = F.pad(x, (0, pad)).unflatten(-1, (-1, 32))
    d = b.abs().amax(-1, keepdim=True) / 127
    q = torch.where(d > 0, torch.round(b / torch.where(d > 0, d, torch.ones_like(d))), torch.zeros_like(b))
    return (q * as_half(d)).flatten(-2)[..., :x.shape[-1]]


def forward(w, s, ids, kv=lambda x: x):
    """ids [batch, n] -> logits [batch, n, n_vocab], in the precision of the weights."""
    batch, n = ids.shape
    e, heads = s["n_embd"], s["n_head"]
    hidden = torch.ones(n, n, dtype=torch.bool).triu(1)
    x = w["wte.weight"][ids] + w["wpe.weight"][:n]
    for i in range(s["n_layer"]):
        p = f"h.{i}."
        y = F.layer_norm(x, (e,), w[p + "ln_1.weight"], w[p + "ln_1.bias"], 1e-5)
        y = y @ w[p + "attn.c_attn.weight"] + w[p + "attn.c_attn.bias"]
        q, k, v = (t.view(batch, n, heads, e // heads).transpose(1, 2) for t in y.split(e, 2))
        scores = q @ kv(k).transpose(2, 3) / math.sqrt(e // heads)
        y = scores.masked_fill(hidden, -math.inf).softmax(3) @ kv(v)
        x = x + y.transpose(1, 2).reshape(batch, n, e) @ w[p + "attn.c_proj.weight"] + w[p + "attn.c_proj.bias"]
        y = F.layer_norm(x, (e,), w[p + "ln_2.weight"], w[p + "ln_2.bias"], 1e-5)
        y = y @ w[p + "mlp.c_fc.weight"] + w[p + "mlp.c_fc.bias"]
        y = 0.5 * y * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y ** 3)))
        x = x + y @ w[p + "mlp.c_proj.weight"] + w[p + "mlp.c_proj.bias"]
    x = F.layer_norm(x, (e,), w["ln_f.weight"], w["ln_f.bias"], 1e-5)
    return x @ w.get("lm_head.weight", w["wte.weight"]).T


def train(s, stream, steps):
    w = new_weights(s)
    for t in w.values():
        t.requires_grad_()
    opt = torch.optim.AdamW([{"params": [t for t in w.values() if t.dim() > 1], "weight_decay": 0.1},
                             {"params": [t for t in w.values() if t.dim() == 1], "weight_decay": 0.0}],
                            lr=0.0, betas=(0.9, 0.98))
    g = torch.Generator().manual_seed(s["seed"] + 1)
    loss = None
    for step in range(steps):
        rate = 6e-3 * min(1, (step + 1) / 40) * max(0.03, 0.5 + 0.5 * math.cos(math.pi * step / steps))
        for group in opt.param_groups:
            group["lr"] = rate
        at = torch.randint(0, len(stream) - s["n_ctx"] - 1, (8,), generator=g)
        x = torch.stack([stream[a:a + s["n_ctx"] + 1] for a in at])
        # Smoothing keeps the logits, and with them what a rounded KV cache does to them, small.
        loss = F.cross_entropy(forward(w, s, x[:, :-1]).flatten(0, 1), x[:, 1:].flatten(), label_smoothing=0.1)
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(w.values()), 1.0)
        opt.step()
    return {k: t.detach() for k, t in w.items()}, float(loss)


# --- golden numbers ----------------------------------------------------------------------------

class Unclear(Exception):
    """No prompt gives numbers that a correct engine cannot miss."""


def full_prompts(tok, stream, n_ctx):
    """Stretches of the text that encode to exactly n_ctx ids."""
    for at in range(40, len(stream) // 3, 29):
        ids = [int(i) for i in stream[at:at + n_ctx]]
        if tok.end not in ids and tok.encode(tok.decode(ids)) == ids:
            yield tok.decode(ids)


def one_case(w, s, tok, prompt):
    """The case, its smallest margin between first and second choice, and what rounded KV does to it."""
    ids = tok.encode(prompt)
    logits = forward(w, s, torch.tensor([ids]))[0]
    moved = {}
    for name, kv in (("f16", as_half), ("q8_0", as_q8_0)):
        moved[name] = float((forward(w, s, torch.tensor([ids]), kv)[0][-1] - logits[-1]).abs().max())
    seq, gap = list(ids), math.inf
    while len(seq) < min(s["n_ctx"], len(ids) + 40):
        top = forward(w, s, torch.tensor([seq]))[0, -1].topk(2)
        gap = min(gap, float(top.values[0] - top.values[1]))
        seq.append(int(top.indices[0]))
    nll = float(F.cross_entropy(logits[:-1], torch.tensor(ids[1:])))
    case = {"prompt": prompt, "ids": ids, "last_logits": [round(float(v), 6) for v in logits[-1]],
            "nll": nll, "greedy_40": seq[len(ids):]}
    return case, gap, moved


def golden(w, s, tok, stream, loss, steps, prompts=None):
    """prompts: those chosen for the same weights in another layout; else the clear ones are found."""
    w = {k: t.double() for k, t in w.items()}
    strict = prompts is None
    cases, margin, moves = [], math.inf, {"f16": 0.0, "q8_0": 0.0}
    for slot in [[p] for p in prompts] if prompts else PROMPTS + [full_prompts(tok, stream, s["n_ctx"])]:
        for prompt in slot:
            case, gap, moved = one_case(w, s, tok, prompt)
            if gap > (0.06 if strict else 0.03) and moved["f16"] < (3e-3 if strict else 4e-3) and moved["q8_0"] < 6e-2:
                break
            print(f"  passed over {prompt[:30]!r}: margin {gap:.3f}, KV {moved['f16']:.1e} {moved['q8_0']:.1e}")
        else:
            raise Unclear
        cases.append(case)
        margin = min(margin, gap)
        moves = {k: max(v, moved[k]) for k, v in moves.items()}
        text = tok.decode([i for i in case["greedy_40"] if i < tok.end])
        print(f"  {len(case['ids']):3} ids, nll {case['nll']:.3f}: {prompt[-24:]!r} -> {text!r}")
    print(f"  margin {margin:.3f}; KV moves logits: f16 {moves['f16']:.2e}, q8_0 {moves['q8_0']:.2e}", flush=True)
    return {"training_loss": loss, "steps": steps, "smallest_greedy_margin": margin,
            "kv_f16_moves_logits_by": moves["f16"], "kv_q8_0_moves_logits_by": moves["q8_0"], "cases": cases}


# --- files -------------------------------------------------------------------------------------

DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.uint8: "U8", torch.bool: "BOOL"}


def raw_bytes(t):
    t = t.contiguous()
    return (t.view(torch.int16) if t.dtype == torch.bfloat16 else t).numpy().tobytes()


def write_safetensors(path, tensors):
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, t in tensors.items():
        blob = raw_bytes(t)
        header[name] = {"dtype": DTYPES[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def write_json(path, value, **how):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, **how)
        f.write("\n")


def write_config(folder, s, tok, **extra):
    config = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "activation_function": "gelu_new",
              "n_embd": s["n_embd"], "n_layer": s["n_layer"], "n_head": s["n_head"], "n_positions": s["n_ctx"],
              "n_ctx": s["n_ctx"], "n_inner": None if s["n_inner"] == 4 * s["n_embd"] else s["n_inner"],
              "vocab_size": s["n_vocab"], "layer_norm_epsilon": 1e-5, "bos_token_id": tok.end,
              "eos_token_id": tok.end, "tie_word_embeddings": s is not SIZES["untied"]}
    config.update(extra)
    write_json(f"{folder}/config.json", config, indent=2)


def write_plain_tokenizer(folder, tok):
    write_json(f"{folder}/vocab.json", tok.vocab)
    with open(f"{folder}/merges.txt", "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in tok.merges))


def write_tokenizer_json(folder, tok, pairs, end_only_added):
    vocab = {t: i for t, i in tok.vocab.items() if not (end_only_added and t == EOT)}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    write_json(f"{folder}/tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": tok.end, "content": EOT, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": True, "special": True}],
        "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "vocab": vocab,
                  "merges": [[a, b] if pairs else f"{a} {b}" for a, b in tok.merges]}})


def write_sharded(folder, w, s):
    """Two files and an index; every name under `transformer.`, causal masks and the tied head saved too."""
    all_tensors = {"transformer." + k: t for k, t in w.items()}
    for i in range(s["n_layer"]):
        mask = torch.ones(s["n_ctx"], s["n_ctx"]).tril()[None, None]
        all_tensors[f"transformer.h.{i}.attn.bias"] = mask.to((torch.bool, torch.uint8, torch.float32)[i % 3])
        all_tensors[f"transformer.h.{i}.attn.masked_bias"] = torch.tensor(-1e4)
    all_tensors["lm_head.weight"] = w["wte.weight"]
    names = sorted(all_tensors)
    half = len(names) // 2
    shards = {"model-00001-of-00002.safetensors": names[:half], "model-00002-of-00002.safetensors": names[half:]}
    for file, part in shards.items():
        write_safetensors(f"{folder}/{file}", {n: all_tensors[n] for n in part})
    total = sum(len(raw_bytes(t)) for t in all_tensors.values())
    write_json(f"{folder}/model.safetensors.index.json", {
        "metadata": {"total_size": total},
        "weight_map": {n: file for file, part in shards.items() for n in part}}, indent=1)


def write_card(folder, text):
    with open(f"{folder}/README.md", "w", encoding="utf-8") as f:
        f.write(f"---\nlicense: mit\nlanguage: en\n---\n\n{text} Made by `tests/oracle/make_fixture.py`.\n")


def main(out):
    steps = 500
    for kind, s in SIZES.items():
        tok = Tokenizer(TEXT, s["merges"])
        stream = torch.tensor(([tok.end] + tok.encode(TEXT)) * 3)
        for seed in range(s["seed"], s["seed"] + 8):
            w, loss = train(dict(s, seed=seed), stream, steps)
            try:
                gold = golden(w, s, tok, stream, loss, steps)
                break
            except Unclear:
                print(f"{kind}: seed {seed} will not do", flush=True)
        else:
            sys.exit("no seed will do: change PROMPTS")
        prompts = [c["prompt"] for c in gold["cases"]]
        print(f"{kind}: {sum(t.numel() for t in w.values())} parameters, loss {loss:.4f}")

        def folder(name, text):
            path = os.path.join(out, name)
            os.makedirs(path, exist_ok=True)
            write_card(path, text)
            return path

        if kind == "untied":
            path = folder("hf-untied", "A tiny GPT-2 with a head of its own, padded vocabulary and odd sizes.")
            write_safetensors(f"{path}/model.safetensors", w)
            write_plain_tokenizer(path, tok)
            write_config(path, s, tok)
            write_json(f"{path}/golden.json", gold)
            continue

        path = folder("hf-plain", "A tiny GPT-2, float32, in one file.")
        write_safetensors(f"{path}/model.safetensors", w)
        write_plain_tokenizer(path, tok)
        write_config(path, s, tok)
        write_json(f"{path}/golden.json", gold)

        short = dict(s, n_ctx=48)
        cut = dict(w, **{"wpe.weight": w["wpe.weight"][:48]})
        path = folder("hf-sharded", "The model of hf-plain with fewer positions, in two files with an index.")
        write_sharded(path, cut, short)
        write_tokenizer_json(path, tok, pairs=False, end_only_added=False)
        write_config(path, short, tok)
        shorter = prompts[:-1] + [next(full_prompts(tok, stream, 48))]
        write_json(f"{path}/golden.json", golden(cut, short, tok, stream, loss, steps, shorter))

        for name, dtype, what in (("hf-f16", torch.float16, "F16"), ("hf-bf16", torch.bfloat16, "BF16")):
            path = folder(name, f"The model of hf-plain rounded to {what}.")
            rounded = {k: t.to(dtype) for k, t in w.items()}
            write_safetensors(f"{path}/model.safetensors", rounded)
            write_tokenizer_json(path, tok, pairs=True, end_only_added=dtype == torch.float16)
            write_config(path, s, tok, activation_function="gelu_pytorch_tanh" if name == "hf-bf16" else "gelu_new")
            again = golden({k: t.float() for k, t in rounded.items()}, s, tok, stream, loss, steps, prompts)
            write_json(f"{path}/golden.json", again)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__))
