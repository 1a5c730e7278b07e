"""The texts and how they become numbers."""

import hashlib
import re
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from comparisons.data import DataError, files, text
from comparisons.data.text import EOS, UNKNOWN, numbered, topics, topics_corpus

lines = st.lists(
    st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=6).map(" ".join), max_size=8
)
train = st.lists(st.sampled_from(["a b a", "b c", "d d d d", "e f"]), min_size=1, max_size=8)


def words(corpus, part):
    return [corpus.vocabulary[i] for i in getattr(corpus, part).tolist()]


@given(train, lines, lines, st.none() | st.integers(3, 6))
def test_numbered_is_inverted_by_vocabulary_except_for_unknown(train, valid, test, limit):
    parts = {"train": train, "valid": valid, "test": test}
    corpus = numbered(parts, str.split, limit)
    vocabulary = set(corpus.vocabulary)
    assert len(vocabulary) == len(corpus.vocabulary)
    if limit is not None:
        assert len(vocabulary) <= limit
    seen = {word for line in train for word in [*line.split(), EOS]}
    assert vocabulary <= seen | {UNKNOWN}
    for part, content in parts.items():
        expected = [word for line in content for word in [*line.split(), EOS]]
        expected = [word if word in vocabulary else UNKNOWN for word in expected]
        assert words(corpus, part) == expected
    everything = set(words(corpus, "train") + words(corpus, "valid") + words(corpus, "test"))
    assert (UNKNOWN in vocabulary) == (UNKNOWN in everything)  # only where it is needed


def test_numbered_keeps_most_frequent_words():
    text = {"train": ["a b c", "a b c", "a b", "d"], "valid": ["e a"], "test": ["d"]}
    # four ends of lines, three each of a and b, two of c, one of d
    corpus = numbered(text, str.split, limit=4)
    assert corpus.vocabulary == (EOS, "a", "b", UNKNOWN)
    assert corpus.valid.tolist() == [3, 1, 0]
    assert corpus.test.tolist() == [3, 0]
    assert numbered(text, str.split).vocabulary == (EOS, "a", "b", "c", "d", UNKNOWN)
    assert numbered(text | {"valid": ["d"]}, str.split).vocabulary == (EOS, "a", "b", "c", "d")


def test_numbered_merges_unknown_of_text_with_rare_words():
    text = {"train": ["a <unk> <unk> b"] * 3 + ["rare"], "valid": ["b"], "test": ["<unk> new"]}
    corpus = numbered(text, str.split, limit=4)
    assert set(corpus.vocabulary) == {EOS, "a", "b", UNKNOWN}
    assert words(corpus, "test") == [UNKNOWN, UNKNOWN, EOS]
    assert words(corpus, "train")[-2] == UNKNOWN


def test_numbered_characters_include_blanks():
    corpus = numbered({"train": ["ab a"], "valid": [], "test": ["b b"]}, iter)
    assert words(corpus, "train") == ["a", "b", " ", "a", EOS]
    assert words(corpus, "test") == ["b", " ", "b", EOS]
    assert corpus.valid.shape == (0,)
    assert corpus.valid.dtype == torch.int64


def test_topics_are_words_in_disjoint_parts():
    parts = topics()
    counts = {part: Counter(lines) for part, lines in parts.items()}
    assert max(max(count.values()) for count in counts.values()) == 1
    assert not counts["train"].keys() & counts["test"].keys()
    assert not counts["train"].keys() & counts["valid"].keys()
    assert not counts["valid"].keys() & counts["test"].keys()
    for line in [*parts["train"], *parts["valid"], *parts["test"]]:
        assert line == line.lower() == " ".join(line.split())
        for word in line.split():
            assert word.isalpha() or word.isdigit() or len(set(word)) == 1 or not word.isascii()
            assert not re.fullmatch(r"([^\w\s])\1{3,}", word)
    # 'the "assert" statement', with its heading underlined by asterisks, is the first topic
    assert parts["test"][0] == 'the " assert " statement'


def test_topics_size():
    sizes = {part: sum(map(len, lines)) for part, lines in topics().items()}
    assert sizes["train"] > 200_000
    assert min(sizes.values()) > 5_000
    corpus = topics_corpus(str.split, 1000)
    assert len(corpus.vocabulary) == 1000
    unknown = corpus.vocabulary.index(UNKNOWN)
    assert (corpus.train == unknown).double().mean() < 0.1


@pytest.fixture
def treebank(tmp_path, monkeypatch):
    """Three files in place of the Penn Treebank, in its form."""
    contents = {
        "ptb.train.txt": " the <unk> rose N N \n it fell \n it rose \n",
        "ptb.valid.txt": " the <unk> fell \n",
        "ptb.test.txt": " it <unk> \n",
    }
    (tmp_path / "ptb").mkdir()
    for name, content in contents.items():
        (tmp_path / "ptb" / name).write_text(content, encoding="ascii")
    sums = {name: hashlib.sha256(c.encode()).hexdigest() for name, c in contents.items()}
    monkeypatch.setattr(text, "PTB", files.DataSet("ptb", "a text", "https://nowhere/", sums))
    monkeypatch.setenv(files.VARIABLE, str(tmp_path))
    text._ptb_corpus.cache_clear()
    return tmp_path / "ptb"


def test_ptb_words_equal_file(treebank):
    corpus = text.ptb_corpus(str.split)
    assert (
        " ".join(words(corpus, "train")) == "the <unk> rose N N <eos> it fell <eos> it rose <eos>"
    )
    assert " ".join(words(corpus, "valid")) == "the <unk> fell <eos>"
    assert " ".join(words(corpus, "test")) == "it <unk> <eos>"
    assert set(corpus.vocabulary) == {"the", UNKNOWN, "rose", "N", EOS, "it", "fell"}


def test_ptb_characters_are_counted_as_in_mikolovs_files(treebank):
    corpus = text.ptb_corpus(iter)
    assert words(corpus, "test") == [*"it <unk>", EOS]  # <unk> is five, the outer blanks are none
    assert UNKNOWN not in corpus.vocabulary


def test_ptb_refuses_damaged_file_after_good_one(treebank):
    text.ptb_corpus(str.split)
    (treebank / "ptb.test.txt").write_text("other", encoding="ascii")
    with pytest.raises(DataError, match="damaged"):
        text.ptb_corpus(str.split)
