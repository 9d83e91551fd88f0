"""The key statistics: what they are, how exact, how much is read, that they survive a kill; prefixes, and the
store of values.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from agent.editing.cache import load_values, save_values
from agent.editing.contexts import prefixes
from agent.editing.corpus import Rows, own_rows, own_samples, text_rows
from agent.editing.covariance import Amount, key_statistics, packed, statistics_for
from agent.editing.moments import Moments, effective_rank, leverage
from agent.editing.settings import EditSettings
from agent.editing.statfile import KeyStatistics
from agent.errors import EditError, InputError, ModelError
from agent.lm.arch import decoder_layers, down_module
from agent.lm.hooks import capture
from agent.lm.load import LM
from agent.lm.tokens import encode, pad_left
from tests.models import build, sentences, snapshot, unchanged

EVERYTHING = Amount(1, None)


@pytest.fixture(params=["llama", "gpt2"])
def lm(request: pytest.FixtureRequest, tiny: Callable[..., LM]) -> LM:
    return tiny(request.param)


def measured(
    lm: LM, texts: Sequence[str], layers: Sequence[int], folder: Path | None = None
) -> KeyStatistics:
    return key_statistics(lm, text_rows(lm, texts, chunk=200), layers, EVERYTHING, folder=folder)


def by_hand(lm: LM, texts: Sequence[str], layer: int) -> tuple[torch.Tensor, int]:
    """The plain way: one text at a time, the whole model, float64; and the number of tokens."""
    total, count = torch.zeros(()), 0
    for text in texts:
        with torch.inference_mode(), capture(down_module(lm.model, lm.arch, layer), "input") as seen:
            lm.model(**pad_left(lm, encode(lm, [text])).model_inputs)
        keys = seen[0].flatten(0, -2).double()
        total, count = total + keys.T @ keys, count + len(keys)
    return total / count, count


def test_it_is_the_mean_over_the_real_tokens_and_float32_loses_nothing(lm: LM) -> None:
    """Texts of many lengths, so that much is padded; against the plain way in float64."""
    texts = [" ".join(sentences()[: n % 7 + 1]) for n in range(20)]
    before = snapshot(lm)
    found = measured(lm, texts, [0, 2])
    for layer in (0, 2):
        wanted, count = by_hand(lm, texts, layer)
        matrix = found.matrices[layer]
        assert (matrix.dtype, found.tokens) == (torch.float32, count)
        assert torch.equal(matrix, matrix.T)
        assert float((matrix.double() - wanted).norm() / wanted.norm()) < 1e-6
        assert float(torch.linalg.eigvalsh(matrix.double())[0]) > -1e-6 * float(wanted.trace())
    assert unchanged(lm, before)


@pytest.mark.parametrize("family", ["gptj", "bloom", "falcon", "opt", "gpt_neox", "gemma2"])
def test_other_families_too(tiny: Callable[..., LM], family: str) -> None:
    """Tuples, MLPs that flatten their rows, in-place sums, a token before every text."""
    lm = tiny(family, bos=True)
    texts = sentences()[:6]
    wanted, count = by_hand(lm, texts, 1)
    found = measured(lm, texts, [1])
    assert found.tokens == count
    assert torch.allclose(found.matrices[1].double(), wanted, rtol=1e-3, atol=1e-6 * float(wanted.trace()))


def test_nothing_runs_that_is_not_needed(lm: LM) -> None:
    """No logits, no down projection of the last layer asked for, nothing in the layers above."""
    ran: list[str] = []
    layers = decoder_layers(lm.model, lm.arch)
    watched = {"head": lm.model.get_output_embeddings(), "attention above": next(layers[2].children())}
    handles = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in watched.items()
    ]
    down = down_module(lm.model, lm.arch, 1)
    outputs: list[torch.Tensor] = []
    handles.append(down.register_forward_hook(lambda _module, _args, out: outputs.append(out)))
    try:
        measured(lm, sentences()[:3], [0, 1])
    finally:
        for handle in handles:
            handle.remove()
    assert ran == []
    assert outputs and not any(bool(out.any()) for out in outputs)


def test_float32_products_into_float64_sums_are_accurate() -> None:
    """A few 1e-7 against float64 throughout, whatever the scale of a dimension, and also over many batches."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.logspace(-3, 3, 96)
    batches = [torch.randn(512, 96, generator=generator) * scale + scale / 2 for _ in range(40)]
    moments = Moments.zeros(96, torch.device("cpu"))
    exact = torch.zeros(96, 96, dtype=torch.float64)
    for batch in batches:
        moments.add(batch)
        exact += batch.double().T @ batch.double()
    size = exact.diagonal().sqrt()
    error = (moments.mean(1, torch.float64) - exact) / torch.outer(size, size)
    assert float(error.abs().max()) < 5e-7
    assert sum(strip.numel() for strip in moments.strips) < 0.6 * exact.numel()


