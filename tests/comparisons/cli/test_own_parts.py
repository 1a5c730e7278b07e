import argparse

import pytest

from comparisons.cli.own_parts import plugin

pytestmark = pytest.mark.usefixtures("own_parts")

PAPER = """
from comparisons.papers import PAPERS, Paper, PublishedResult, Source
PAPERS.register("mine")(
    Paper("A", "B", "C", published=(
        PublishedResult("{task}", (20,), "M", "M", ("{model}",), "1", Source.PRINTED),
    ))
)
"""
TASK = """
import torch
from comparisons.tasks import TASKS
from comparisons.tasks.adding import Adding
@TASKS.register("mine")
class Mine(Adding):
    name = "mine"
    baseline = 3.0
"""
PRESET = """
from comparisons.plan import PRESETS, Preset
PRESETS.register("mine")(Preset("title", lambda task, model: RESULT))
"""
SCHEME = """
from dataclasses import replace
from unitary_zoo import Parametrization
from unitary_zoo.schemes import Cayley
@Parametrization.register("gru")
class Mine(Cayley):
    info = replace(Cayley.info, name="gru")
"""


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (PAPER.format(task="adding", model="lstm"), ""),
        (PAPER.format(task="ading", model="lstm"), "paper 'mine': unknown task 'ading'"),
        (PAPER.format(task="adding", model="lstmm"), "paper 'mine': unknown scheme 'lstmm'"),
        (TASK, "Mine fails 1 of 8 checks"),
        (PRESET.replace("RESULT", "x"), "preset 'mine' on adding with gru: NameError"),
        (PRESET.replace("RESULT", "[None]"), "preset 'mine' on adding with gru: AttributeError"),
        (PRESET.replace("RESULT", "[]"), ""),
        (
            "from comparisons.models import MODELS\nMODELS.register('mine')(lambda *_: None)",
            "mine fails 6 of 6 checks",
        ),
        (SCHEME, "a scheme is called 'gru', which is the name of another model"),
        ("x", "line 1: NameError"),
    ],
)
def test_plugin_checks_what_a_file_brings(tmp_path, code, words):
    path = tmp_path / "mine.py"
    path.write_text(code, encoding="utf-8")
    if not words:
        assert plugin(str(path)) == str(path)
        return
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        plugin(str(path))
    assert words in str(caught.value)
