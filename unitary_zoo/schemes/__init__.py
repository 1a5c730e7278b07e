"""The schemes, one file each; importing this package registers them all."""

from unitary_zoo.schemes.arjovsky import Arjovsky
from unitary_zoo.schemes.butterfly import Butterfly
from unitary_zoo.schemes.cayley import Cayley
from unitary_zoo.schemes.dtriv import DTriv
from unitary_zoo.schemes.eigenphase import Eigenphase
from unitary_zoo.schemes.eunn import EUNN
from unitary_zoo.schemes.eunn_fft import EUNNFFT
from unitary_zoo.schemes.expm import Expm
from unitary_zoo.schemes.full_capacity import FullCapacity
from unitary_zoo.schemes.geotorch_so import GeotorchSO
from unitary_zoo.schemes.householder import Householder
from unitary_zoo.schemes.kronecker import Kronecker
from unitary_zoo.schemes.landing import Landing
from unitary_zoo.schemes.lie_exp import LieExp
from unitary_zoo.schemes.nnrnn import NonNormal
from unitary_zoo.schemes.polar_newton_schulz import PolarNewtonSchulz
from unitary_zoo.schemes.projunn_d import ProjUNND
from unitary_zoo.schemes.projunn_t import ProjUNNT
from unitary_zoo.schemes.qr import QR
from unitary_zoo.schemes.scaled_cayley import ScaledCayley
from unitary_zoo.schemes.scaled_cayley_unitary import ScaledCayleyUnitary
from unitary_zoo.schemes.spectral_band import SpectralBand
from unitary_zoo.schemes.svd_projection import SVDProjection
from unitary_zoo.schemes.torch_orthogonal import TorchOrthogonal

__all__ = [
    "EUNN",
    "EUNNFFT",
    "QR",
    "Arjovsky",
    "Butterfly",
    "Cayley",
    "DTriv",
    "Eigenphase",
    "Expm",
    "FullCapacity",
    "GeotorchSO",
    "Householder",
    "Kronecker",
    "Landing",
    "LieExp",
    "NonNormal",
    "PolarNewtonSchulz",
    "ProjUNND",
    "ProjUNNT",
    "SVDProjection",
    "ScaledCayley",
    "ScaledCayleyUnitary",
    "SpectralBand",
    "TorchOrthogonal",
]
