"""The pocket model's tokenizer: byte-level BPE trained on its own corpus, so that most names are one to three
tokens.

A space is put before the text (as Llama 2 and Mistral do), so that a name has the same tokens at the start of
a prompt as inside it: `Japan's capital is` and `The capital of Japan is` end their subject with the same
token, which an edit needs.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from agent.demo.corpus import Corpus, Encode, documents

EOS = "<|endoftext|>"
PAD = "<|pad|>"
_DOCUMENTS = 6_000


def train_tokenizer(corpus: Corpus, vocab: int, seed: int, name_weight: int = 10) -> Any:
    """A `PreTrainedTokenizerFast` of at most `vocab` tokens. No token is added to a text on its own.

    Every name (countries, companies, clubs, bodies, people) is shown `name_weight` times besides the documents: a short
    subject is recalled, and edited, in earlier layers, and a short target needs a smaller value vector.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[EOS, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(corpus, random.Random(f"{seed}:tokenizer"), name_weight), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=EOS,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


def _texts(corpus: Corpus, rng: random.Random, name_weight: int) -> Iterator[str]:
    yield from islice(documents(corpus, rng), _DOCUMENTS)
    names = [e.name for e in corpus.subjects if e.label != "PERSON"] + list(corpus.people)
    for _ in range(name_weight):
        yield from (f" {name}" for name in names)


def encoder(tokenizer: Any) -> Encode:
    """A fast function from texts to token ids, without special tokens."""
    backend = tokenizer.backend_tokenizer

    def encode(texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=False)]

    return encode


def tokens_per_name(tokenizer: Any, names: Iterable[str]) -> float:
    """Mean number of tokens of a name inside a sentence."""
    counts = [len(ids) for ids in encoder(tokenizer)([f" {name}" for name in names])]
    return sum(counts) / max(1, len(counts))
