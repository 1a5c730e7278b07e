"""LayerCheck and its decorator: how a function becomes a check of a layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from unitary_zoo.testing.checks.registry import NAMES, holds
from unitary_zoo.testing.layers.subject import SHAPES, LayerSubject, SchemeLayers
from unitary_zoo.testing.subject import Measure, Subject

PREFIX = "layer_"  # keeps the names apart from those of the checks of a scheme

REAL = ("real",)
FIELDS = ("real", "complex")


def every_subject(subject: LayerSubject) -> bool:
    """Apply to every way to make a weight orthogonal."""
    return True


def schemes_only(subject: LayerSubject) -> bool:
    """Apply to schemes only, because peers have nothing to check."""
    return isinstance(subject, SchemeLayers)


@dataclass(frozen=True)
class LayerCheck:
    """Something that must not happen to an orthogonal weight.

    Attributes:
        name: Name of its function, without :data:`PREFIX`.
        meaning: What must not happen, in a sentence.
        function: Takes a subject and a shape, and yields measures that hold unless it happens.
        shapes: The shapes of weights for which the outcome can differ.
        scheme_shapes: The shapes for which the outcome can depend on the scheme. A tall weight is
            made of the first columns of a scheme's matrix, and a wide one is the transpose of a
            tall one; that code is the same for all schemes.
        fields: The fields for which it is checked.
        applies: Whether the check applies to a subject.
        may_refuse: Whether a subject may refuse with an error, where its info says that it cannot
            represent every matrix.
        slow: Whether it takes a second or more. A run that is not thorough then takes one field
            only, because the checks of a scheme cover every field.
    """

    name: str
    meaning: str
    function: Callable[[LayerSubject, str], Iterator[Measure]]
    shapes: tuple[str, ...]
    scheme_shapes: tuple[str, ...]
    fields: tuple[str, ...] = FIELDS
    applies: Callable[[LayerSubject], bool] = every_subject
    may_refuse: bool = False
    slow: bool = False

    def applies_to(self, subject: LayerSubject) -> bool:
        """Whether the check applies to a subject over its field."""
        return subject.field in self.fields and self.applies(subject)

    def measures(self, subject: LayerSubject, shape: str) -> Iterator[Measure]:
        """Yield the measures up to the first that does not hold, drawn from a fixed seed.

        The global random state is left as it was.
        """
        refusal = self.may_refuse and subject.may_refuse(shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                for measure in self.function(subject, shape):
                    yield measure
                    if not measure.holds:
                        return
            except Exception:
                if not refusal:
                    raise

    def check(self, subject: Subject, thorough: bool = True) -> Iterator[Measure]:
        """Yield the measures of a scheme over all its fields and on all shapes.

        Unless ``thorough``, cases whose outcome cannot depend on the scheme are left out.
        """
        subjects = [layers for layers in layers_of(subject) if self.applies_to(layers)]
        if self.slow and not thorough:
            subjects = subjects[:1]
        for layers in subjects:
            for shape in self.shapes if thorough else self.scheme_shapes:
                case = f"{layers.field}, {shape}"
                try:
                    for measure in self.measures(layers, shape):
                        yield replace(measure, where=f"{case}: {measure.where}")
                except Exception as error:  # whatever a scheme raises is a finding
                    yield holds(False, f"{case}: {type(error).__name__}: {error}")


REGISTERED: dict[str, LayerCheck] = {}
"""The checks in the order of their import; ``LAYER_CHECKS`` has them section by section."""


def layer_check(
    *,
    shapes: tuple[str, ...] = SHAPES,
    scheme_shapes: tuple[str, ...] | None = None,
    fields: tuple[str, ...] = FIELDS,
    applies: Callable[[LayerSubject], bool] = every_subject,
    may_refuse: bool = False,
    slow: bool = False,
) -> Callable[[Callable[[LayerSubject, str], Iterator[Measure]]], None]:
    """Return a decorator that enters a function into the checks; see :class:`LayerCheck`."""

    def enter(function: Callable[[LayerSubject, str], Iterator[Measure]]) -> None:
        name = function.__name__
        meaning = " ".join((inspect.getdoc(function) or "").split())
        REGISTERED[PREFIX + name] = LayerCheck(
            name, meaning, function, shapes, scheme_shapes or shapes,
            fields, applies, may_refuse, slow,
        )  # fmt: skip
        NAMES.add(PREFIX + name)

    return enter


def layers_of(subject: Subject) -> Iterator[SchemeLayers]:
    """Yield the layers of a scheme with its options, over each field that the options leave."""
    options = {key: value for key, value in subject.options.items() if key != "field"}
    for field in subject.fields:
        yield SchemeLayers(subject.scheme.__name__, field, scheme=subject.scheme, options=options)


_MATRIX_EXP = "torch.matrix_exp of a single small matrix is off by up to 5.2e-5 in single precision"

_EXPECTED_FAILURES = {
    ("torch_orthogonal", "layer_one_small_matrix"): ("orthogonal_map", "matrix_exp", _MATRIX_EXP),
    ("geotorch_so", "layer_one_small_matrix"): ("triv", "expm", _MATRIX_EXP),
}
"""(scheme, check) -> an option, its default value, and the reason why the check fails with it.

These adapters use functions of other libraries as they are.
"""


def expected_failure(subject: Subject, check: str) -> str | None:
    """The reason why a scheme with these options fails a check; None if it should pass."""
    found = _EXPECTED_FAILURES.get((subject.scheme.info.name, check))
    if found is None:
        return None
    option, value, reason = found
    return reason if subject.options.get(option, value) == value else None
