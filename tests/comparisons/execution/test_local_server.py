import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from comparisons.execution.local import server


def test_preloaded_names_what_the_command_has_imported():
    names = server.preloaded()
    assert "comparisons.execution.local.pool" in names
    assert "comparisons.training.trainer" in names


@pytest.mark.parametrize("gpu", [True, False])
def test_preloaded_trains_nothing_where_gpus_would_be_touched(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    warm = "comparisons.execution.local.warm" in server.preloaded()
    assert warm == (sys.platform == "linux" and not gpu)


def test_uninterrupted_puts_off_ctrl_c():
    before, done = signal.getsignal(signal.SIGINT), []

    def interrupted():
        with server.uninterrupted():
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
            done.append("the whole block")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(), reason="workers are not forked"
)
def test_worker_is_born_with_signals_blocked_and_all_imported(tmp_path):
    """Ctrl-C and SIGTERM reach it while it imports, before it could take care of them."""
    script = tmp_path / "script.py"
    script.write_text(
        "import signal, sys\n"
        "if __name__ != '__main__':\n"
        "    signal.raise_signal(signal.SIGINT)  # the import in a worker is interrupted\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    assert 'comparisons.execution.local.pool' in sys.modules  # from another folder\n"
        "from comparisons.execution.local import pool\n"
        "def say(end): end.send('here')\n"
        "if __name__ == '__main__':\n"
        "    context = pool.worker_context()\n"
        "    here, there = context.Pipe(duplex=False)\n"
        "    worker = context.Process(target=say, args=(there,))\n"
        "    worker.start()\n"
        "    there.close()\n"
        "    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
        "    print(here.recv(), signal.SIGINT in blocked, signal.SIGTERM in blocked)\n"
        "    worker.join()\n"
        "    sys.exit(worker.exitcode)\n"
    )
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120,
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["here", "False", "False"]  # the command itself is not deaf
