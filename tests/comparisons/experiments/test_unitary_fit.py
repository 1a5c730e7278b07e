"""The search for a unitary network: it finds one of twice the states, and none of as many."""

import pytest
import torch
from torch import nn

from comparisons.experiments.unitary_fit import best_unitary_fit_error
from unitary_zoo.theory import forgetting_rnn


@pytest.mark.parametrize(("n", "states"), [(1, 1), (2, 2)])
def test_fit_of_n_states_is_not_found(n, states):
    assert best_unitary_fit_error(forgetting_rnn(n), states, trials=2, steps=40) > 0.05


def test_fit_of_twice_the_states_is_found():
    # Of the starts for one channel eight in ten end at rounding, in one component at least. For two
    # that takes longer; well below the .2 of two states they all come.
    assert best_unitary_fit_error(forgetting_rnn(1), 2, trials=3, steps=60) < 1e-7
    assert best_unitary_fit_error(forgetting_rnn(2), 4, trials=2, steps=40) < 0.05


def test_fit_follows_its_seed_and_leaves_the_random_state_alone():
    rnn, before = forgetting_rnn(1), torch.random.get_rng_state()
    first, again, other = (
        best_unitary_fit_error(rnn, 1, trials=1, steps=5, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again != other
    assert torch.equal(before, torch.random.get_rng_state())


def test_fit_refuses_other_networks():
    with pytest.raises(ValueError, match=r"num_layers=2 and bidirectional=False.*one cell"):
        best_unitary_fit_error(nn.RNN(2, 3, 2, nonlinearity="relu"), 2)
    with pytest.raises(ValueError, match=r"'tanh'"):
        best_unitary_fit_error(nn.RNN(2, 3), 2)
    with pytest.raises(TypeError, match=r"a GRU"):
        best_unitary_fit_error(nn.GRU(2, 3), 2)
