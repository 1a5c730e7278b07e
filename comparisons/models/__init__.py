"""Every model by name: schemes in a recurrent layer, the usual baselines, and the user's own."""

from __future__ import annotations

from comparisons.models.baselines import BASELINES, Builder, is_baseline, is_scheme
from comparisons.models.cell_layer import CellLayer
from comparisons.models.exact import exact_state, load_exactly_
from comparisons.models.own import MODELS, Traits, traits_of
from comparisons.models.sequence_model import SequenceModel, State, builder_of
from comparisons.models.weights import ModelFileError, check_safetensors, load_model, save_model
from comparisons.records import Setting
from unitary_zoo import Parametrization
from unitary_zoo.registry import unknown_name

__all__ = [
    "BASELINES",
    "MODELS",
    "Builder",
    "CellLayer",
    "ModelFileError",
    "SequenceModel",
    "State",
    "Traits",
    "builder_of",
    "check_model",
    "check_safetensors",
    "exact_state",
    "is_baseline",
    "is_scheme",
    "load_exactly_",
    "load_model",
    "model_names",
    "relevant_setting",
    "save_model",
    "traits_of",
]

_UNREAD = {"nonlinearity": "modrelu", "bias": False, "learn_h0": False}
"""The defaults of the fields that schemes read, and other models perhaps not."""


def model_names() -> tuple[str, ...]:
    """Every model that can be trained: schemes, then baselines, then models of plug-ins."""
    return Parametrization.names() + BASELINES.names() + MODELS.names()


def check_model(name: str) -> str:
    """``name`` itself, if it is that of a model.

    Raises:
        LookupError: It is not; the message suggests the nearest names.
    """
    known = model_names()
    if name not in known:
        raise LookupError(unknown_name("scheme", name, known))
    return name


def relevant_setting(model: str, setting: Setting) -> Setting:
    """The setting that the model reads: without the fields for schemes that its builder ignores.

    That of a model which is not known here is left as it is.
    """
    if model not in BASELINES.names() + MODELS.names():
        return setting
    read = traits_of(builder_of(model)).fields
    return setting.changed(**{name: v for name, v in _UNREAD.items() if name not in read})
