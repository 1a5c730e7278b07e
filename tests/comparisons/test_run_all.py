import io
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from comparisons import run_all
from comparisons.__main__ import main as work_with
from comparisons.cli import conformance
from comparisons.execution import EXECUTORS
from comparisons.execution.executor import failure
from comparisons.models import model_names
from comparisons.report.export import main as export
from comparisons.results import store
from comparisons.results.store import Store
from comparisons.run_all import main
from comparisons.tasks import TASKS
from unitary_zoo.testing import ConformanceError

SCRIPT = Path(run_all.__file__)


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--schemes", "cayly"], "'cayley'"),
        (["--schemes", "cayley", "grru"], "'gru'"),
        (["--tasks", "coping"], "'copying'"),
        (["--preset", "quik"], "'quick'"),
        (["--paper", "arjovky2016"], "'arjovsky2016'"),
        (["--paper", "arjovsky2016", "--preset", "quick", "--dry-run"], "not allowed with"),
        (["--lengths", "0"], "positive"),
        (["--lengths", "ten"], "positive"),
        (["--tasks", "adding", "--lengths", "1"], "at least 2"),
        (["--jobs", "-1"], "positive"),
        (["--device", "toaster"], "try cpu"),
        (["--device", "cuda:99"], "try cpu"),
        (["--serve", "65536"], "from 0 to 65535"),
        (["--frobnicate"], "--frobnicate"),
    ],
)
def test_main_refuses_unknown_value_in_one_line(flags, hint, capsys):
    with pytest.raises(SystemExit) as caught:
        main(flags)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert hint in err
    assert err.count("\n") == 1


def test_main_list_names_everything(capsys):
    assert main(["--list"]) == 0
    words = capsys.readouterr().out.split()
    for name in (*TASKS.names(), *model_names(), "smoke", "quick", "paper", "arjovsky2016"):
        assert name in words
    assert "digits," in words  # a variant
    assert "ptb" in words


def test_main_dry_run_trains_nothing(tmp_path, capsys):
    folder = tmp_path / "results"
    assert main(["--preset", "smoke", "--dry-run", "--results", str(folder)]) == 0
    out = capsys.readouterr().out
    assert f"{len(TASKS.names()) * len(model_names())} runs" in out
    for name in model_names():
        assert name in out
    assert not folder.exists()


def test_main_dry_run_needs_no_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UNITARY_ZOO_DATA", "")  # so that what the flag sets is taken back
    folder = tmp_path / "data"
    flags = ["--paper", "arjovsky2016", "--tasks", "pixel_mnist", "--data-dir", str(folder)]
    assert main([*flags, "--download", "--dry-run"]) == 0
    assert "3 runs" in capsys.readouterr().out
    assert not folder.exists()
    with pytest.raises(SystemExit):
        main(flags)
    error = capsys.readouterr().err
    assert "is missing" in error
    assert error.count("\n") == 1


def test_main_paper_has_own_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = ["--paper", "kerg2019", "--tasks", "copying", "--schemes", "nnrnn", "lstm"]
    assert main([*flags, "--lengths", "5", "--iterations", "2"]) == 0
    contents = Store(tmp_path / "results" / "kerg2019").load()
    assert contents.plan.paper == "kerg2019"
    found = {
        (result.run.model, result.run.setting.model.hidden_size) for result in contents.results
    }
    assert found == {("nnrnn", 128), ("lstm", 128), ("lstm", 63)}
    assert "Kerg et al. 2019" in (tmp_path / "results/kerg2019/report.md").read_text("utf-8")


def test_main_resumes_finished_runs(tmp_path, capsys):
    command = ["--preset", "smoke", "--tasks", "copying", "--iterations", "2", "--results"]
    command += [str(tmp_path), "--schemes"]
    assert main([*command, "cayley", "lstm"]) == 0
    assert "2 runs: 0 taken" in capsys.readouterr().out
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    assert len(files) == 2
    results = Store(tmp_path).load().results
    assert {result.run.model for result in results} == {"cayley", "lstm"}
    assert all("--iterations 2" in result.command for result in results)

    assert main([*command, "cayley", "lstm"]) == 0
    assert "2 runs: 2 taken" in capsys.readouterr().out
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}

    damaged = next(iter(files))
    damaged.write_text("{")
    assert main([*command, "cayley", "lstm"]) == 0
    out = capsys.readouterr().out
    assert "cannot be read" in out
    assert "2 runs: 1 taken" in out
    assert len(Store(tmp_path).load().results) == 2


