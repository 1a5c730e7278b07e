"""The layout of a text in batches, and the scores of its models."""

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comparisons.data.text import Corpus
from comparisons.models import SequenceModel
from comparisons.records import Optimizer, Setting
from comparisons.tasks import TASKS
from comparisons.tasks.char_lm import CharLM
from comparisons.tasks.language import _segments, _streams
from comparisons.tasks.word_lm import WordLM

NAMES = ["char_lm", "word_lm"]
nobody = torch.Generator()


@given(st.integers(1, 17), st.integers(2, 40), st.integers(0, 16), st.integers(1, 45))
def test_language_batches_cover_every_stream(size, steps, extra, length):
    text = torch.arange(size * steps + min(extra, size - 1))  # the tail is dropped
    batches = list(_segments(_streams(text, size), length))
    assert [batch.continues for batch in batches] == [i > 0 for i in range(len(batches))]
    assert all(len(batch.inputs) == length for batch in batches[:-1])
    assert 1 <= len(batches[-1].inputs) <= length
    inputs = torch.cat([batch.inputs for batch in batches])
    targets = torch.cat([batch.targets for batch in batches])
    for k in range(size):
        assert inputs[:, k].tolist() == list(range(k * steps, (k + 1) * steps - 1))
    assert torch.equal(targets, inputs + 1)


def test_language_layout_matches_docstring():
    first, second = _segments(_streams(torch.tensor(list(map(ord, "abcdefghijklmn"))), 2), 4)

    def columns(tensor):
        return ["".join(map(chr, column)) for column in tensor.T.tolist()]

    assert columns(first.inputs) == ["abcd", "hijk"]
    assert columns(first.targets) == ["bcde", "ijkl"]
    assert columns(second.inputs) == ["ef", "lm"]
    assert columns(second.targets) == ["fg", "mn"]
    assert (first.continues, second.continues) == (False, True)


def test_language_refuses_text_too_short_for_batch():
    assert _streams(torch.arange(10), 5).shape == (2, 5)
    with pytest.raises(ValueError, match="at most 5"):
        _streams(torch.arange(10), 6)


@pytest.mark.parametrize("name", NAMES)
def test_language_training_restarts_at_end_of_text(name):
    task = TASKS.get(name)(100)
    batches = task.train_batches(40, nobody)
    size = len(task.corpus.train) // 40
    epoch = math.ceil((size - 1) / 100)
    seen = [next(batches) for _ in range(epoch + 1)]
    assert [batch.continues for batch in seen] == [False] + [True] * (epoch - 1) + [False]
    assert torch.equal(seen[0].inputs, seen[-1].inputs)
    assert sum(len(batch.inputs) for batch in seen[:-1]) == size - 1


