import pytest
import torch

from comparisons.models import SequenceModel, model_names
from comparisons.tasks import TASKS
from comparisons.training.trainer import train
from unitary_zoo import UnitaryGRU

# A text gives as many targets as steps; an image has as many steps as pixels.
LENGTHS = {"char_lm": 35, "word_lm": 35, "pixel_mnist": 64, "permuted_mnist": 64}


@pytest.mark.parametrize("model", model_names())
def test_sequence_model_output_shape_on_every_task(make_run, model):
    for name in TASKS.names():
        task = TASKS.get(name)(LENGTHS.get(name, 6))
        batch = next(task.train_batches(3, torch.Generator().manual_seed(0)))
        outputs = SequenceModel(model, make_run().setting, task)(batch.inputs)[0]
        classes = () if batch.targets.is_floating_point() else (task.output_size,)
        assert outputs.shape == (*batch.targets.shape, *classes), name
        assert outputs.dtype == torch.float32, name


def test_sequence_model_has_published_parameter_count(make_run):
    setting = make_run(learn_h0=True, hidden_size=128).setting
    copying = SequenceModel("arjovsky", setting, TASKS.get("copying")(5))
    assert sum(p.numel() for p in copying.parameters()) == 48 * 128 + 9
    adding = SequenceModel("arjovsky", setting, TASKS.get("adding")(5))
    assert sum(p.numel() for p in adding.parameters()) == 16 * 128 + 1


def test_sequence_model_uses_init(make_run):
    def start(init):
        model = SequenceModel("cayley", make_run(init=init).setting, TASKS.get("copying")(5))
        (scheme,) = model.schemes()
        return scheme.matrix()

    torch.testing.assert_close(start("identity"), torch.eye(8))
    assert (start(None) - torch.eye(8)).abs().max() > 0.1


def test_sequence_model_takes_scheme_in_gru(make_run):
    setting = make_run(layer="gru", layers=2, bias=True).setting
    model = SequenceModel("lie_exp", setting, TASKS.get("copying")(5))
    assert isinstance(model.rnn, UnitaryGRU)
    assert len(list(model.schemes())) == 2 * 3  # the two gates and the candidate
    assert train(make_run("lie_exp", layer="gru", bias=True)).defect_end < 1e-5
    with pytest.raises(ValueError, match="layer='lstm'"):
        SequenceModel("lie_exp", setting.changed(layer="lstm"), TASKS.get("copying")(5))
