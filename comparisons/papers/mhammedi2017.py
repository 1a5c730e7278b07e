"""Mhammedi et al. (2017): oRNN, orthogonal matrices from Householder reflections."""

from comparisons.papers import (
    Paper,
    mnist_iterations,
    mnist_training,
)
from comparisons.records import Optimizer, Setting

ADAM = Optimizer("adam", lr=1e-3)
MNIST = Setting.of(
    hidden_size=256,
    batch_size=5,
    iterations=mnist_iterations(100, 5),
    optimizer=ADAM,
    unitary_optimizer=ADAM,
    nonlinearity="leaky_relu",
    learn_h0=True,
    test_size=10_000,
    eval_every=mnist_iterations(1, 5),
    options=(("reflections", 32),),
    source="Mhammedi et al. 2017 (oRNN), zmhammedi/Orthogonal_RNN [V]: at most 100 epochs, all of "
    "them here, in the batches of its job script; slope .01 of the leaky ReLU instead of .1, "
    "reflectors of any length instead of unit columns of a trapezoid, pixels over 255 instead of "
    "256",
)

PAPER = Paper(
    cite="Mhammedi et al. 2017",
    title="Efficient Orthogonal Parametrisation of Recurrent Neural Networks Using Householder "
    "Reflections",
    code="zmhammedi/Orthogonal_RNN",
    trainings=tuple(
        training
        for reflections in (16, 32)
        for training in mnist_training(
            ("householder",),
            MNIST.changed(options=(("reflections", reflections),)),
            ("pixel_mnist",),
        )
    ),
    remarks_on={
        "char_lm": (
            "One sentence is one sequence, of 49 symbols; no state is carried from one to the "
            "next, and there is no BPTT length.",
        ),
    },
)