def test_main_reports_and_retries_failure(tmp_path, make_result, monkeypatch, capsys):
    broken = {"gru"}

    class Fake:
        def __init__(self, jobs):
            self.jobs = jobs

        def execute(self, runs, report):
            for run in runs:
                report(run, 1, 0.5)
                if run.model in broken:
                    yield failure(run, "ValueError: [no] way", "Traceback")
                else:
                    same = make_result(run.model, task=run.task)
                    yield type(same)(**{**vars(same), "run": run})

    monkeypatch.setitem(EXECUTORS, "local", Fake)
    command = ["--preset", "smoke", "--tasks", "copying", "--schemes", "gru", "lstm"]
    command += ["--results", str(tmp_path)]
    assert main(command) == 1
    out = capsys.readouterr().out
    assert re.search(r"failed +copying T=10 gru .*: ValueError: \[no\] way", out)
    assert "1 runs failed" in out
    contents = Store(tmp_path).load()
    assert [f.run.model for f in contents.failures] == ["gru"]
    assert [r.run.model for r in contents.results] == ["lstm"]
    assert "ValueError: [no] way" in (tmp_path / "report.md").read_text(encoding="utf-8")

    broken.clear()
    assert main(command) == 0
    assert "2 runs: 1 taken" in capsys.readouterr().out
    assert not Store(tmp_path).load().failures


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_main_keeps_finished_runs_on_interruption(tmp_path, how):
    seeds = [str(seed) for seed in range(200)]
    command = ["--preset", "smoke", "--tasks", "copying", "--schemes", "lstm", "--seeds", *seeds]
    command += ["--results", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), *command],
        cwd=tmp_path,  # not the root of the repository: the script finds its packages itself
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            wait_until(lambda: len(list(tmp_path.glob("runs/*.json"))) >= 2)
            assert process.poll() is None
            if how != signal.SIGKILL:
                os.killpg(process.pid, how)  # as terminals and batch systems do: to workers too
            else:
                os.kill(process.pid, how)  # the parent alone
            out, _ = process.communicate(timeout=60)
            wait_until(lambda: not running(process.pid))  # no worker outlives its parent
        finally:
            if running(process.pid):
                os.killpg(process.pid, signal.SIGKILL)
    contents = Store(tmp_path).load()
    assert 2 <= len(contents.results) < len(seeds)
    assert not contents.failures
    assert not contents.problems
    if how != signal.SIGKILL:
        assert process.returncode == 130
        assert "interrupted" in out
        assert "python comparisons/run_all.py --preset smoke" in out
        assert "Traceback" not in out, out
        assert f"report: {tmp_path / 'report.html'}" in out
        finished = len(contents.results)
        assert f"{finished} runs finished" in (tmp_path / "report.html").read_text("utf-8")
        assert f"python -m comparisons report {tmp_path}" in out  # which draws the figures


SLOW_REPORT = """
import time
import comparisons.report


def write_report(folder, figures):
    print("drawing", flush=True)
    time.sleep(300)


comparisons.report.write_report = write_report
"""


def test_main_ends_at_once_by_a_second_ctrl_c(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW_REPORT)
    command = ["--preset", "smoke", "--tasks", "copying", "--schemes", "lstm", "--seeds"]
    command += [*map(str, range(200)), "--plugin", str(tmp_path / "slow.py")]
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), *command, "--results", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            wait_until(lambda: list(tmp_path.glob("runs/*.json")))
            os.killpg(process.pid, signal.SIGINT)
            assert process.stdout is not None
            assert any(line == "drawing\n" for line in process.stdout)
            os.killpg(process.pid, signal.SIGINT)
            out, _ = process.communicate(timeout=60)
        finally:
            if running(process.pid):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    again = f"python -m comparisons report {tmp_path}"
    assert out.splitlines() == [f"the report is not finished; this writes it: {again}"]


