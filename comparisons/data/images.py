"""Handwritten digits as rows of pixels: MNIST from its files, and scikit-learn's small images."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from comparisons.data import DataError, files
from comparisons.data.files import DataSet

CLASSES = 10
IMAGES, LABELS = "images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"
MNIST = DataSet(
    name="mnist",
    title="MNIST",
    # The files' first host refuses downloads; this is the copy that torchvision reads first.
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    checksums={
        f"t10k-{IMAGES}": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        f"t10k-{LABELS}": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        f"train-{IMAGES}": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        f"train-{LABELS}": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    },
)
UNSIGNED_BYTE = 8
TEST_SHARE = 5
SPLIT_SEED = 0


class Images(NamedTuple):
    """Images with their classes.

    Attributes:
        pixels: (count, pixels), row by row, bytes.
        labels: (count,), 0 to 9.
        white: The largest value that a pixel can have.
    """

    pixels: Tensor
    labels: Tensor
    white: int

    def entropy(self) -> float:
        r""":math:`-\sum_k p_k \ln p_k` of the classes' shares p: what the best constant guess pays.

        Returns:
            In nats.
        """
        shares = torch.bincount(self.labels, minlength=CLASSES).double() / len(self.labels)
        return -sum(share * math.log(share) for share in shares.tolist() if share)


def mnist() -> tuple[Images, Images]:
    """The 60,000 training and 10,000 test images of 28 x 28 pixels, from the folder of real data.

    LeCun, Bottou, Bengio and Haffner (1998), "Gradient-based learning applied to document
    recognition".

    Raises:
        DataError: A file is missing or damaged.
    """
    paths = files.find(MNIST)

    def part(name: str) -> Images:
        pixels = read_idx(paths[f"{name}-{IMAGES}"], dimensions=3)
        labels = read_idx(paths[f"{name}-{LABELS}"], dimensions=1)
        if len(pixels) != len(labels):
            raise DataError(
                f"{paths[f'{name}-{LABELS}']} has {len(labels)} labels for {len(pixels)} images; "
                "replace both files by those of one data set"
            )
        return Images(pixels.flatten(1), labels.long(), white=255)

    return part("train"), part("t10k")


def digits() -> tuple[Images, Images]:
    """1,438 training and 359 test images of 8 x 8 pixels in 17 shades, embedded in scikit-learn.

    They are the test half of the UCI set "Optical recognition of handwritten digits" (Alpaydin and
    Kaynak, 1998). Of each class a fifth, drawn once and for all, is the test set here; so the same
    writers may stand in both sets, and these images say less about unseen writers than MNIST.
    """
    # It takes a second, which no run of another task should spend.
    from sklearn.datasets import load_digits

    pixels, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    draw = np.random.RandomState(SPLIT_SEED)
    train, test = [], []
    for label in range(CLASSES):
        members = draw.permutation(torch.nonzero(labels == label)[:, 0].numpy())
        cut = round(len(members) / TEST_SHARE)
        test.append(members[:cut])
        train.append(members[cut:])

    def part(members: list[np.ndarray]) -> Images:
        # In the order of the source, so that no run of one class comes out in a row.
        chosen = torch.from_numpy(np.sort(np.concatenate(members)))
        return Images(pixels[chosen].to(torch.uint8), labels[chosen].long(), white=16)

    return part(train), part(test)


def read_idx(path: Path, dimensions: int) -> Tensor:
    """The array of bytes in a gzipped IDX file.

    Such a file starts with two zero bytes, the type of its numbers (8: bytes) and the number of
    its dimensions; then come the sizes as big-endian 32-bit numbers, and then the array.

    Args:
        path: The file.
        dimensions: Number of dimensions that the array must have.

    Raises:
        DataError: The file is no IDX file of bytes, or its length contradicts its header.
    """
    try:
        with gzip.open(path) as file:
            content = bytearray(file.read())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked ({error}); get it anew") from None
    start = 4 + 4 * dimensions
    magic = bytes((0, 0, UNSIGNED_BYTE, dimensions))
    if content[:4] != magic or len(content) < start:
        raise DataError(
            f"{path} is no IDX file of bytes in {dimensions} dimensions: it starts with "
            f"{content[:4].hex() or 'nothing'} instead of {magic.hex()}; get it anew"
        )
    shape = struct.unpack_from(f">{dimensions}I", content, offset=4)
    if len(content) - start != math.prod(shape):
        raise DataError(
            f"{path} says that its shape is {shape} and holds {len(content) - start} bytes instead "
            f"of {math.prod(shape)}; get it anew"
        )
    if not math.prod(shape):
        return torch.empty(shape, dtype=torch.uint8)
    return torch.frombuffer(content, dtype=torch.uint8, offset=start).view(shape)
