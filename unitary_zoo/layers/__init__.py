"""The drop-ins for torch.nn.RNN and torch.nn.GRU: UnitaryRNN and UnitaryGRU."""

from unitary_zoo.layers._base import RecurrentLayers
from unitary_zoo.layers.gru import UnitaryGRU
from unitary_zoo.layers.rnn import UnitaryRNN

__all__ = ["RecurrentLayers", "UnitaryGRU", "UnitaryRNN"]
