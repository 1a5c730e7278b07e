"""The schemes, one file each; importing this package registers them all."""

from unitary_zoo.schemes.arjovsky import Arjovsky
from unitary_zoo.schemes.cayley import Cayley
from unitary_zoo.schemes.dtriv import DTriv
from unitary_zoo.schemes.eigenphase import Eigenphase
from unitary_zoo.schemes.expm import Expm
from unitary_zoo.schemes.full_capacity import FullCapacity
from unitary_zoo.schemes.householder import Householder
from unitary_zoo.schemes.lie_exp import LieExp
from unitary_zoo.schemes.qr import QR
from unitary_zoo.schemes.scaled_cayley import ScaledCayley
from unitary_zoo.schemes.scaled_cayley_unitary import ScaledCayleyUnitary
from unitary_zoo.schemes.svd_projection import SVDProjection

__all__ = [
    "QR",
    "Arjovsky",
    "Cayley",
    "DTriv",
    "Eigenphase",
    "Expm",
    "FullCapacity",
    "Householder",
    "LieExp",
    "SVDProjection",
    "ScaledCayley",
    "ScaledCayleyUnitary",
]
