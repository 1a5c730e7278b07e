"""Language modelling by characters; on the Penn Treebank, that of Kerg et al. (2019)."""

from __future__ import annotations

import math

from comparisons.tasks import TASKS
from comparisons.tasks.language import LanguageModelling


@TASKS.register("char_lm")
class CharLM(LanguageModelling):
    r"""Predict the next character; reported in bits, :math:`\text{loss} / \ln 2`.

    The end of a line is a character of its own, and ``<unk>`` of the Penn Treebank is five.
    """

    name = "char_lm"
    title = "Language modelling by characters"
    loss_name = "cross-entropy (nats per character)"
    accuracy_name = "share of characters guessed"
    metric_name = "test bits per character"
    unit = "characters"
    tokenizer = iter

    def metric(self, loss: float, accuracy: float) -> float:
        """Bits per character."""
        return loss / math.log(2)
