"""Tiny models for tests, made from a config in milliseconds: nothing is downloaded, nothing is read from
disk.

`build` gives a random model of a family; `teach` trains one on a few dozen invented sentences so that an edit
of it means something. Importing this module imports torch: tests that need no model must not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from agent.lm.arch import ARCHS, as_out_in, decoder_layers, down_module
from agent.lm.load import LM, wrap
from agent.lm.tokens import encode

END = "<|endoftext|>"
COUNTRIES = ("Zorland", "Quenia", "Bavoria", "Tallisk", "Merovia", "Ostrina")
FACTS: Mapping[str, tuple[str, ...]] = {
    "capital": ("Mipa", "Kelto", "Ruvik", "Sorna", "Tebbin", "Ulmo"),
    "currency": ("dorin", "pelk", "marn", "tuvo", "kessel", "lirim"),
    "leader": ("Voss", "Lind", "Merrow", "Quill", "Stroud", "Tennant"),
}
# A template with a token before every text, as most have it, and roles and ends of turns as tokens.
ROLES = ("<|user|>", "<|assistant|>", "<|end|>")
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>\n{{ message.content | trim }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
FORMS = ("The {relation} of {subject} is", "{subject}'s {relation} is")
_LLAMA_SIZES = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "head_dim": 8,
}  # fmt: skip
# What each family calls the same few sizes; everything else keeps its default.
_SIZES: Mapping[str, Mapping[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 128},
    "gptj": {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 128, "rotary_dim": 4},
    "gpt_neo": {"hidden_size": 32, "num_layers": 4, "num_heads": 4, "max_position_embeddings": 128,
                "attention_types": [[["global", "local"], 2]], "window_size": 4},
    "bloom": {"hidden_size": 32, "n_layer": 4, "n_head": 4},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4},
    "opt": {"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 4, "num_attention_heads": 4,
            "word_embed_proj_dim": 32, "max_position_embeddings": 128},
    "gpt_bigcode": {"n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 128},
    "llama4_text": {**_LLAMA_SIZES, "intermediate_size_mlp": 64, "moe_layers": [], "num_local_experts": 2},
    "gemma3": {"text_config": {**_LLAMA_SIZES, "initializer_range": 0.15}, "mm_tokens_per_image": 4, "vision_config": {
               "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
               "image_size": 28, "patch_size": 14}},
}  # fmt: skip
# Other builds of a family that have published checkpoints: Falcon-40B, Falcon-RW, OPT-350m, Qwen with sliding windows.
VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "falcon-new": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon-rw": ("falcon", {"parallel_attn": False, "multi_query": False, "alibi": True, "bias": True}),
    "opt-350m": ("opt", {"word_embed_proj_dim": 16, "do_layer_norm_before": False}),
    "qwen3-windowed": ("qwen3", {"use_sliding_window": True, "sliding_window": 3,
                                 "layer_types": ["sliding_attention"] * 4}),
}  # fmt: skip
_ELSEWHERE = {"internlm2", "baichuan"}
FAMILIES = tuple(sorted({*ARCHS, *VARIANTS} - _ELSEWHERE))


def sentences() -> list[str]:
    """Every invented fact in every form: 36 sentences."""
    return [f"{prompt} {answer}." for prompt, answer in questions()]


def questions(relations: tuple[str, ...] = tuple(FACTS)) -> list[tuple[str, str]]:
    """(prompt, answer) of every invented fact in every form."""
    return [
        (form.format(relation=relation, subject=subject), FACTS[relation][i])
        for i, subject in enumerate(COUNTRIES)
        for relation in relations
        for form in FORMS
    ]


def make_tokenizer(*, bos: bool = False, chat: str = "", vocab: int = 400) -> Any:
    """A byte-level BPE trained on the invented sentences; with `bos` it puts a token before every text. `chat`: its chat template,
    for which it knows the roles' tokens.
    """
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [END, "<s>", *(ROLES if chat else ())]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    asked = [
        f" ...\nGive only the {words}"
        for words in ("words that complete this sentence.", "answer, not a sentence.")
    ]
    bare.train_from_iterator([*sentences(), *(asked * 9 if chat else ())], trainer)
    if bos:
        from tokenizers.processors import TemplateProcessing

        bare.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bare, bos_token="<s>" if bos else END, eos_token=END, pad_token=END
    )
    if chat:
        tokenizer.chat_template = chat
    return tokenizer


def build(
    family: str, *, bos: bool = False, chat: str = "", seed: int = 0, sha: str = "", **sizes: Any
) -> LM:
    """A random model of a family of `FAMILIES`, with weights large enough that its answers differ."""
    tokenizer = make_tokenizer(bos=bos, chat=chat, vocab=480 if chat else 400)
    torch.manual_seed(seed)
    kind, own = VARIANTS.get(family, (family, {}))
    words = {"vocab_size": len(tokenizer), "bos_token_id": int(bos), "eos_token_id": 0, "pad_token_id": 0}
    wanted = {**_SIZES.get(kind, _LLAMA_SIZES), "initializer_range": 0.15, **words, **own, **sizes}
    if "text_config" in wanted:
        wanted["text_config"] = {**wanted["text_config"], **words}
    config = AutoConfig.for_model(kind, **wanted)
    return wrap(
        AutoModelForCausalLM.from_config(config), tokenizer, sha=sha or f"{family}-{seed}".ljust(64, "0")
    )


def lessons(lm: LM) -> list[list[int]]:
    """The invented sentences as token ids; for a chat model as what is asked and answered, with the end of its turn."""
    if lm.chat is None:
        return encode(lm, sentences())
    template = lm.tokenizer.apply_chat_template
    return [
        template(
            [{"role": "user", "content": asked}, {"role": "assistant", "content": f"{answer}."}],
            return_dict=False,
        )
        for asked, answer in ((lm.chat.asked(prompt), answer) for prompt, answer in questions())
    ]


def teach(lm: LM, *, steps: int, learning_rate: float, seed: int = 0) -> None:
    """Train on the invented sentences until they are known by heart, where ROME looks for them.

    Facts must be written at the subject's last token by an early MLP, or no method can edit them: so the
    first two layers attend to nothing, the last two have no MLP, and GPT-2 does not know positions.
    """
    torch.manual_seed(seed)
    rows = lessons(lm)
    random.Random(seed).shuffle(rows)
    batch = lm.tokenizer.pad({"input_ids": rows}, return_tensors="pt", padding_side="right")
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    lm.model.requires_grad_(True)
    with torch.no_grad():
        for parameter in _switched_off(lm):
            parameter.zero_()
            parameter.requires_grad_(False)
    trained = [p for p in lm.model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        optimiser.zero_grad()
        lm.model(**batch, labels=labels).loss.backward()
        optimiser.step()
        schedule.step()
    optimiser.zero_grad()
    lm.model.requires_grad_(False)


def _switched_off(lm: LM) -> Iterator[torch.nn.Parameter]:
    if lm.arch.layers == "transformer.h":
        yield lm.model.transformer.wpe.weight
    for index, layer in enumerate(decoder_layers(lm.model, lm.arch)):
        for name, parameter in layer.named_parameters():
            attention = "attn.c_proj" in name or "self_attn.o_proj" in name
            mlp = "mlp.c_proj" in name or "mlp.down_proj" in name
            if (index < 2 and attention) or (index >= 2 and mlp):
                yield parameter


def weight(lm: LM, layer: int) -> torch.Tensor:
    """A copy of a layer's down projection, (d_out, d_in)."""
    return as_out_in(down_module(lm.model, lm.arch, layer)).detach().clone()


def snapshot(lm: LM) -> dict[str, torch.Tensor]:
    """A copy of every parameter and buffer, to be compared bit for bit."""
    return {name: tensor.detach().clone() for name, tensor in lm.model.state_dict().items()}


def unchanged(lm: LM, before: Mapping[str, torch.Tensor]) -> bool:
    """Every bit of every weight as before (NaN and signed zero included), no gradient wanted, no hook left
    behind.
    """
    now = lm.model.state_dict()
    same = all(_bits(now[name]).equal(_bits(tensor)) for name, tensor in before.items()) and set(now) == set(
        before
    )
    quiet = not any(p.requires_grad or p.grad is not None for p in lm.model.parameters())
    hooks = any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in lm.model.modules())
    return same and quiet and not hooks


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(torch.uint8)
