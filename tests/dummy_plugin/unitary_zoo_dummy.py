"""Two schemes: one registered by its entry point alone, one that also uses the decorator."""

from dataclasses import replace

from unitary_zoo import Parametrization
from unitary_zoo.schemes import Cayley


class Plain(Cayley):
    info = replace(Cayley.info, name="dummy_plain")


@Parametrization.register("dummy_decorated")
class Decorated(Cayley):
    info = replace(Cayley.info, name="dummy_decorated")


NOT_A_SCHEME = {"name": "dummy"}
