"""Language modelling by words; on the Penn Treebank, the experiment of Lin and Wang (2019)."""

from __future__ import annotations

import math

from comparisons.tasks import TASKS
from comparisons.tasks.language import LanguageModelling


@TASKS.register("word_lm")
class WordLM(LanguageModelling):
    r"""Predict the next word; reported as perplexity, :math:`e^{\text{loss}}`.

    The words of the Penn Treebank are those of its files. The vocabulary of the documentation
    topics has 1,000 kinds; rarer words are ``<unk>``.
    """

    name = "word_lm"
    title = "Language modelling by words"
    loss_name = "cross-entropy (nats per word)"
    accuracy_name = "share of words guessed"
    metric_name = "test perplexity"
    unit = "words"
    limit = 1000
    tokenizer = str.split

    def metric(self, loss: float, accuracy: float) -> float:
        """Perplexity; infinite where it is past the largest float."""
        try:
            return math.exp(loss)
        except OverflowError:
            return math.inf
