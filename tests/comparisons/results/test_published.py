"""Published results beside ours, and how they differ."""

from dataclasses import replace
from typing import ClassVar

import pytest

from comparisons.papers import Paper, PublishedResult, Source
from comparisons.results import published
from comparisons.results.published import Difference, Kind, compare, published_for
from comparisons.results.summary import Summary
from comparisons.tasks import TASKS
from comparisons.tasks.copying import Copying


def reported(**changes):
    fixed = {
        "task": "copying", "lengths": (5,), "model": "theirs", "label": "theirs",
        "ours": ("cayley",), "text": "9 %", "tag": Source.PRINTED,
    }  # fmt: skip
    return PublishedResult(**{**fixed, **changes})


SIZE = Difference(Kind.SIZE, 8)


@pytest.mark.parametrize(
    ("changes", "sources", "differences"),
    [
        ({}, ["plain", "wide", "gates"], ()),  # three at most
        ({"size": 16}, ["wide"], ()),
        ({"lengths": (7,), "size": 16}, ["wide"], (Difference(Kind.LENGTH, 5),)),
        ({"size": 32, "setting": (("layer", "gru"),)}, ["gates"], (SIZE,)),
        ({"setting": (("negative_ones", 3),)}, ["option"], ()),
        ({"setting": (("negative_ones", 3),), "size": 32}, ["option"], (SIZE,)),
        (
            {"setting": (("negative_ones", 5),), "size": 16},
            ["wide"],
            (Difference(Kind.SETTING, "its default", "negative_ones"),),
        ),
        ({"ours": ("expm",)}, [], ()),
    ],
)
def test_compare_takes_the_summaries_that_differ_least(make_result, changes, sources, differences):
    forms = {
        "plain": {},
        "wide": {"hidden_size": 16},
        "gates": {"layer": "gru"},
        "option": {"options": (("negative_ones", 3),)},
    }
    summaries = [
        Summary((make_result("cayley", source=source, **form),), Copying(5))
        for source, form in forms.items()
    ]
    paper = Paper("A", "B", "C", published=(reported(**changes),))
    ((comparison,), left_out) = compare("copying", summaries, paper)
    assert left_out == 0
    assert [own.summary.setting.source for own in comparison.ours] == sources
    assert all(own.differences == differences for own in comparison.ours)


def test_difference_reads_as_a_phrase():
    assert str(Difference(Kind.SIZE, 64)) == "other size: 64"
    assert str(Difference(Kind.SETTING, 2, "negative_ones")) == "other negative ones: 2"


def test_compare_lists_the_published_size_nearest_to_ours(make_result, monkeypatch):
    sizes = {
        size: reported(label=f"theirs {size}", size=size, text=f"{size} %") for size in (4, 8, 32)
    }
    other = reported(model="another", label="another 99", size=99)
    paper = Paper("A", "B", "C", published=(*sizes.values(), other))
    monkeypatch.setattr(published, "PAPERS", {"paper": paper})
    summaries = [Summary((make_result("cayley", hidden_size=24),), Copying(5))]
    listed, left_out = compare("copying", summaries, None)
    assert [item.published for item in listed] == [sizes[32], other]
    assert left_out == 2
    summaries.append(Summary((make_result("cayley", hidden_size=8),), Copying(5)))
    listed, left_out = compare("copying", summaries, None)
    assert [item.published.size for item in listed] == [8, 99]  # 8 is ours as well
    listed, left_out = compare("copying", summaries, paper)
    assert [item.published for item in listed] == list(paper.published)
    assert left_out == 0


class TwoVariants(Copying):
    """A task with two sets of data."""

    name = "two_variants"
    title = "Two variants"
    variants: ClassVar = {"small": "few words", "large": "all words"}


@pytest.fixture
def two_variants():
    """The task, registered."""
    with TASKS.override(two_variants=TwoVariants):
        yield TwoVariants


def test_compare_names_other_data_and_does_not_mix_them(make_result, two_variants, monkeypatch):
    result = make_result("cayley")
    own = replace(result, run=replace(result.run, task="two_variants", variant="large"))
    summary = Summary((own,), two_variants(5, "large"))
    same = reported(task="two_variants", variant="large")
    other = reported(task="two_variants", variant="small")
    paper = Paper("A", "B", "C", published=(same, other))
    listed, _ = compare("two_variants", [summary], paper)
    differences = [item.ours[0].differences for item in listed]
    assert differences == [(), (Difference(Kind.DATA, "large"),)]
    monkeypatch.setattr(published, "PAPERS", {"paper": paper})
    listed, left_out = compare("two_variants", [summary], None)
    assert [item.published for item in listed] == [same]
    assert left_out == 1


def test_published_for_takes_the_size_of_the_summary_or_the_nearest(make_result):
    summary = Summary((make_result("cayley"),), Copying(5))

    def text(*results):
        return published_for(summary, Paper("A", "B", "C", published=results))

    near, far = (reported(size=size, text=f"{size} %") for size in (9, 32))
    assert text(near, far) == "9 % (n = 9)"
    assert text(near, reported(size=8, text="8 %")) == "8 %"
    assert text(reported(lengths=(7,), size=8)) == ""  # another length is no nearby size
    assert text(reported(tag=Source.FIGURE)) == "9 % [F]"  # not printed, and so not shown as exact