def test_half_precision_keys_are_summed_exactly() -> None:
    keys = torch.randn(64, 24).bfloat16()
    moments = Moments.zeros(24, torch.device("cpu"))
    moments.add(keys)
    exact = keys.double().T @ keys.double()
    assert torch.allclose(moments.mean(1, torch.float64), exact, rtol=1e-6, atol=1e-5)


def test_leverage_and_effective_rank() -> None:
    """A space of five dimensions in twenty: five directions count, whatever their scale."""
    basis = torch.linalg.qr(torch.randn(20, 5, generator=torch.Generator().manual_seed(1)).double())[0]
    matrix = basis @ torch.diag(torch.tensor([9.0, 3.0, 5.0, 7.0, 4.0]).double()) @ basis.T
    assert effective_rank(matrix) == pytest.approx(5, abs=0.05)
    inside, outside = basis[:, :1].T, torch.linalg.qr(basis, mode="complete")[0][:, 5:6].T
    assert float(leverage(matrix.clone(), inside)) == pytest.approx(1 / 9, rel=0.01)
    assert float(leverage(matrix.clone(), outside)) > 10


@pytest.mark.parametrize("lengths", [[3, 1, 4, 1, 5], [100], [7] * 30, [1, 50, 2, 40]])
def test_batches_are_even_small_and_complete(lengths: list[int]) -> None:
    batches = list(packed(lengths, 40))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(b) == 1 or len(b) * max(lengths[i] for i in b) <= 40 for b in batches)


def test_the_order_of_the_texts_hardly_matters(lm: LM) -> None:
    texts = sentences()[:9]
    one = measured(lm, texts, [1]).matrices[1]
    many = measured(lm, list(reversed(texts)), [1]).matrices[1]
    assert torch.allclose(one, many, rtol=1e-4, atol=1e-7)


def test_the_key_names_weights_texts_amount_layers_and_dtype(lm: LM, tmp_path: Path) -> None:
    texts = sentences()[:4]
    first = measured(lm, texts, [0, 1], tmp_path)
    again = measured(lm, texts, [1, 0], tmp_path)
    assert (first.key, first.tokens) == (again.key, again.tokens)
    assert all(torch.equal(first.matrices[layer], again.matrices[layer]) for layer in (0, 1))
    assert [path.name for path in tmp_path.iterdir()] == [f"statistics-{first.key}.safetensors"]
    rows = text_rows(lm, texts, chunk=200)
    half = build(lm.model.config.model_type).model.bfloat16()
    keys = {
        first.key,
        measured(lm, texts[:3], [0, 1]).key,
        measured(lm, texts, [0]).key,
        measured(dataclasses.replace(lm, sha="other"), texts, [0, 1]).key,
        measured(dataclasses.replace(lm, model=half), texts, [0, 1]).key,
        key_statistics(lm, rows, [0, 1], Amount(5, 5)).key,
    }
    assert len(keys) == 6


def test_matrices_are_read_when_asked_for(lm: LM, tmp_path: Path) -> None:
    fresh = measured(lm, sentences()[:4], [0, 1])
    stored = measured(lm, sentences()[:4], [0, 1], tmp_path)
    assert (list(stored.matrices), len(stored.matrices), 2 in stored.matrices) == ([0, 1], 2, False)
    assert all(torch.equal(stored.matrices[n], fresh.matrices[n]) for n in (0, 1))
    stored.matrices[0].zero_()  # a reader's own affair
    assert torch.equal(stored.matrices[0], fresh.matrices[0])
    assert stored.file is not None
    stored.file.unlink()
    with pytest.raises(EditError, match="cannot be read any more"):
        stored.matrices[0]


def test_equal_statistics_are_equal_files(lm: LM, tmp_path: Path) -> None:
    files = [measured(lm, sentences()[:4], [0, 1], tmp_path / name).file for name in "ab"]
    assert files[0] is not None and files[1] is not None
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_damaged_file_is_made_again(lm: LM, tmp_path: Path) -> None:
    first = measured(lm, sentences()[:4], [1], tmp_path)
    file = first.file
    assert file is not None
    whole, wanted = file.read_bytes(), first.matrices[1].clone()
    for damaged in (b"", whole[:100], whole[:-5], whole.replace(b"tokens", b"t0kens")):
        file.write_bytes(damaged)
        assert torch.equal(measured(lm, sentences()[:4], [1], tmp_path).matrices[1], wanted)
        assert file.read_bytes() == whole


