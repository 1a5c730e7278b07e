"""attach and reads of schemes whose parameters ``fully_shard`` has spread over two processes."""

import multiprocessing
import socket

import pytest
import torch

from tests.optim import sharded

pytest.importorskip("torch.distributed.device_mesh")
pytestmark = pytest.mark.slow  # the start of two processes


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of the two processes has found."""
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    if not hasattr(pytest.importorskip("torch.distributed.fsdp"), "fully_shard"):
        pytest.skip("this torch has no fully_shard in torch.distributed.fsdp")
    try:
        with socket.create_server(("127.0.0.1", 0)):
            pass
    except OSError as error:
        pytest.skip(f"no sockets here: {error}")
    folder = tmp_path_factory.mktemp("sharded")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=sharded.work, args=(i, str(folder))) for i in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(200)
        if worker.exitcode != 0:
            for other in workers:
                other.kill()  # it would wait for the one that has failed
    assert [worker.exitcode for worker in workers] == [0, 0]
    return [torch.load(folder / f"found{i}", weights_only=True) for i in range(2)]


@pytest.mark.parametrize("case", sharded.CASES, ids=str)
def test_sharded_training_is_that_of_one_process(found, case):
    if not sharded.learns(*case):
        pytest.skip("torch cannot shard a parameter without entries")
    for one in found:
        result = one["trained"][str(case)]
        assert isinstance(result, dict), result
        assert result["moved"] > 1e-3 or case[1] == 1  # O(1) is {-1, 1}
        # The two sum the gradients in another order: a few eps, which four steps enlarge.
        for key in ("forward", "matrix", "describe"):
            assert result[key] <= 1e-12, key
        assert result["steps"] == 0
        assert result["is sharded"]


@pytest.mark.parametrize("name", ["expm", "lie_exp", "svd_projection", "projunn_t", "landing"])
def test_sharded_layer_is_read_and_changed_outside_its_forward(found, name):
    for one in found:
        result = one["read"][name]
        assert isinstance(result, dict), result
        assert result["weight"] == result["state"] == 0
        # Single precision, n = 5.
        assert result["gradient"] <= 1e-4
        assert result["assigned"] <= 1e-5
        assert "pass a generator that is seeded alike" in result["reset"]
        assert result["started"] <= 1e-5
        assert result["retracted"] <= (0.5 if name == "landing" else 1e-5)


def test_sharded_recurrent_layer_trains_as_in_one_process(found):
    assert [one["recurrent"] <= 1e-12 for one in found] == [True, True]


@pytest.mark.parametrize("name", ["svd_projection", "lie_exp", "projunn_t"])
def test_sharded_step_is_refused_on_all_processes(found, name):
    # One that went on alone would wait for the other for ever.
    assert [one["refused"][name] for one in found] in ([True, True], [False, False])


@pytest.mark.parametrize("name", ["lie_exp", "svd_projection"])
def test_data_parallel_training_is_that_of_one_process(found, name):
    assert [one["parallel"][name] <= 1e-12 for one in found] == [True, True]


@pytest.mark.parametrize(("name", "field"), sharded.LAYERS)
def test_data_parallel_layers_keep_identical_weights(found, name, field):
    for one in found:
        result = one["layers"][f"{name}, {field}"]
        assert result["equal"]
        assert result["defect"] < 1e-5
        assert result["moved"] > 1e-3


def test_attach_refuses_flattened_parameters(found):
    for one in found:
        assert "use torch.distributed.fsdp.fully_shard" in one["flattened"]["svd_projection"]
        assert one["flattened"]["expm"] == "AttachHandle"
