#!/usr/bin/env python3
"""Make a tiny random-weight chat model + locally trained BPE tokenizer (no download).

usage: make_tiny_model.py OUT_DIR [--arch qwen2|qwen3|llama] [--hidden 64] [--layers 2]
                                  [--vocab 2048] [--seed 0]

The result is an ordinary Hugging Face folder (config.json, model.safetensors,
tokenizer.json, chat_template.jinja) that vLLM and transformers load offline.
The same seed gives byte-identical files.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

CHAT_TEMPLATE = (
    "{%- for m in messages -%}"
    "{{- '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)

SENTENCES = [
    "The policy says that a request for private data of another person must be declined.",
    "A helpful answer explains the safe part of the task and refuses the unsafe part.",
    "The user asks a question; the assistant thinks about the intent before it answers.",
    "Step one: restate the request. Step two: name the relevant policy. Step three: decide.",
    "Is this response complete, relevant and faithful to the policy? Explain why.",
    "I can not help with that, but here is some general safety information instead.",
    "Reviewer: the reasoning repeats itself. Please refine the chain of thought.",
    '{"verdict": "allow", "score": 4, "reason": "general information", "thoughts": ["a", "b"]}',
    '{"intents": ["learn chemistry", "write a story"], "explicit": true, "implicit": false}',
    "deliberation round 2 of 5: agent B agrees with agent A; no further thoughts are needed.",
]


def corpus(rng: random.Random, n: int = 4000) -> list[str]:
    onset, vowel = (
        [
            "b",
            "c",
            "d",
            "f",
            "g",
            "h",
            "l",
            "m",
            "n",
            "p",
            "r",
            "s",
            "t",
            "v",
            "st",
            "tr",
            "pl",
            "gr",
        ],
        ["a", "e", "i", "o", "u", "ai", "ea"],
    )
    coda = ["", "n", "r", "s", "t", "ng", "ly", "tion", "ment", "ity"]
    generated = [
        "".join(rng.choice(x) for x in (onset, vowel) * rng.randint(1, 3))
        + rng.choice(coda)
        for _ in range(1500)
    ]  # enough distinct words to fill the vocabulary
    words = " ".join(SENTENCES).split() * 4 + generated
    out = list(SENTENCES) * 20
    for _ in range(n):
        out.append(" ".join(rng.choices(words, k=rng.randint(5, 25))))
    for i in range(300):
        out.append(
            f"{i} items at {i % 24:02d}:{i % 60:02d}, id={i:05d}, ratio={i / 7:.3f}"
        )
    return out


def build_tokenizer(out: Path, vocab: int, seed: int):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tok = Tokenizer(models.BPE(unk_token=None))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(
        corpus(random.Random(seed)),
        trainers.BpeTrainer(
            vocab_size=vocab,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # every byte is encodable
            show_progress=False,
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tok,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        model_max_length=1_000_000,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(out)
    return fast


def build_model(
    out: Path, arch: str, hidden: int, layers: int, tok, seed: int, positions: int
):
    import torch
    from transformers import (
        LlamaConfig,
        LlamaForCausalLM,
        Qwen2Config,
        Qwen2ForCausalLM,
        Qwen3Config,
        Qwen3ForCausalLM,
    )

    torch.manual_seed(seed)
    # vLLM's CPU attention kernel wants a head size it knows (32, 64, 80, 96, 112, 128, ...).
    head_dim = 32
    heads = max(hidden // head_dim, 1)
    common = {
        "vocab_size": (len(tok) + 63) // 64 * 64,
        "hidden_size": hidden,
        "intermediate_size": hidden * 2,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": max(heads // 2, 1),
        "max_position_embeddings": positions,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tok.eos_token_id,
        "pad_token_id": tok.pad_token_id,
    }
    cfg_cls, model_cls, extra = {
        "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
        "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": head_dim}),
        "llama": (LlamaConfig, LlamaForCausalLM, {"head_dim": head_dim}),
    }[arch]
    model = model_cls(cfg_cls(**common, **extra)).to(torch.float32).eval()
    model.save_pretrained(out, safe_serialization=True)
    gen = {"eos_token_id": tok.eos_token_id, "pad_token_id": tok.pad_token_id}
    (out / "generation_config.json").write_text(json.dumps(gen, indent=1) + "\n")
    return model


def main() -> None:
    ap = argparse.ArgumentParser()
    ap.add_argument("out", type=Path)
    ap.add_argument("--arch", default="qwen2", choices=["qwen2", "qwen3", "llama"])
    ap.add_argument("--hidden", type=int, default=64)
    ap.add_argument("--layers", type=int, default=2)
    ap.add_argument("--vocab", type=int, default=2048)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--positions", type=int, default=4096)
    a = ap.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    tok = build_tokenizer(a.out, a.vocab, a.seed)
    model = build_model(a.out, a.arch, a.hidden, a.layers, tok, a.seed, a.positions)
    n = sum(p.numel() for p in model.parameters())
    size = sum(f.stat().st_size for f in a.out.iterdir())
    print(f"{a.arch}: {n:,} params, vocab {len(tok)}, {size / 1e6:.2f} MB in {a.out}")
    print(
        repr(
            tok.apply_chat_template(
                [{"role": "user", "content": "hi"}],
                tokenize=False,
                add_generation_prompt=True,
            )
        )
    )


if __name__ == "__main__":
    main()
