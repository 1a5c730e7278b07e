"""The slices of a batch, and the threads that run them.

How a batch is divided depends on the problem alone, never on the number of threads, and the sums of
the slices are added in their order: results are equal to the last bit whatever the threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from unitary_zoo.scan.native import threads
from unitary_zoo.scan.native.library import Slices
from unitary_zoo.scan.native.team import Team, runtime

# Multiplications that are worth a thread of their own: about 0.1 ms.
_WORTH_A_THREAD = 2**22

# Multiplications of a step, for each thread that shares it: the threads wait for one another after
# every step, for about 0.5 us.
_WORTH_SHARING = 2**16

# Rows of a slice: whole blocks of the product, which has 12 rows or 6; but two slices of 4 rows are
# faster on two threads than one of 8, and hardly slower on one. A W that does not stay in a
# second-level cache is read from beyond it at every step, so more rows should share each read.
_ROWS, _FEW_ROWS, _CACHED_W_BYTES, _MANY_ROWS = 12, 4, 640 * 1024, 36

# Bytes of the widest vectors there are, whichever are used: they must not change the sums.
_VECTOR_BYTES = 64

Run = Callable[[Slices, Team | None], None]


@dataclass(frozen=True)
class Division:
    """How a recurrence is divided.

    Attributes:
        count: Slices of the batch.
        rows: Rows of the largest slice.
        threads: Threads that are worth while and allowed.
        crew: Threads that share the columns of a slice.
    """

    count: int
    rows: int
    threads: int
    crew: int

    @classmethod
    def of(cls, batch: int, steps: int, w_bytes: int, row: int) -> Division:
        """Divide a recurrence.

        Args:
            batch: Rows.
            steps: Steps.
            w_bytes: Bytes of W.
            row: Multiplications for a row of a step.
        """
        cached = w_bytes <= _CACHED_W_BYTES
        count = math.ceil(batch / (_ROWS if cached else _MANY_ROWS))
        if count > 1:  # so that usual numbers of threads have equal shares
            unit = 2 if count <= 4 else 4
            count = unit * math.ceil(count / unit)
        elif cached and batch >= 2 * _FEW_ROWS:
            count = 2
        rows = math.ceil(batch / count)
        allowed = min(torch.get_num_threads(), 1 + steps * batch * row // _WORTH_A_THREAD)
        crew = max(1, min(allowed // count, rows * row // _WORTH_SHARING))
        return cls(count, rows, min(allowed, count * crew), crew)

    @classmethod
    def of_lanes(cls, batch: int, steps: int, number_bytes: int, row: int) -> Division:
        """Divide a recurrence whose W is a product of factors: a slice fills the widest vectors.

        Args:
            batch: Rows.
            steps: Steps.
            number_bytes: Bytes of a real number.
            row: Multiplications for a row of a step.
        """
        count = math.ceil(batch * number_bytes / _VECTOR_BYTES)
        allowed = min(torch.get_num_threads(), 1 + steps * batch * row // _WORTH_A_THREAD)
        return cls(count, math.ceil(batch / count), min(allowed, count), crew=1)

    def run(self, call: Run, work_bytes: Callable[[int], int], parts: Slices | None = None) -> None:
        """Run all slices.

        Args:
            call: Runs those of its first argument, on the team that is its second one.
            work_bytes: From the size of a crew to the bytes of its workspace.
            parts: Where the sums of the slices go, if there are any.
        """
        team = self._team()
        if team is None and self.threads > 1:
            single = work_bytes(1)
            calls = [
                partial(self._run_some, call, (i, i + 1), 1, 1, single, None, parts)
                for i in range(self.count)
            ]
            threads.run(calls)
            return
        crew = 1 if team is None else self.crew
        crews = self.threads // crew
        self._run_some(call, (0, self.count), crew, crews, work_bytes(crew), team, parts)

    def add(self, call: Run, parts: Slices) -> None:
        """Add the sums of all slices: ``call`` does, on the team that is its second argument."""
        parts.count = self.count
        call(parts, self._team())

    def _team(self) -> Team | None:
        found = runtime() if self.threads > 1 else None
        return None if found is None else found.team(self.threads)

    def _run_some(
        self, call: Run, ends: tuple[int, int], crew: int, crews: int, size: int,
        team: Team | None, parts: Slices | None,
    ) -> None:  # fmt: skip
        work = torch.empty(crews * size, dtype=torch.uint8)
        slices = Slices() if parts is None else Slices.from_buffer_copy(parts)
        slices.count, (slices.first, slices.last), slices.crew = self.count, ends, crew
        slices.work, slices.work_bytes = work.data_ptr(), size
        call(slices, team)