def wait_until(condition):
    """Poll, for as long as a slow and busy machine may need."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running(group):
    """Whether a process of the group is alive; what nobody has buried yet does not count."""
    listing = subprocess.run(
        ["ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in listing.splitlines()]
    return any(int(pgid) == group and not stat.startswith("Z") for pgid, stat in rows)


@pytest.fixture
def trained(make_result, monkeypatch):
    """The runs that a fake executor was asked for, which all finish at once."""
    asked = []

    class Fake:
        def __init__(self, jobs):
            self.jobs = jobs

        def execute(self, runs, report):
            for run in runs:
                asked.append(run)
                yield replace(make_result(), run=run)

    monkeypatch.setitem(EXECUTORS, "local", Fake)
    return asked


SMOKE = ["--preset", "smoke", "--tasks", "copying", "--schemes", "gru", "lstm", "--results"]


@pytest.mark.parametrize("name", ["", "runs", "failures", "plan.json"])
def test_main_finds_blocked_folder_before_training(tmp_path, trained, capsys, name):
    blocked = tmp_path / "results" / name
    blocked.parent.mkdir(exist_ok=True)
    if name == "plan.json":
        blocked.mkdir()
    else:
        blocked.write_text("")
    with pytest.raises(SystemExit, match="2"):
        main([*SMOKE, str(tmp_path / "results")])
    error = capsys.readouterr().err
    assert str(blocked) in error
    assert "choose another --results" in error
    assert error.count("\n") == 1
    assert not trained


def test_main_says_what_was_not_saved(tmp_path, trained, monkeypatch, capsys):
    write = store.write_file

    def full(path, text):
        if "lstm" in path.name:
            raise OSError(28, "No space left on device", str(path))
        write(path, text)

    monkeypatch.setattr(store, "write_file", full)
    assert main([*SMOKE, str(tmp_path)]) == 3
    out = capsys.readouterr().out
    assert len(trained) == 2
    assert out.count("done ") == 2
    assert "not stored" in out
    name, remedy = out.splitlines()[-2:]
    assert name.startswith("  copying T=10 lstm")
    assert "this trains them again: python comparisons/run_all.py --preset smoke" in remedy
    assert [result.run.model for result in Store(tmp_path).load().results] == ["gru"]


def test_main_says_where_report_cannot_be_written(tmp_path, trained, capsys):
    (tmp_path / "figures").write_text("")
    assert main([*SMOKE, str(tmp_path)]) == 3
    out = capsys.readouterr().out
    assert f"python -m comparisons report {tmp_path}" in out
    assert len(Store(tmp_path).load().results) == 2


def test_commands_print_in_narrow_encodings(tmp_path, trained, monkeypatch):
    buffer = io.BytesIO()
    # The narrowest: what others cannot write, it cannot either.
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, "ascii", write_through=True))
    folder = tmp_path / "déjà ∈"
    assert main(["--list"]) == 0
    assert main([*SMOKE, str(folder)]) == 0
    assert main([*SMOKE, str(folder), "--dry-run"]) == 0
    assert work_with(["report", str(folder)]) == 0
    export([str(folder), "--docs", str(tmp_path / "数")])
    text = buffer.getvalue().decode("ascii")
    assert "?" in text
    assert text.count("report.html") == 2
    assert text.rstrip().endswith(".json")


SCHEMES = """
import os
import sys

from unitary_zoo import Parametrization

Cayley = Parametrization.get("cayley")


def ends(name, end):
    class Ends(Cayley):
        info = Cayley.info.__class__(**{**vars(Cayley.info), "name": name})

        def __init__(self, *arguments, **options):
            end()

    Parametrization.register(name)(Ends)


def throw(error):
    raise error


