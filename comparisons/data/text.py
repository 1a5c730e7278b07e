"""Text for language models: the Penn Treebank, and the documentation that comes with Python.

A source has three parts, ``train``, ``valid`` and ``test``, each a list of lines whose words are
separated by single spaces. Tokens are words, or characters, and :data:`EOS` at the end of a line.

The Penn Treebank (:data:`PTB`) in the form of Mikolov et al. (2010) consists of articles of the
Wall Street Journal: lower case, no punctuation, numbers are ``N``, and all but 9,998 words are
``<unk>``. By words it has 929,589, 73,760 and 82,430 tokens of 10,000 kinds. By characters it has
5,017,482, 393,042 and 442,423 tokens of 50 kinds, as Mikolov's files ``ptb.char``: ``<unk>`` counts
as five characters, and the blanks around a line do not count. The text is under a licence of the
Linguistic Data Consortium (LDC99T42), and no part of it comes with this project.

The topics of ``pydoc``, chapters of Python's own reference in plain text, come with every Python
(:func:`topics`). They differ a little from one version to the next.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from comparisons.data import files
from comparisons.data.files import DataSet

EOS = "<eos>"
UNKNOWN = "<unk>"
PARTS = ("train", "valid", "test")

PTB = DataSet(
    name="ptb",
    title="the Penn Treebank",
    url="https://raw.githubusercontent.com/tomsercu/lstm/master/data/",
    checksums={
        "ptb.train.txt": "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
        "ptb.valid.txt": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
        "ptb.test.txt": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
    },
)

Lines = dict[str, list[str]]
"""The lines by part."""
Tokenizer = Callable[[str], Iterable[str]]
"""A line to its tokens: ``str.split`` for words, ``iter`` for characters."""


@dataclass(frozen=True)
class Corpus:
    """Numbered tokens.

    Attributes:
        vocabulary: What the numbers 0, 1, ... stand for.
        train: (N,) token numbers for training.
        valid: (N,) token numbers for validation.
        test: (N,) token numbers for the test.
    """

    vocabulary: tuple[str, ...]
    train: Tensor
    valid: Tensor
    test: Tensor

    def counts(self) -> str:
        """A phrase with the sizes of the parts and of the vocabulary."""
        sizes = " / ".join(f"{len(part):,}" for part in (self.train, self.valid, self.test))
        return f"{sizes} tokens for training / validation / test, {len(self.vocabulary):,} kinds"


def topics_corpus(tokenizer: Tokenizer, limit: int | None = None) -> Corpus:
    """The documentation topics of the running Python as tokens; see :func:`numbered`."""
    return _topics_corpus(tokenizer, limit)


def ptb_corpus(tokenizer: Tokenizer) -> Corpus:
    """The Penn Treebank as tokens.

    Raises:
        DataError: A file is missing or damaged.
    """
    return _ptb_corpus(tokenizer, tuple(files.find(PTB).values()))


@cache
def _topics_corpus(tokenizer: Tokenizer, limit: int | None) -> Corpus:
    return numbered(topics(), tokenizer, limit)


@lru_cache(maxsize=2)
def _ptb_corpus(tokenizer: Tokenizer, paths: tuple[Path, ...]) -> Corpus:
    texts = (path.read_text(encoding="ascii").splitlines() for path in paths)
    lines = [[" ".join(line.split()) for line in text] for text in texts]
    return numbered(dict(zip(PARTS, lines, strict=True)), tokenizer)


def topics() -> Lines:
    """The topics of ``pydoc`` in lower case, one paragraph a line.

    Of every ten topics in alphabetical order the first is for the test, the last for validation.
    Topics quote each other, so only the first of equal paragraphs is kept. A word is a run of
    letters, of digits, or of one other sign, as in ``__``. Four or more of one sign, such as the
    underlining of a heading, are dropped.
    """
    from pydoc_data.topics import topics as texts

    lines: Lines = {part: [] for part in PARTS}
    seen = {""}
    for i, name in enumerate(sorted(texts)):
        part = {0: "test", 9: "valid"}.get(i % 10, "train")
        for paragraph in re.split(r"\n\s*\n", texts[name].lower()):
            plain = re.sub(r"([^\w\s])\1{3,}", " ", paragraph)
            found = re.finditer(r"[^\W\d_]+|\d+|(\S)\1*", plain)
            line = " ".join(word.group() for word in found)
            if line not in seen:
                seen.add(line)
                lines[part].append(line)
    return lines


def numbered(lines: Lines, tokenizer: Tokenizer, limit: int | None = None) -> Corpus:
    """Tokens numbered by how often they occur in training: 0 is the commonest.

    Args:
        lines: The lines of each part.
        tokenizer: Splits a line into words or characters.
        limit: Largest size of the vocabulary; rarer tokens become :data:`UNKNOWN`, as do tokens
            that do not occur in training. It is in the vocabulary only if some token needs it, and
            then has the last number.
    """
    tokens = {
        part: list(chain.from_iterable((*tokenizer(line), EOS) for line in lines[part]))
        for part in PARTS
    }
    # sorted() keeps the order of equal counts: that of their first occurrence in the text
    counted = Counter(tokens["train"])
    kinds = sorted(counted, key=counted.__getitem__, reverse=True)
    complete = all(token in counted for part in PARTS for token in tokens[part])
    limit = len(kinds) + 1 if limit is None else limit
    if len(kinds) > limit or not complete:
        known = [kind for kind in kinds if kind != UNKNOWN]
        kinds = [*known[: limit - 1], UNKNOWN]
    number = {kind: i for i, kind in enumerate(kinds)}
    rest = number.get(UNKNOWN, -1)
    coded = ([number.get(token, rest) for token in tokens[part]] for part in PARTS)
    return Corpus(tuple(kinds), *(torch.tensor(code, dtype=torch.int64) for code in coded))
