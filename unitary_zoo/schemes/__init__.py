"""The schemes, one file each; importing this package registers them all."""

from unitary_zoo.schemes.arjovsky import Arjovsky
from unitary_zoo.schemes.cayley import Cayley
from unitary_zoo.schemes.eigenphase import Eigenphase
from unitary_zoo.schemes.expm import Expm
from unitary_zoo.schemes.full_capacity import FullCapacity
from unitary_zoo.schemes.landing import Landing
from unitary_zoo.schemes.lie_exp import LieExp
from unitary_zoo.schemes.polar_newton_schulz import PolarNewtonSchulz
from unitary_zoo.schemes.projunn_d import ProjUNND
from unitary_zoo.schemes.projunn_t import ProjUNNT
from unitary_zoo.schemes.svd_projection import SVDProjection

__all__ = [
    "Arjovsky",
    "Cayley",
    "Eigenphase",
    "Expm",
    "FullCapacity",
    "Landing",
    "LieExp",
    "PolarNewtonSchulz",
    "ProjUNND",
    "ProjUNNT",
    "SVDProjection",
]
