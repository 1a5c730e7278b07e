"""Orthogonal weights in any layer, and their export to plain weights."""

from unitary_zoo.weights._export import plain_state_dict
from unitary_zoo.weights._orthogonal import orthogonal
from unitary_zoo.weights._weight import OrthogonalWeight

__all__ = ["OrthogonalWeight", "orthogonal", "plain_state_dict"]
