"""Every model by name: the registered schemes in a recurrent layer, and the usual baselines."""

from __future__ import annotations

from comparisons.models.baselines import BASELINES, is_baseline
from comparisons.models.exact import exact_state, load_exactly_
from comparisons.models.sequence_model import SequenceModel, State
from comparisons.models.weights import ModelFileError, check_safetensors, load_model, save_model
from comparisons.records import Setting
from unitary_zoo import Parametrization
from unitary_zoo.registry import unknown_name

__all__ = [
    "BASELINES",
    "ModelFileError",
    "SequenceModel",
    "State",
    "check_model",
    "check_safetensors",
    "exact_state",
    "is_baseline",
    "load_exactly_",
    "load_model",
    "model_names",
    "relevant_setting",
    "save_model",
]


def model_names() -> tuple[str, ...]:
    """Every model that can be trained: the registered schemes, then the baselines."""
    return Parametrization.names() + BASELINES.names()


def check_model(name: str) -> str:
    """``name`` itself, if it is a scheme or a baseline.

    Raises:
        LookupError: It is neither; the message suggests the nearest of both.
    """
    known = model_names()
    if name not in known:
        raise LookupError(unknown_name("scheme", name, known))
    return name


def relevant_setting(model: str, setting: Setting) -> Setting:
    """The setting that the model reads: for a baseline, without the fields for schemes alone."""
    if not is_baseline(model):
        return setting
    nonlinearity = setting.model.nonlinearity if model == "rnn" else "modrelu"
    return setting.changed(nonlinearity=nonlinearity, bias=False, learn_h0=False)
