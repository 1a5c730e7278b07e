"""The base of the tasks of language modelling: predict the next token of a text."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from comparisons.data.text import PTB, Corpus, Tokenizer, ptb_corpus, topics_corpus
from comparisons.tasks import Batch, Task

EVALUATION_STREAMS = 10


class LanguageModelling(Task):
    r"""Predict the next token of a text: loss mean cross-entropy, in nats.

    The text is laid out as in PyTorch's example word_language_model: cut into as many streams of
    equal length as the batch has columns, its last few tokens dropped, and read T steps at a time.
    A batch goes on where the one before ended, so the state is carried over, and gradients reach
    back T steps at most (truncated backpropagation). The last batch of an epoch is shorter; then
    the text starts anew, from a zero state and in the same order. The 14 tokens a b ... n in two
    streams, at T = 4::

        batch        first            second
        continues    False            True
        input        a b c d          e f
                     h i j k          l m
        target       b c d e          f g
                     i j k l          m n

    Validation and test texts are laid out likewise, in at most 10 streams, as in the example. There
    a "sequence", as ``test_size`` of a setting counts them, is T steps of one stream; a number that
    is larger than the text takes the whole of it.

    Attributes:
        unit: What a token is.
        limit: Largest number of kinds of tokens of the documentation topics; None is all.
        tokenizer: Splits a line of the text into tokens.
    """

    loss_name = "cross-entropy (nats per token)"
    accuracy_name = "share of tokens guessed"
    baseline_formula = "cross-entropy of the training text's frequencies on the test text"
    memoryless_formula = "the same, of its frequencies after the present token"
    shortest = 1
    variants: ClassVar[dict[str, str]] = {
        "topics": "Python's documentation",
        "ptb": "Penn Treebank",
    }
    real = "ptb"
    dataset = PTB
    tokens = True
    per_step = True
    unit: ClassVar[str]
    limit: ClassVar[int | None] = None
    tokenizer: ClassVar[Tokenizer]

    @cached_property
    def corpus(self) -> Corpus:
        """The text; read when it is first needed, so that a report need not read it."""
        tokenizer = type(self).tokenizer
        if self.variant == self.real:
            return ptb_corpus(tokenizer)
        return topics_corpus(tokenizer, self.limit)

    @property
    def input_size(self) -> int:
        """Number of kinds of tokens."""
        return len(self.corpus.vocabulary)

    @property
    def output_size(self) -> int:
        """A score for each kind of token."""
        return len(self.corpus.vocabulary)

    @property
    def data(self) -> str:
        """Name and sizes of the text."""
        topics = f"documentation topics of Python {platform.python_version()}"
        source = "Penn Treebank" if self.variant == self.real else topics
        return f"{source} by {self.unit}: {self.corpus.counts()}"

    @property
    def baseline(self) -> float:
        r""":math:`-\frac{1}{N} \sum_t \log p(x_t)`, p(x) = (count of x + 1) / (all counts + kinds).

        The sum is over the N tokens of the test text, and the counts are those of the training
        text; adding 1 keeps unseen tokens possible. Such a predictor knows how common each token
        is and nothing else.
        """
        return -self._frequencies.log()[self.corpus.test].mean().item()

    @cached_property
    def _frequencies(self) -> Tensor:
        """p(x) of every kind of token, see :attr:`baseline`."""
        counts = torch.bincount(self.corpus.train, minlength=self.output_size).double() + 1
        return counts / counts.sum()

    @cached_property
    def memoryless(self) -> float:
        r""":math:`-\frac{1}{N-1} \sum_t \log p(x_{t+1} | x_t)`, by the pairs of the training text.

        :math:`p(y|x) = (c(x, y) + k(x) p(y)) / (c(x) + k(x))`, where c counts in the training text,
        k(x) is the number of kinds of tokens that follow x there, and p(y) that of
        :attr:`baseline` (Witten and Bell, 1991, The zero-frequency problem). No predictor from
        pairs is known to be the best; a count without smoothing has an infinite loss.
        """
        kinds, train, test = self.output_size, self.corpus.train, self.corpus.test
        pairs, counts = torch.unique(train[:-1] * kinds + train[1:], return_counts=True)
        before = torch.div(pairs, kinds, rounding_mode="floor")
        followers = torch.bincount(before, minlength=kinds).double()
        occurrences = torch.bincount(train[:-1], minlength=kinds).double()
        asked = test[:-1] * kinds + test[1:]
        place = torch.searchsorted(pairs, asked).clamp(max=len(pairs) - 1)
        seen = torch.where(pairs[place] == asked, counts[place].double(), 0.0)
        x, y = test[:-1], test[1:]
        # A token that the training text ends with may have no follower: then p(y) is left.
        k = followers[x].clamp(min=1.0)
        return -((seen + k * self._frequencies[y]) / (occurrences[x] + k)).log().mean().item()

    def train_batches(self, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """The training text, again and again; nothing is drawn from the generator."""
        while True:
            yield from _segments(_streams(self.corpus.train, size), self.length)

    def test_batches(self, size: int, count: int, generator: torch.Generator) -> Iterator[Batch]:
        """The first ``count`` segments of the test text, rounded up to whole batches."""
        return self._evaluation(self.corpus.test, size, count)

    def valid_batches(self, size: int, count: int) -> Iterator[Batch]:
        """The first ``count`` segments of the validation text, rounded up to whole batches."""
        return self._evaluation(self.corpus.valid, size, count)

    def _evaluation(self, text: Tensor, size: int, count: int) -> Iterator[Batch]:
        size = min(size, count, EVALUATION_STREAMS)
        steps = self.length * math.ceil(count / size)
        return _segments(_streams(text, size)[: steps + 1], self.length)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy, in nats."""
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    def accuracy(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Share of the tokens that are the likeliest by the outputs."""
        return (outputs.argmax(-1) == targets).to(torch.float32).mean()


def _streams(text: Tensor, size: int) -> Tensor:
    """``size`` consecutive pieces of equal length as columns (steps, size).

    Raises:
        ValueError: A piece has less than two tokens.
    """
    steps = len(text) // size
    if steps < 2:
        raise ValueError(
            f"a text of {len(text)} tokens is too short for a batch of {size}; "
            f"take at most {len(text) // 2}"
        )
    return text[: steps * size].view(size, steps).T.contiguous()


def _segments(streams: Tensor, length: int) -> Iterator[Batch]:
    """Batches of at most ``length`` steps; the targets are the tokens one step later."""
    for start in range(0, len(streams) - 1, length):
        end = min(start + length, len(streams) - 1)
        yield Batch(streams[start:end], streams[start + 1 : end + 1], continues=start > 0)
