import sys
import textwrap

import pytest

from comparisons import plugins
from comparisons.models import MODELS
from comparisons.papers import PAPERS
from comparisons.plan import PRESETS
from comparisons.plugins import PluginError
from comparisons.tasks import TASKS
from unitary_zoo import Parametrization

pytestmark = pytest.mark.usefixtures("own_parts")

MODEL = """
from comparisons.models import BASELINES, MODELS
count = globals().get("count", 0) + 1
MODELS.register("{name}")(lambda input_size, settings: BASELINES.get("gru")(input_size, settings))
"""


def write(folder, name, code):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    return path


def test_load_imports_a_file_once_by_whatever_path(tmp_path, monkeypatch):
    path = write(tmp_path, "mine.py", MODEL.format(name="mine"))
    (tmp_path / "link.py").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    for name in ("mine.py", str(path), "./link.py"):
        plugins.load([name])
    (plugin,) = plugins.loaded()
    assert plugin.name == str(path)
    assert plugin.module.count == 1
    assert "mine" in MODELS.names()
    assert list(plugins.versions()) == ["mine.py"]


def test_load_takes_two_files_of_one_stem(tmp_path):
    for folder in ("a", "b"):
        plugins.load([str(write(tmp_path / folder, "mine.py", MODEL.format(name=folder)))])
    assert {"a", "b"} <= set(MODELS.names())


def test_load_takes_a_module_by_its_dotted_name(tmp_path, monkeypatch):
    write(tmp_path / "my_parts", "__init__.py", "")
    write(tmp_path / "my_parts", "models.py", MODEL.format(name="mine"))
    monkeypatch.syspath_prepend(tmp_path)
    plugins.load(["my_parts.models"])
    assert "mine" in MODELS.names()
    assert plugins.versions() == {}


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("x = 1\n\ny = x + z", "line 3: NameError: name 'z' is not defined"),
        ("x = (", "line 1: SyntaxError: '(' was never closed"),
        ("import torch\ntorch.zeros('a')", "line 2: TypeError: zeros()"),
        ("raise SystemExit(3)", "line 1: SystemExit: 3"),
        ("import absent_library", "line 1: ModuleNotFoundError: No module named 'absent_library'"),
        (
            "from comparisons.tasks import TASKS, Generated\n\n"
            "@TASKS.register('adding')\nclass Mine(Generated):\n    name = 'adding'",
            "line 3: ValueError: task name 'adding' is already taken by "
            "comparisons.tasks.adding.Adding",
        ),
        (
            "from comparisons.tasks import TASKS, Generated\n\n"
            "@TASKS.register('mine')\nclass Mine(Generated):\n    name = 'mine'",
            "line 3: TypeError: Mine lacks loss_name, accuracy_name, per_step, accuracy, batch, "
            "input_size, loss, output_size",
        ),
        (
            "from comparisons.models import MODELS\nMODELS.register('gru')(dict)",
            "line 2: ValueError: model name 'gru' is already that of a baseline",
        ),
        (
            "from comparisons.papers import PAPERS, Paper\n"
            "PAPERS.register('arjovsky2016')(Paper('A', 'B', 'C'))",
            "line 2: ValueError: paper name 'arjovsky2016' is already taken by "
            "comparisons.papers.arjovsky2016",
        ),
        (
            "from comparisons.plan import PRESETS\nPRESETS.register('mine')({})",
            "line 2: TypeError: preset 'mine' is {}",
        ),
    ],
)
def test_load_names_file_line_and_cause_each_time(tmp_path, code, cause):
    path = write(tmp_path, "broken.py", code)
    for _ in range(2):
        with pytest.raises(PluginError) as caught:
            plugins.load([str(path)])
        assert f"plug-in {path}, {cause}" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not plugins.loaded()


def test_load_names_what_is_missing(tmp_path):
    with pytest.raises(PluginError, match=r"plug-in .*absent\.py: .*no such file"):
        plugins.load([str(tmp_path / "absent.py")])
    with pytest.raises(PluginError, match=r"^plug-in absent_package\.parts: ModuleNotFoundError"):
        plugins.load(["absent_package.parts"])


def test_entry_points_bring_parts_and_a_broken_one_hides_nothing(tmp_path, monkeypatch):
    write(
        tmp_path,
        "third_party_parts.py",
        """
        from comparisons.models import BASELINES
        from comparisons.papers import Paper
        from comparisons.plan import Preset
        from comparisons.tasks.adding import Adding

        def model(input_size, settings):
            return BASELINES.get("gru")(input_size, settings)

        class Task(Adding):
            name = "third_task"

        PAPER = Paper("A", "B", "C")
        PRESET = Preset("title", lambda task, model: [])
        """,
    )
    facts = tmp_path / "third_party_parts-1.dist-info"
    write(facts, "METADATA", "Metadata-Version: 2.1\nName: third_party_parts\nVersion: 1\n")
    parts = {"models": "model", "tasks": "Task", "papers": "PAPER", "presets": "PRESET"}
    points = "".join(
        f"[unitary_zoo.{group}]\nthird_{group[:-1]} = third_party_parts:{name}\n"
        f"broken = third_party_parts:Absent\n"
        for group, name in parts.items()
    )
    write(facts, "entry_points.txt", points)
    monkeypatch.syspath_prepend(tmp_path)
    for registry in (MODELS, TASKS, PAPERS._more, PRESETS):
        monkeypatch.setattr(registry, "_pending", True)
        with pytest.warns(RuntimeWarning, match="'broken' of entry point"):
            names = registry.names()
        assert f"third_{registry.kind}" in names
        assert "broken" not in names
    assert PAPERS["third_paper"].cite == "A"
    sys.modules.pop("third_party_parts")


def test_load_remembers_which_schemes_came(tmp_path):
    path = write(
        tmp_path,
        "scheme.py",
        """
        from dataclasses import replace
        from unitary_zoo import Parametrization
        from unitary_zoo.schemes import Cayley

        @Parametrization.register("brought")
        class Brought(Cayley):
            info = replace(Cayley.info, name="brought")
        """,
    )
    plugins.load([str(path)])
    assert plugins.loaded()[0].schemes == ("brought",)
    assert Parametrization.get("brought").__module__.startswith("plugin_scheme_")
