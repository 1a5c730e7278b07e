"""Kerg et al. (2019): nnRNN, beside five other models on copying, MNIST and Penn Treebank."""

from comparisons.papers import (
    Paper,
    SearchGrid,
    Training,
    mnist_iterations,
    mnist_training,
    text_iterations,
)
from comparisons.records import Optimizer, Setting
from comparisons.studies import Dimension

CODE = "Kerg et al. 2019 (nnRNN), nnRNN/nnRNN_release [V]"
ORTHOGONAL = "RNN-orth is `rnn`: free, started orthogonal, with ReLU instead of modReLU"
PLAIN = "a tanh RNN instead of one with modReLU"
PENALTY = (
    "the mean of its penalty on the gains is written as a sum over n/2 of them, the decay of T as "
    "a term of the loss"
)


def _rmsprop(lr: float, alpha: float) -> Optimizer:
    return Optimizer("rmsprop", lr=lr, alpha=alpha)


def _nnrnn(size: int, delta: float, decay: float) -> tuple[float, float]:
    """Arguments of the scheme's penalty; delta is the weight of the mean over its n/2 gains."""
    return (2 * delta / size, decay)


EXPRNN = Setting.of(
    hidden_size=128,
    batch_size=10,
    iterations=1_500,
    optimizer=_rmsprop(1e-3, 0.99),
    unitary_optimizer=_rmsprop(1e-4, 0.99),
    init="henaff",
    source=CODE,
)
NNRNN = EXPRNN.changed(
    optimizer=_rmsprop(5e-4, 0.99),
    unitary_optimizer=_rmsprop(1e-6, 0.99),
    penalty=_nnrnn(128, 1e-4, 1e-6),
    source=f"{CODE}, supplement; its README starts by Cayley instead of Henaff; gains, angles and "
    f"T learn with P, at 1e-6; {PENALTY}",
)
EURNN = EXPRNN.changed(
    optimizer=_rmsprop(1e-3, 0.5),
    unitary_optimizer=_rmsprop(1e-3, 0.5),
    init=None,
    source=f"{CODE}; capacity 2 assumed, read-out of real and imaginary parts",
)
BASELINE = EXPRNN.changed(unitary_optimizer=None, init=None)
RNN = BASELINE.changed(optimizer=_rmsprop(1e-3, 0.9), source=f"{CODE}; {PLAIN}")
RNN_ORTH = BASELINE.changed(optimizer=_rmsprop(2e-4, 0.99), source=f"{CODE}; {ORTHOGONAL}")
LSTM = BASELINE.changed(optimizer=Optimizer("rmsprop", lr=5e-4))

COPYING = (
    (("expm",), EXPRNN),
    (("expm",), EXPRNN.changed(hidden_size=176)),
    (("nnrnn",), NNRNN),
    (("eunn",), EURNN),
    (("eunn",), EURNN.changed(hidden_size=256)),
    (("tanh_rnn",), RNN),
    (("rnn",), RNN_ORTH),
    (("lstm",), LSTM),
    (("lstm",), LSTM.changed(hidden_size=63, optimizer=Optimizer("rmsprop", lr=1e-3))),
)

IMAGES = f"{CODE}; 70 epochs of 60,000 instead of 50,000 with 10,000 held out"
EXPRNN_MNIST = Setting.of(
    hidden_size=512,
    batch_size=100,
    iterations=mnist_iterations(70, 100),
    optimizer=_rmsprop(5e-4, 0.99),
    unitary_optimizer=_rmsprop(5e-5, 0.99),
    init="cayley",
    test_size=10_000,
    eval_every=mnist_iterations(1, 100),
    source=IMAGES,
)
NNRNN_MNIST = EXPRNN_MNIST.changed(
    optimizer=_rmsprop(1.5e-4, 0.99),
    unitary_optimizer=_rmsprop(1.5e-5, 0.99),
    init=None,
    penalty=_nnrnn(512, 0.15, 1e-4),
    source=f"{IMAGES}; values of the supplement (its README: 2e-4, 2e-5, delta .1); start Henaff "
    f"instead of Cayley; {PENALTY}",
)
EURNN_MNIST = EXPRNN_MNIST.changed(
    optimizer=_rmsprop(1e-4, 0.9),
    unitary_optimizer=_rmsprop(1e-4, 0.9),
    init=None,
    source=f"{IMAGES}; capacity 2 assumed",
)
BASELINE_MNIST = EXPRNN_MNIST.changed(unitary_optimizer=None, init=None)
MNIST = (
    (("expm",), EXPRNN_MNIST),
    (("expm",), EXPRNN_MNIST.changed(hidden_size=722)),
    (("nnrnn",), NNRNN_MNIST),
    (("eunn",), EURNN_MNIST),
    (("eunn",), EURNN_MNIST.changed(hidden_size=1024)),
    (
        ("tanh_rnn",),
        BASELINE_MNIST.changed(optimizer=_rmsprop(1e-4, 0.9), source=f"{IMAGES}; {PLAIN}"),
    ),
    (
        ("rnn",),
        BASELINE_MNIST.changed(optimizer=_rmsprop(5e-5, 0.99), source=f"{IMAGES}; {ORTHOGONAL}"),
    ),
    (("lstm",), BASELINE_MNIST.changed(optimizer=_rmsprop(5e-4, 0.99))),
    (("lstm",), BASELINE_MNIST.changed(hidden_size=257, optimizer=_rmsprop(5e-4, 0.99))),
)

