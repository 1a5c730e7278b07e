"""Time W(theta) and optimizer steps of this source tree against those of another commit.

Two processes stay alive, one with the library of each tree, and take turns round by round, so that
a disturbance of the machine affects both. The other commit is checked out into a temporary folder,
which is removed at the end; a folder with a tree of its own is taken as it is. A correctness check
comes first: in float64 both versions find the same W, gradients and steps. ``map`` is forward and
backward of W(theta), ``step`` a step of RMSprop with the retraction or rebase that follows it.

    python -m comparisons.benchmarks change --before HEAD~1 [--sizes 128] [--maps expm cayley]

A commit is checked out without its compiled kernel. If the kernel takes part in what is timed, name
a folder in which it is built.
The exit code is 1 if the check fails; missed targets are only shown.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from comparisons.benchmarks.correctness import CorrectnessError
from comparisons.benchmarks.timing import ROOT, Row
from comparisons.cli.console import say, show

MAPS = ("expm", "cayley", "householder")
STEPS = ("lie_exp", "expm")
SIZES = (128,)
TARGETS = {("map", scheme, 128): 1.4 for scheme in MAPS}
TURN = 0.05  # seconds of a turn
TOLERANCE = 1e-8  # between two versions in float64, relative to the larger of 1 and the number
WORKER = Path(__file__).with_name("change_worker.py")


@contextlib.contextmanager
def source_tree(before: str, repository: Path = ROOT) -> Iterator[Path]:
    """A folder with the other source tree: ``before`` itself, or a checkout of that commit.

    Raises:
        ValueError: It is neither a folder nor a commit of the repository.
    """
    if Path(before).is_dir():
        yield Path(before).resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "before"
        try:
            _git(repository, "worktree", "add", "--detach", str(tree), before)
        except subprocess.CalledProcessError as error:
            raise ValueError(
                f"--before {before!r} is no folder, and git cannot check it out: "
                f"{error.stderr.strip()}; name a commit or a folder"
            ) from error
        try:
            yield tree
        finally:
            _git(repository, "worktree", "remove", "--force", str(tree))


def _git(repository: Path, *words: str) -> str:
    found = subprocess.run(
        ["git", "-C", str(repository), *words], check=True, capture_output=True, text=True
    )
    return found.stdout.strip()


class Worker:
    """A process with the library of a source tree.

    Args:
        tree: The folder that holds ``unitary_zoo``.
        threads: Threads of PyTorch.
    """

    def __init__(self, tree: Path, threads: int) -> None:
        self.tree = tree
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), str(tree), str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tree, env=environment,
        )  # fmt: skip

    def ask(self, **request: Any) -> Any:
        """The answer to a request.

        Raises:
            RuntimeError: The process failed, or ended; its last words are on standard error.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except OSError:  # it has ended; there is no reply
            pass
        line = self._process.stdout.readline()
        reply = json.loads(line) if line else {"error": "the process has ended"}
        if "error" in reply:
            raise RuntimeError(f"{request} with the library of {self.tree}: {reply['error']}")
        return reply["answer"]

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._process.communicate()  # its input ends, and so does it


def check(before: Worker, after: Worker, schemes: Sequence[str]) -> None:
    """Compare what both versions compute.

    Raises:
        CorrectnessError: They compute something else, so that no time could be compared.
    """
    request = {"do": "check", "what": "", "n": 0}
    for scheme in schemes:
        old, new = (worker.ask(scheme=scheme, **request) for worker in (before, after))
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            if not abs(a - b) <= TOLERANCE * max(1.0, abs(a)):
                raise CorrectnessError(f"{scheme}: number {i} was {a:.12g} and is {b:.12g}")


def measure(
    before: Worker, after: Worker, what: str, scheme: str, n: int, rounds: int, turn: float
) -> Row:
    """A row with the times of both versions."""
    request: dict[str, Any] = {"what": what, "scheme": scheme, "n": n}
    times: dict[Worker, list[float]] = {before: [], after: []}
    for worker in times:
        worker.ask(do="prepare", **request)
    repeats = max(1, round(turn / before.ask(do="time", repeats=1, **request)))
    for i in range(rounds):
        for worker in (before, after) if i % 2 else (after, before):
            times[worker].append(worker.ask(do="time", repeats=repeats, **request))
    old, new = (statistics.median(taken) for taken in times.values())
    target = TARGETS.get((what, scheme, n))
    return {
        **request,
        "before_ms": old * 1e3,
        "after_ms": new * 1e3,
        "ratio": old / new,
        "target": target,
        "met": None if target is None else old / new >= target,
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of this benchmark."""
    parser.set_defaults(threads=1)
    parser.add_argument("--before", required=True, help="a commit, or the folder of a source tree")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--maps", nargs="*", default=list(MAPS), help="schemes whose W is timed")
    parser.add_argument("--steps", nargs="*", default=list(STEPS), help="whose step is timed")


def run(options: argparse.Namespace) -> dict[str, list[Row]]:
    """Check that both versions agree, then time them; a missed target is no failure."""
    sizes, turn = ([8], 0.0) if options.tiny else (options.sizes, TURN)
    chosen = [("map", scheme) for scheme in options.maps]
    chosen += [("step", scheme) for scheme in options.steps]
    with (
        source_tree(options.before) as tree,
        Worker(tree, options.threads) as before,
        Worker(ROOT, options.threads) as after,
    ):
        check(before, after, sorted({scheme for _, scheme in chosen}))
        say("correctness check passed: both versions find the same W, gradients and steps")
        rows = [
            measure(before, after, what, scheme, n, options.rounds, turn)
            for n in sizes
            for what, scheme in chosen
        ]
    show(f"this tree after {options.before}; ratio: the time before by that after", rows)
    targets = [row for row in rows if row["target"] is not None]
    say(f"{sum(row['met'] for row in targets)} of {len(targets)} targets met")
    return {"change": rows}
