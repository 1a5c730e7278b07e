"""attach, retract_ and parameter_groups: the only code that retracts or rebases schemes."""

from unitary_zoo.optim._attach import AttachHandle, attach
from unitary_zoo.optim._groups import parameter_groups
from unitary_zoo.optim._stepping import retract_

__all__ = ["AttachHandle", "attach", "parameter_groups", "retract_"]
