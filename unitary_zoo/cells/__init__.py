"""One recurrent layer's parameters and its step: UnitaryRNNCell and UnitaryGRUCell."""

from unitary_zoo.cells._base import RecurrentCell
from unitary_zoo.cells.gru import UnitaryGRUCell
from unitary_zoo.cells.rnn import UnitaryRNNCell

__all__ = ["RecurrentCell", "UnitaryGRUCell", "UnitaryRNNCell"]
