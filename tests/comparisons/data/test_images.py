import gzip
import os
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from comparisons.data import DataError, images


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=3),
    st.integers(0, 2**32),
)
def test_read_idx_round_trip(tmp_path_factory, shape, seed):
    array = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    header = bytes([0, 0, 8, len(shape)]) + b"".join(struct.pack(">I", size) for size in shape)
    path = tmp_path_factory.mktemp("idx") / "a.gz"
    path.write_bytes(gzip.compress(header + array.tobytes()))
    read = images.read_idx(path, dimensions=len(shape))
    assert read.dtype == torch.uint8
    np.testing.assert_array_equal(read.numpy(), array)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "nothing"),
        (b"\0\0", "0000 instead of 00000801"),
        (struct.pack(">II", 0x0803, 2) + b"ab", "00000803 instead of 00000801"),
        (struct.pack(">II", 0x0D01, 2) + b"ab", "00000d01"),  # floating-point numbers
        (struct.pack(">I", 0x0801), "no IDX file"),
        (struct.pack(">II", 0x0801, 3) + b"ab", r"\(3,\) and holds 2 bytes instead of 3"),
        (struct.pack(">II", 0x0801, 1) + b"ab", r"\(1,\) and holds 2 bytes instead of 1"),
    ],
)
def test_read_idx_error_names_cause(tmp_path, content, words):
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=words) as caught:
        images.read_idx(path, dimensions=1)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b"PK" + b[2:], lambda b: b""])
def test_read_idx_refuses_damaged_gzip(tmp_path, damage):
    path = tmp_path / "labels.gz"
    path.write_bytes(damage(gzip.compress(struct.pack(">II", 0x0801, 2) + b"ab")))
    with pytest.raises(DataError, match="anew"):
        images.read_idx(path, dimensions=1)


def test_mnist_equals_files(small_mnist):
    for part, name in zip(images.mnist(), ("train", "t10k"), strict=True):
        pixels, labels = (small_mnist[f"{name}-{kind}"] for kind in (images.IMAGES, images.LABELS))
        np.testing.assert_array_equal(part.pixels.numpy(), pixels.reshape(-1, 784))
        np.testing.assert_array_equal(part.labels.numpy(), labels)
        assert part.labels.dtype == torch.int64
        assert part.white == 255


def test_mnist_refuses_other_number_of_labels(small_mnist, monkeypatch):
    read = images.read_idx
    monkeypatch.setattr(images, "read_idx", lambda path, dimensions: read(path, dimensions)[1:])
    assert len(images.mnist()[0].labels) == 29
    monkeypatch.setattr(
        images, "read_idx", lambda path, dimensions: read(path, dimensions)[dimensions:]
    )
    with pytest.raises(DataError, match="29 labels for 27 images"):
        images.mnist()


def test_digits_split_is_fixed_and_by_class():
    train, test = images.digits()
    source, labels = load_digits(return_X_y=True)
    assert len(train.labels) == 1438
    assert len(test.labels) == 359
    ours = torch.cat([train.pixels, test.pixels]).tolist()
    classes = torch.cat([train.labels, test.labels]).tolist()
    assert sorted(zip(ours, classes, strict=True)) == sorted(
        zip(source.tolist(), labels.tolist(), strict=True)
    )
    # a fifth of each class, rounded
    fifths = torch.from_numpy(np.bincount(labels)) / 5
    assert (torch.bincount(test.labels) - fifths).abs().max() <= 0.5
    again = images.digits()
    assert torch.equal(train.pixels, again[0].pixels)
    assert torch.equal(test.pixels, again[1].pixels)


def test_digits_split_covers_whole_source():
    # The test images' places among their class are uniform: their mean is 1/2 within five
    # deviations sqrt((1 - 359/1797) / (12 * 359)).
    test = images.digits()[1]
    source, labels = load_digits(return_X_y=True)
    chosen = {tuple(row) for row in test.pixels.tolist()}
    places = []
    for label in range(10):
        members = source[labels == label]
        places += [i / len(members) for i, row in enumerate(members) if tuple(row) in chosen]
    assert np.mean(places) == pytest.approx(0.5, abs=5 * np.sqrt(0.8 / (12 * 359)))


def test_entropy_is_scipys():
    from scipy.stats import entropy

    labels = torch.tensor([0, 0, 0, 5, 5, 9])
    part = images.Images(torch.zeros(6, 4, dtype=torch.uint8), labels, 255)
    assert part.entropy() == pytest.approx(entropy([3, 2, 1]), rel=1e-14)  # a few roundings


@pytest.mark.skipif("UNITARY_ZOO_DATA" not in os.environ, reason="UNITARY_ZOO_DATA is not set")
def test_mnist_has_known_counts_and_moments():
    train, test = images.mnist()
    assert train.pixels.shape == (60_000, 784)
    assert test.pixels.shape == (10_000, 784)
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    # as the data set's page and many others list them
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert torch.bincount(test.labels).tolist() == counts
    # the mean and deviation by which half the world normalizes it
    brightness = train.pixels.double() / 255
    assert brightness.mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert brightness.std().item() == pytest.approx(0.3081, abs=5e-5)