TEXT = f"{CODE}; 100 epochs; the letters are those of the word-level files"
CHARACTERS = 5_017_482
"""Number of characters of the training text, which an epoch reads once."""


def _char_lm(size: int, length: int, lr: float, unitary_lr: float | None = None) -> Setting:
    return Setting.of(
        hidden_size=size,
        batch_size=128,
        iterations=text_iterations(100, CHARACTERS, 128, length),
        optimizer=_rmsprop(lr, 0.99),
        unitary_optimizer=None if unitary_lr is None else _rmsprop(unitary_lr, 0.99),
        embedding=200,
        test_size=10**9,  # all of the text
        eval_every=text_iterations(1, CHARACTERS, 128, length),
        source=f"{TEXT}; RMSprop decay .99 assumed",
    )


def _nnrnn_text(length: int) -> Setting:
    return _char_lm(1024, length, 8e-4, 8e-5).changed(
        penalty=_nnrnn(1024, 1.0, 1e-4),
        source=f"{TEXT}; values of the paper (its README has better ones, with Adam); {PENALTY}",
    )


PTB = tuple(
    Training("char_lm", (length,), models, setting, variants=("ptb",))
    for length in (150, 300)
    for models, setting in (
        (
            ("tanh_rnn",),
            _char_lm(1024, length, 1e-5).changed(source=f"{TEXT}; {PLAIN}"),
        ),
        (
            ("rnn",),
            _char_lm(1024, length, 1e-4).changed(source=f"{TEXT}; {ORTHOGONAL}"),
        ),
        (("eunn",), _char_lm(1024, length, 1e-3, 1e-3)),
        (("eunn",), _char_lm(2048, length, 1e-3, 1e-3)),
        (("expm",), _char_lm(1024, length, 5e-3, 1e-4)),
        (("expm",), _char_lm(1386, length, 8e-3, 8e-4)),
        (("nnrnn",), _nnrnn_text(length)),
        (("lstm",), _char_lm(475, length, 1e-3)),
        (("lstm",), _char_lm(1024, length, 8e-3)),
    )
)

RATES = (Dimension("lr", 1e-4, 1e-2), Dimension("alpha", choices=(0.5, 0.9, 0.99)))
TENTH = Dimension("unitary_ratio", choices=(0.1,))
SEARCHED = "Kerg et al. 2019, supplement [V]: lr .01 to .0001, searched here in between"


def _nnrnn_search(size: int, tasks: tuple[str, ...]) -> SearchGrid:
    """The grid of nnRNN, whose penalty depends on the size as in :func:`_nnrnn`."""
    deltas = tuple(2 * delta / size for delta in (0.0, 1e-4, 1e-3, 0.01, 0.1, 0.15, 1.0, 10.0))
    decays = (0.0, 1e-6, 1e-5, 1e-4)
    penalty = (Dimension("penalty.0", choices=deltas), Dimension("penalty.1", choices=decays))
    return SearchGrid(
        ("nnrnn",),
        (*RATES, TENTH, *penalty),
        f"{SEARCHED}; orthogonal lr a tenth; delta 0 to 10, as twice its n-th part, n = {size}",
        tasks,
    )


PAPER = Paper(
    cite="Kerg et al. 2019",
    title="Non-normal Recurrent Neural Network (nnRNN): learning long time dependencies while "
    "improving expressivity with transient dynamics",
    code="nnRNN/nnRNN_release",
    trainings=(
        *(Training("copying", (200,), models, setting) for models, setting in COPYING),
        *(
            training
            for models, setting in MNIST
            for training in mnist_training(models, setting, ("permuted_mnist",))
        ),
        *PTB,
    ),
    search=(
        _nnrnn_search(128, ("copying",)),
        _nnrnn_search(512, ("permuted_mnist",)),
        _nnrnn_search(1024, ("char_lm",)),
        SearchGrid(("expm",), (*RATES, TENTH), f"{SEARCHED}; orthogonal lr a tenth"),
        SearchGrid(
            ("eunn",),
            (*RATES, Dimension("unitary_ratio", choices=(1.0,))),
            f"{SEARCHED}; one lr for all parameters, as in its settings",
        ),
        SearchGrid(("tanh_rnn", "rnn", "lstm"), RATES, SEARCHED),
    ),
    remarks_on={
        "copying": ("Its accuracy is over the last 10 steps, as here.",),
        "permuted_mnist": (
            "Its permutation is RandomState(1234), here RandomState(92916); its values are on its "
            "validation set, read off the curves of its README; its RNN collapses after that.",
        ),
        "char_lm": (
            "Its text is Mikolov's ptb.char; the sizes of the table of equal parameters are those "
            "of its settings.",
        ),
    },
)