ends("ends_0", lambda: os._exit(0))
ends("ends_by_exit", lambda: sys.exit(0))
ends("ends_by_key", lambda: throw(KeyboardInterrupt()))
ends("ends_generator", lambda: throw(GeneratorExit()))
"""


def test_main_isolates_schemes_that_end_their_process(tmp_path):
    (tmp_path / "ending.py").write_text(SCHEMES)
    facts = tmp_path / "ending-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: ending\nVersion: 1\n")
    names = ("ends_0", "ends_by_exit", "ends_by_key", "ends_generator")
    points = "".join(f"{name} = ending\n" for name in names)
    (facts / "entry_points.txt").write_text(f"[unitary_zoo.schemes]\n{points}")
    command = ["--preset", "smoke", "--tasks", "copying", "--schemes", *names, "cayley"]
    command += ["--iterations", "2", "--jobs", "1", "--results", str(tmp_path / "results")]
    root = str(SCRIPT.parents[1])
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, str(tmp_path)])},
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
    )
    assert done.returncode == 1, done.stderr
    assert "4 runs failed" in done.stdout
    contents = Store(tmp_path / "results").load()
    assert [result.run.model for result in contents.results] == ["cayley"]
    assert {found.run.model: found.kind for found in contents.failures} == {
        "ends_0": "WorkerDied",
        "ends_by_exit": "SystemExit",
        "ends_by_key": "KeyboardInterrupt",
        "ends_generator": "GeneratorExit",
    }


PLUGIN = str(SCRIPT.parents[1] / "docs" / "examples" / "plugin.py")


@pytest.mark.slow
def test_main_shows_what_a_plugin_brings_as_ours(tmp_path, apart, capsys):
    folder = str(tmp_path)
    command = ["--plugin", PLUGIN, "--paper", "example2026", "--iterations", "2", "--jobs", "1"]
    with apart():
        # The checks of this scheme are run in tests/test_docs.py.
        assert main([*command, "--skip-conformance", "--results", folder]) == 0
        for page in ("report.md", "report.html"):
            text = (tmp_path / page).read_text(encoding="utf-8")
            for words in ("reflection", "leaky", "lstm", "First sign", "Example 2026", "97.5 %",
                          "Reflections remember signs", "plugin.py",
                          "reflection was trained without the conformance kit"):  # fmt: skip
                assert words in text
        results = {result.run.model: result for result in Store(tmp_path).load().results}
        assert results.keys() == {"reflection", "leaky", "lstm"}
        assert results["leaky"].defect_end < 1e-5
        assert "plugin.py" in results["leaky"].versions
    with apart():
        capsys.readouterr()
        assert work_with(["report", folder]) == 0
        out = capsys.readouterr().out
        assert "unknown task 'first_sign'" in out
        assert f"the last command loaded {PLUGIN}" in out
        assert len(list((tmp_path / "runs").iterdir())) == 3
        export([folder, "--docs", folder, "--plugin", PLUGIN])
        assert "97.5 %" in next((tmp_path / "results").iterdir()).read_text(encoding="utf-8")


def test_main_plans_with_what_a_plugin_brings(apart, capsys):
    with apart():
        assert main(["--plugin", PLUGIN, "--list"]) == 0
        words = capsys.readouterr().out.split()
        for name in ("reflection", "leaky", "first_sign", "example2026", "tiny"):
            assert name in words
        flags = ["--plugin", PLUGIN, "--tasks", "first_sign", "--dry-run", "--preset"]
        for preset, seeds in (("tiny", 2), ("quick", 1), ("smoke", 1)):
            assert main([*flags, preset]) == 0
            assert f"{seeds * len(model_names())} runs" in capsys.readouterr().out


def test_main_shows_error_of_plugin_in_one_line(tmp_path, capsys):
    path = tmp_path / "broken.py"
    path.write_text("import torch\nx = y\n")
    with pytest.raises(SystemExit, match="2"):
        main(["--plugin", str(path), "--dry-run"])
    error = capsys.readouterr().err
    assert f"plug-in {path}, line 2: NameError: name 'y' is not defined" in error
    assert error.count("\n") == 1


def test_main_trains_nothing_where_a_scheme_does_not_conform(
    tmp_path, trained, apart, monkeypatch, capsys
):
    def fails(scheme):
        raise ConformanceError("Reflection fails 1 of 41 checks:\n  unitary: residual 1")

    monkeypatch.setattr(conformance, "check_parametrization", fails)
    with apart(), pytest.raises(SystemExit, match="2"):
        main(["--plugin", PLUGIN, "--schemes", "reflection", "--results", str(tmp_path / "new")])
    assert "fails 1 of 41 checks:\n  unitary: residual 1\n" in capsys.readouterr().err
    assert not trained
    assert not (tmp_path / "new").exists()


def test_run_all_stays_short():
    assert len(SCRIPT.read_text(encoding="utf-8").splitlines()) < 80