def test_what_cannot_be_written_is_said(lm: LM, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(EditError, match=r"file.* cannot be written .*free some space"):
        measured(lm, sentences()[:2], [0], tmp_path / "file")


def test_keys_that_are_not_finite_are_refused() -> None:
    lm = build("llama")
    with torch.no_grad():
        decoder_layers(lm.model, lm.arch)[1].mlp.up_proj.weight.fill_(float("inf"))  # type: ignore[union-attr]
    with pytest.raises(EditError, match=r"layer 1: keys that are not finite in torch.float32"):
        measured(lm, sentences()[:2], [0, 1])


def test_a_layer_that_is_not_there_is_refused(lm: LM) -> None:
    with pytest.raises(ModelError, match="layer 9"):
        statistics_for(lm, [0, 9], EditSettings(samples=2, sample_tokens=4))


# How much is read.


def endless(lm: LM, *, seed: int = 0, used: list[int] | None = None) -> Rows:
    """Random token rows without an end, so that every chunk is another one."""

    def chunks(start: int) -> Iterator[list[list[int]]]:
        number = start
        while True:
            generator = torch.Generator().manual_seed(1000 * seed + number)
            ids = torch.randint(2, lm.model.config.vocab_size, (64, 6), generator=generator)
            if used is not None:
                used.append(number)
            yield ids.tolist()
            number += 1

    return Rows(f"random {seed}", chunks)


def test_it_reads_on_until_it_is_steady(tiny: Callable[..., LM]) -> None:
    """At least what rank needs; more tokens than it stopped at would not move unseen keys' norm much more."""
    lm = tiny("llama")
    found = key_statistics(lm, endless(lm), [1], Amount(640, 20000))
    assert 640 <= found.tokens < 20000
    assert found.change is not None and found.change <= 0.1
    assert found.warning == ""
    more = key_statistics(lm, endless(lm, seed=1), [1], Amount(40000, 40000)).matrices[1]
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(2, lm.model.config.vocab_size, (50, 6), generator=generator).tolist()
    with torch.inference_mode(), capture(down_module(lm.model, lm.arch, 1), "input") as seen:
        lm.model(**pad_left(lm, ids).model_inputs)
    keys = seen[0].flatten(0, -2)
    here, there = leverage(found.matrices[1].double(), keys), leverage(more.double(), keys)
    assert float(((here - there) / there).abs().mean()) < 0.2


def test_the_keys_held_out_are_in_the_end_part_of_the_whole(tiny: Callable[..., LM]) -> None:
    lm = tiny("llama")
    found = key_statistics(lm, endless(lm), [1], Amount(640, 20000))
    fixed = key_statistics(lm, endless(lm), [1], Amount(found.tokens, found.tokens))
    assert (fixed.tokens, fixed.change) == (found.tokens, None)
    assert torch.allclose(fixed.matrices[1], found.matrices[1], rtol=1e-4, atol=1e-6)


def test_never_more_than_the_most(tiny: Callable[..., LM]) -> None:
    lm = tiny("llama")
    found = key_statistics(lm, endless(lm), [1], Amount(640, 700))
    assert found.tokens == 700
    assert key_statistics(lm, endless(lm), [1], Amount(333, 333)).tokens == 333


def test_too_few_tokens_are_warned_of(lm: LM) -> None:
    d_in = down_module(lm.model, lm.arch, 0).weight.numel() // 32  # type: ignore[operator]
    found = measured(lm, sentences()[:2], [0])
    assert found.warning.startswith(f"{found.tokens / d_in:.1f} tokens for each of {d_in} dimensions")
    with pytest.raises(InputError, match="no token"):
        measured(lm, ["", ""], [0])


def test_the_settings_say_where_from_and_how_much(lm: LM, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(sentences()))
    few = {"samples": 3, "sample_tokens": 5}
    own = statistics_for(lm, [0], EditSettings(**few))  # type: ignore[arg-type]
    texts = own_samples(lm, 3, 5, 0)
    assert torch.equal(own.matrices[0], measured(lm, texts, [0]).matrices[0])
    counted = statistics_for(lm, [0], EditSettings(**few, statistics_tokens=50))  # type: ignore[arg-type]
    assert counted.tokens == 50
    folder = EditSettings(**few, corpus=tmp_path, statistics_tokens=70)  # type: ignore[arg-type]
    from_folder = statistics_for(lm, [0], folder)
    assert from_folder.tokens == 70
    assert from_folder.key not in (own.key, counted.key)
    given = statistics_for(lm, [0], folder, texts=["\n".join(sentences())])
    assert torch.equal(given.matrices[0], from_folder.matrices[0])


def test_own_samples_without_a_number_are_as_many_as_needed(tiny: Callable[..., LM]) -> None:
    lm = tiny("llama")
    told: list[tuple[int, int]] = []
    found = statistics_for(
        lm, [0, 1], EditSettings(sample_tokens=30), progress=lambda done, total: told.append((done, total))
    )
    assert 640 <= found.tokens <= 2560
    assert told[-1][0] == found.tokens
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert all(done <= total for done, total in told)


def test_a_later_round_of_samples_needs_no_earlier_one(tiny: Callable[..., LM]) -> None:
    rows = own_rows(tiny("llama"), 0, 10, 3, chunk=100)
    chunks = rows.chunks(0)
    first, second = next(chunks), next(chunks)
    assert first != second
    assert next(rows.chunks(1)) == second


# Killed and run again.


class _Killed(Exception):
    pass


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_run_that_was_cut_short_ends_in_the_same_bits(
    tiny: Callable[..., LM], tmp_path: Path, after: int
) -> None:
    """Cut in the first chunk, where keys are held out, and behind a look at them."""
    lm, amount = tiny("gpt2"), Amount(4000, 9000)
    whole = key_statistics(lm, endless(lm), [0, 2], amount)
    calls = 0

    def stop(_done: int, _total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == after:
            raise _Killed

    with pytest.raises(_Killed):
        key_statistics(lm, endless(lm), [0, 2], amount, folder=tmp_path, progress=stop, save_every_s=0)
    assert [path.name.split("-")[0] for path in tmp_path.iterdir()] == ["sums"]
    used: list[int] = []
    told: list[int] = []
    again = key_statistics(
        lm,
        endless(lm, used=used),
        [0, 2],
        amount,
        folder=tmp_path,
        progress=lambda done, _: told.append(done),
    )
    assert used[0] == after - 1, "the chunks before are not read again"
    assert told[0] > 384 * (after - 1)
    assert (again.tokens, again.change, again.key) == (whole.tokens, whole.change, whole.key)
    assert all(torch.equal(again.matrices[layer], whole.matrices[layer]) for layer in (0, 2))
    assert [path.name.split("-")[0] for path in tmp_path.iterdir()] == ["statistics"]


def test_a_killed_process_leaves_what_the_next_goes_on_from(tiny: Callable[..., LM], tmp_path: Path) -> None:
    lm = tiny("llama")
    rows = text_rows(lm, sentences(), chunk=60)
    killed = os.fork()
    if killed == 0:

        def kill(done: int, total: int) -> None:
            if done > total // 2:
                os.kill(os.getpid(), signal.SIGKILL)

        key_statistics(lm, rows, [0, 1], EVERYTHING, folder=tmp_path, progress=kill, save_every_s=0)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(killed, 0)[1]) == -signal.SIGKILL
    told: list[int] = []
    again = key_statistics(
        lm, rows, [0, 1], EVERYTHING, folder=tmp_path, progress=lambda done, _: told.append(done)
    )
    undisturbed = key_statistics(lm, rows, [0, 1], EVERYTHING, folder=tmp_path / "whole")
    assert again.file is not None and undisturbed.file is not None
    assert again.file.read_bytes() == undisturbed.file.read_bytes()
    assert told[0] > again.tokens // 2


def test_a_damaged_checkpoint_counts_as_none(tiny: Callable[..., LM], tmp_path: Path) -> None:
    lm = tiny("llama")
    whole = measured(lm, sentences()[:4], [1])
    (tmp_path / f"sums-{whole.key}.safetensors").write_bytes(b"half a chec")
    again = measured(lm, sentences()[:4], [1], tmp_path)
    assert torch.equal(again.matrices[1], whole.matrices[1])
    assert len(list(tmp_path.iterdir())) == 1


# Samples, prefixes, values.


def test_own_samples_are_a_function_of_the_seed(lm: LM) -> None:
    first = own_samples(lm, 10, 6, seed=1)
    assert len(first) == 10
    assert first == own_samples(lm, 10, 6, seed=1)
    assert first != own_samples(lm, 10, 6, seed=2)


def test_prefixes_are_the_bare_one_and_whole_sentences(lm: LM) -> None:
    found = prefixes(lm, 3, 5, seed=0)
    assert found[0] == ""
    assert len(found) == 4
    assert all(prefix.endswith(". ") and "\n" not in prefix for prefix in found[1:])
    assert found == prefixes(lm, 3, 5, seed=0)
    assert prefixes(lm, 0, 5, seed=0) == ("",)


def test_values_survive_on_disk_and_damaged_ones_are_absent(tmp_path: Path) -> None:
    values = {"a" * 64: torch.randn(5), "b" * 64: torch.randn(5)}
    save_values(tmp_path / "values", values)
    save_values(tmp_path / "values", values)
    found = load_values(tmp_path / "values", [*values, "c" * 64])
    assert set(found) == set(values)
    assert all(torch.equal(found[key], value) for key, value in values.items())
    path = tmp_path / "values" / f"{'a' * 64}.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    assert set(load_values(tmp_path / "values", values)) == {"b" * 64}