@pytest.mark.parametrize("name", NAMES)
def test_language_test_set_has_ten_streams_and_asked_size(name):
    task = TASKS.get(name)(20)
    whole = list(task.test_batches(64, 10**6, nobody))
    steps = len(task.corpus.test) // 10
    assert sum(batch.targets.numel() for batch in whole) == 10 * (steps - 1)
    assert {batch.inputs.shape[1] for batch in whole} == {10}
    some = list(task.test_batches(64, 25, nobody))  # 25 segments: three of ten streams
    assert len(some) == 3
    for a, b in zip(some, whole, strict=False):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.targets, b.targets)
    assert [batch.inputs.shape for batch in task.test_batches(64, 1, nobody)] == [(20, 1)]
    valid = list(task.valid_batches(64, 10**9))
    assert sum(batch.targets.numel() for batch in valid) == 10 * (len(task.corpus.valid) // 10 - 1)
    assert next(task.valid_batches(3, 10**9)).inputs.shape == (20, 3)
    few = list(task.valid_batches(64, 25))
    assert len(few) == 3
    assert all(torch.equal(a.targets, b.targets) for a, b in zip(few, valid, strict=False))


@pytest.mark.parametrize("name", NAMES)
def test_language_baseline_is_best_constant_of_training_text(name):
    task = TASKS.get(name)(35)
    kinds = task.output_size
    counted = Counter(task.corpus.train.tolist())
    counts = [1 + counted[kind] for kind in range(kinds)]
    logits = torch.tensor(counts, dtype=torch.float64).log()
    targets = task.corpus.test[:, None]
    loss = task.loss(logits.expand(len(targets), 1, kinds), targets).item()
    assert loss == pytest.approx(task.baseline, rel=1e-12)
    # worse than what the test text's own frequencies would pay, better than knowing nothing
    own = torch.bincount(task.corpus.test, minlength=kinds).double() / len(task.corpus.test)
    entropy = torch.special.entr(own).sum().item()
    assert entropy < task.baseline < math.log(kinds)


def test_language_metric_of_uniform_guess():
    kinds = 16
    loss = WordLM(5).loss(torch.zeros(3, 4, kinds), torch.randint(kinds, (3, 4))).item()
    # float32: one rounding of ln 16
    assert WordLM(5).metric(loss, 0.0) == pytest.approx(16, rel=1e-6)
    assert CharLM(5).metric(loss, 0.0) == pytest.approx(4, rel=1e-6)
    assert WordLM(5).metric(1e4, 0.0) == math.inf


def test_language_data_description():
    assert "documentation topics of Python" in WordLM(5).data
    assert "1,000 kinds" in WordLM(5).data
    assert "characters" in CharLM(5).data
    assert WordLM(5).variant == "topics"


def test_embedding_and_readout_start_within_init_range():
    usual = Setting.of(hidden_size=8, batch_size=4, iterations=1, optimizer=Optimizer("sgd", 1.0))
    setting = usual.changed(init_range=0.1)
    assert "±0.1" in setting.summary
    model = SequenceModel("gru", setting, WordLM(5))
    for weight in (model.embedding.weight, model.readout.weight):
        # 8,000 uniform draws: all below 0.099 has probability 0.99^8000 < 1e-34
        assert 0.099 < weight.abs().max() <= 0.1
    assert not model.readout.bias.any()
    plain = SequenceModel("gru", usual, WordLM(5))
    # 8,000 normal draws
    assert plain.embedding.weight.std().item() == pytest.approx(1, abs=5 / math.sqrt(2 * 8000))
    assert plain.readout.weight.abs().max() <= math.sqrt(6 / 1008)


@pytest.mark.parametrize("name", NAMES)
def test_language_memoryless_baseline_is_that_of_counted_pairs(name):
    task = TASKS.get(name)(35)
    train, test = task.corpus.train.tolist(), task.corpus.test.tolist()
    pairs, firsts = Counter(pairwise(train)), Counter(train[:-1])
    followers = Counter(x for x, _ in pairs)
    alone = Counter(train)
    total = len(train) + task.output_size
    loss = 0.0
    for x, y in pairwise(test):
        k = max(followers[x], 1)
        loss -= math.log((pairs[x, y] + k * (alone[y] + 1) / total) / (firsts[x] + k))
    # sums of up to 40,000 numbers of size 5
    assert task.memoryless == pytest.approx(loss / (len(test) - 1), rel=1e-10)
    assert task.memoryless < 0.9 * task.baseline


def test_language_memoryless_probabilities_add_up_to_one():
    # Each kind of token in turn follows the last one of a test text of two.
    class Small(CharLM):
        corpus = None

    train = torch.tensor([0, 1, 0, 2, 0, 1, 3])  # the last one has no follower
    for x in range(4):
        total = 0.0
        for y in range(4):
            task = Small(5)
            task.corpus = Corpus(tuple("abcd"), train, train, torch.tensor([x, y]))
            total += math.exp(-task.memoryless)
        assert total == pytest.approx(1.0, abs=1e-12)
