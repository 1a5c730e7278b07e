"""The compiled scan kernel through ctypes: where it is, its instruction sets, and its calls.

The library is built from ``csrc`` when the package is installed. It knows neither Python nor
PyTorch: it receives data pointers, and ctypes releases the interpreter lock while it runs.
``csrc/scan.h`` describes every call and field.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from unitary_zoo.scan.native.team import Team

# `UZ_VERSION` of csrc/scan.h.
_VERSION = 8

# The environment variable that forces one of the processor's instruction sets.
ENVIRONMENT = "UNITARY_ZOO_ISA"

# In the order of `enum uz_isa`, the later the faster.
ISAS = ("generic", "neon", "avx2", "avx512")

_LIBRARY = Path(__file__).with_name("_kernel.dylib" if sys.platform == "darwin" else "_kernel.so")

_int, _pointer = ctypes.c_int64, ctypes.c_void_p


class RecurrenceArgs(ctypes.Structure):
    """``uz_recurrence``: one recurrence, by addresses; ``alive`` holds the tensors there."""

    alive: list[object]

    _fields_ = (
        ("is_double", _int), ("activation", _int), ("steps", _int), ("batch", _int),
        ("n", _int), ("m", _int), ("slope", ctypes.c_double),
        ("x", _pointer), ("x_step", _int), ("x_row", _int), ("h0", _pointer), ("h0_row", _int),
        ("lengths", _pointer), ("factors", _pointer),
        ("w", _pointer), ("w_back", _pointer), ("v", _pointer), ("v_back", _pointer),
        ("bias", _pointer), ("threshold", _pointer), ("bias_hn", _pointer),
        ("states", _pointer), ("last", _pointer), ("kept", _pointer), ("keep", _int),
        ("signs", _pointer), ("gates", _pointer), ("segment", _int),
        ("grad", _pointer), ("grad_step", _int), ("grad_row", _int), ("grad_last", _int),
        ("dx", _pointer), ("dh0", _pointer),
    )  # fmt: skip


class Sums(ctypes.Structure):
    """``uz_sums``: the gradients that are sums over the batch."""

    _fields_ = tuple((name, _pointer) for name in ("dw", "dv", "dbias", "dthreshold", "dbias_hn"))


class Slices(ctypes.Structure):
    """``uz_slices``: the slices of a batch, and which of them a call runs."""

    _fields_ = (
        ("count", _int), ("first", _int), ("last", _int), ("crew", _int),
        ("work", _pointer), ("work_bytes", _int), ("partial", _pointer), ("partial_bytes", _int),
    )  # fmt: skip


class UnavailableError(Exception):
    """The kernel is not available; the message says why."""


@cache
def _library() -> ctypes.CDLL:
    if not _LIBRARY.exists():
        raise UnavailableError(
            "not built: the package was installed without a C++ compiler (gcc or clang), or runs "
            "from a source tree that was not installed"
        )
    try:
        library = ctypes.CDLL(str(_LIBRARY))
    except OSError as error:
        raise UnavailableError(f"{_LIBRARY.name} does not load: {error}") from error
    if library.uz_version() != _VERSION:
        raise UnavailableError(f"{_LIBRARY.name} was built from other sources; install again")
    isa, args, sums, slices, team = (
        ctypes.c_int, *map(ctypes.POINTER, (RecurrenceArgs, Sums, Slices, Team)),
    )  # fmt: skip
    signatures: dict[str, tuple[object, list[object]]] = {
        "uz_isa_available": (ctypes.c_int, [isa]),
        "uz_pack_bytes": (_int, [isa, ctypes.c_int, _int, _int]),
        "uz_pack": (
            None,
            [isa, ctypes.c_int, ctypes.c_int, _int, _int, _pointer, _int, _int, _pointer],
        ),
        "uz_sign_bytes": (_int, [isa, args]),
        "uz_work_bytes": (_int, [isa, args, _int, ctypes.c_int, _int]),
        "uz_partial_bytes": (_int, [isa, args, sums]),
        "uz_forward": (None, [isa, args, slices, team]),
        "uz_backward": (None, [isa, args, sums, slices, team]),
        "uz_add_slices": (None, [isa, args, sums, slices, team]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@cache
def available() -> tuple[str, ...]:
    """Return the instruction sets that both the library and this processor have, fastest last.

    Raises:
        UnavailableError: There is no library.
    """
    library = _library()
    return tuple(name for i, name in enumerate(ISAS) if library.uz_isa_available(i))


def isa() -> str:
    """Return the instruction set in use: the fastest, or the one that the environment names.

    Raises:
        UnavailableError: There is no library.
        ValueError: The environment names an instruction set that the library or this processor
            lacks, whether there is a library or not.
    """
    wanted = os.environ.get(ENVIRONMENT)
    if wanted and wanted not in ISAS:
        raise _unknown(wanted, ISAS)
    names = available()
    if wanted and wanted not in names:
        raise _unknown(wanted, names)
    return wanted or names[-1]


def _unknown(wanted: str, names: tuple[str, ...]) -> ValueError:
    return ValueError(
        f"{ENVIRONMENT}={wanted!r} is no instruction set of this machine; choose one of "
        f"{', '.join(names)}, or unset it for the fastest"
    )


class Kernel:
    """The library with one instruction set, the same for both passes of a recurrence.

    Args:
        name: One of :func:`available`.
    """

    def __init__(self, name: str) -> None:
        self._library, self._isa = _library(), ISAS.index(name)

    def pack_matrix(self, a: Tensor, *, back: bool) -> Tensor:
        """Pack the right factor of ``rows @ a.T``, or of ``rows @ a.conj()`` if ``back``.

        Args:
            a: (outputs, inputs), real or complex, any strides.
            back: Map outputs to inputs, as gradients are.

        Returns:
            Bytes.
        """
        a = a.resolve_conj().resolve_neg()
        parts = 2 if a.is_complex() else 1
        outputs, inputs = a.shape[0] * parts, a.shape[1] * parts
        if back:
            rows, cols, k_stride, j_stride = outputs, inputs, a.stride(0), a.stride(1)
        else:
            rows, cols, k_stride, j_stride = inputs, outputs, a.stride(1), a.stride(0)
        embed = (2 if back else 1) if a.is_complex() else 0
        return self._pack(a, embed, rows, cols, k_stride, j_stride)

    def pack_vector(self, a: Tensor) -> Tensor:
        """Pad a vector with zeros; a complex one as pairs of its parts. Returns bytes."""
        a = a.resolve_conj().resolve_neg().contiguous()
        return self._pack(a, 0, 1, a.numel() * (2 if a.is_complex() else 1), 0, 1)

    def _pack(
        self, a: Tensor, embed: int, rows: int, cols: int, k_stride: int, j_stride: int
    ) -> Tensor:
        is_double = a.dtype in (torch.float64, torch.complex128)
        size = self._library.uz_pack_bytes(self._isa, is_double, rows, cols)
        packed = torch.empty(size, dtype=torch.uint8)
        self._library.uz_pack(
            self._isa, is_double, embed, rows, cols, a.data_ptr(), k_stride, j_stride,
            packed.data_ptr(),
        )  # fmt: skip
        return packed

    def sign_bytes(self, args: RecurrenceArgs) -> int:
        """Return the number of bytes of the signs of all pre-activations."""
        return int(self._library.uz_sign_bytes(self._isa, args))

    def work_bytes(self, args: RecurrenceArgs, rows: int, *, backward: bool, crew: int) -> int:
        """Return the bytes of the workspace of a crew on so many rows."""
        return int(self._library.uz_work_bytes(self._isa, args, rows, backward, crew))

    def partial_bytes(self, args: RecurrenceArgs, sums: Sums) -> int:
        """Return the bytes of the sums of one slice."""
        return int(self._library.uz_partial_bytes(self._isa, args, sums))

    def forward(self, args: RecurrenceArgs, slices: Slices, team: Team | None) -> None:
        """Compute the states of the rows of some slices; without a team in this thread."""
        self._library.uz_forward(self._isa, args, slices, team)

    def backward(self, args: RecurrenceArgs, sums: Sums, slices: Slices, team: Team | None) -> None:
        """Compute the gradients of the rows of some slices, and the sums of each slice."""
        self._library.uz_backward(self._isa, args, sums, slices, team)

    def add_slices(
        self, args: RecurrenceArgs, sums: Sums, slices: Slices, team: Team | None
    ) -> None:
        """Add the sums of all slices."""
        self._library.uz_add_slices(self._isa, args, sums, slices, team)
