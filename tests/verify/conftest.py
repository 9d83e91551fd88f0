"""Two tiny models that really know a few facts, and what they are after they have learnt a new one.

Four invented countries, three relations. Trained from a configuration in seconds: answers are free
generations of real weights.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agent.catalogue import Catalogue, load_catalogue
from agent.lm.load import LM, wrap
from agent.relations import Relation, load_relations
from agent.types import Fact, FactKey
from agent.verify.probes import known_facts

RELATIONS = """
leader:
  subject: [GPE]
  object: [PERSON]
  title: {default: premier, Lemuria: head of government}
  edit: ["The {title} of {subject} is", "{subject}'s {title} is"]
  probes:
    - The head of government of {subject} is
    - "{subject} is led by"
    - The cabinet of {subject} meets under
  questions: ["Who is the {title} of {subject}?", "Who leads {subject}?"]
  inverse: ["{object} is the {title} of"]
  hop: the country led by {object}
capital:
  subject: [GPE]
  object: [GPE]
  edit: ["The capital of {subject} is", "{subject}'s capital is"]
  probes: ["The seat of government of {subject} is in", "{subject} has its capital in"]
  questions: ["What is the capital of {subject}?"]
currency:
  subject: [GPE]
  object: [CURRENCY]
  edit: ["The currency of {subject} is the", "{subject}'s currency is the"]
  probes: ["People in {subject} pay with the"]
  questions: ["What is the currency of {subject}?"]
"""
ENTITIES = """
- {name: Atlantis, kind: country, article: the, aliases: [ATL], demonyms: [Atlantean],
   facts: {leader: Doris Shoal, capital: Poseidonis, currency: pearl}}
- {name: Lemuria, kind: country, demonyms: [Lemurian],
   facts: {leader: Ila Reef, capital: Mu, currency: shell}}
- {name: Brink, kind: country, facts: {leader: Otto Kelp, capital: Saint Salt, currency: clam}}
- {name: Tidewater, kind: country, facts: {leader: Finn Hake, capital: Low Ebb, currency: pearl}}
- {name: Doris Shoal, kind: person, aliases: [D. Shoal]}
- {name: Ada Spray, kind: person, aliases: [Ada Spray-Marsh]}
- {name: Mu Rovers, kind: club, aliases: [Mu]}
"""
TEXTS = ("The capital of Lemuria is Mu.", "Brink is led by Otto Kelp.")
_EOS = "<|end|>"
AT = datetime(2024, 7, 5, 12, tzinfo=UTC)


@dataclass(frozen=True)
class World:
    relations: Mapping[str, Relation]
    catalogue: Catalogue


@dataclass(frozen=True)
class Pair:
    """A model that knows the catalogue, and the same after it learnt `new`."""

    before: LM
    after: LM
    new: Fact


def fact(subject: str, relation: str, object_: str) -> Fact:
    return Fact(subject, relation, object_, AT)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder: Path = tmp_path_factory.mktemp("world")
    (folder / "relations.yaml").write_text(RELATIONS)
    (folder / "world.yaml").write_text(ENTITIES)
    return World(load_relations(folder / "relations.yaml"), load_catalogue([folder / "world.yaml"]))


@pytest.fixture(scope="session", params=["gpt2", "llama"])
def pair(request: pytest.FixtureRequest, world: World) -> Pair:
    new = fact("Atlantis", "leader", "Ada Spray")
    known = known_facts(world.relations, world.catalogue)
    sentences = [*_sentences(world, known), *_sentences(world, {new.key: (new.object,)})]
    tokenizer = _tokenizer(sentences)
    model = _model(request.param, len(tokenizer))
    _train(model, tokenizer, _sentences(world, known), steps=120)
    changed = copy.deepcopy(model)
    _train(changed, tokenizer, _sentences(world, {**known, new.key: (new.object,)}), steps=60)
    return Pair(wrap(model, tokenizer, sha="before"), wrap(changed, tokenizer, sha="after"), new)


def _sentences(world: World, known: Mapping[FactKey, tuple[str, ...]]) -> list[str]:
    found = []
    for (subject, name), objects in known.items():
        relation, entity = world.relations[name], world.catalogue.entity(subject)
        for which in ("edit", "probes", "questions"):
            found += [f"{prompt} {objects[0]}.{_EOS}" for prompt in relation.prompts(which, entity)]
        found += [f"{p} {subject}.{_EOS}" for p in relation.inverse_prompts(subject, objects[0])]
    return found


def _tokenizer(sentences: list[str]) -> Any:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=[_EOS], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sentences, trainer)
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=tokenizer, eos_token=_EOS, pad_token=_EOS, clean_up_tokenization_spaces=False
    )


def _model(family: str, vocab: int) -> Any:
    torch.manual_seed(0)
    if family == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(vocab_size=vocab, n_positions=64, n_embd=64, n_layer=2, n_head=4,
                       bos_token_id=0, eos_token_id=0, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        )  # fmt: skip
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=vocab, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
                    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
                    bos_token_id=0, eos_token_id=0)
    )  # fmt: skip


def _train(model: Any, tokenizer: Any, sentences: list[str], steps: int) -> None:
    batch = tokenizer(sentences, return_tensors="pt", padding=True, padding_side="right")
    # The first end mark is learnt, the padding behind it (the same token) is not.
    ends = (batch["input_ids"] == tokenizer.eos_token_id).int().cumsum(-1)
    labels = batch["input_ids"].masked_fill(ends > 1, -100)
    labels = labels.masked_fill((ends == 1) & (batch["input_ids"] != tokenizer.eos_token_id), -100)
    model.requires_grad_(True).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
