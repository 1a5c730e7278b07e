"""Lin and Wang (CS224N, 2019): the exponential update on the orthogonal group; uRNN and uGRU.

The poster states results, not settings. On words the settings here are inferred, because its table
resembles PyTorch's example word_language_model; on the other two tasks they are this project's.
"""

from dataclasses import replace

from comparisons.papers import Paper, Training, text_iterations
from comparisons.records import Optimizer, Setting

POSTER = "Lin & Wang 2019 state no setting"
RMSPROP = Optimizer("rmsprop", lr=1e-3, alpha=0.9)
RECALL = Setting.of(
    hidden_size=128,
    batch_size=128,
    iterations=5_000,
    optimizer=RMSPROP,
    unitary_optimizer=replace(RMSPROP, lr=1e-4),
    source=f"{POSTER}: this project's; the exponential update takes the gradient as RMSprop "
    "scales it",
)
RECALL_RNN = RECALL.changed(
    unitary_optimizer=None, clip=1.0, source=f"{POSTER}: this project's; tanh units"
)

TOKENS = 929_589
"""Number of tokens of the training text, which an epoch reads once."""
RECIPE = (
    f"{POSTER}: inferred from the likeness of its table to PyTorch's word_language_model, 2 layers "
    "of 200 units, 40 epochs, SGD from 20 on, divided by 4 on a plateau"
)


def _word_lm(length: int) -> Setting:
    return Setting.of(
        hidden_size=200,
        batch_size=20,
        iterations=text_iterations(40, TOKENS, 20, length),
        optimizer=Optimizer("sgd", lr=20.0),
        layers=2,
        bias=True,
        embedding=200,
        dropout=0.2,
        clip_norm=0.25,
        plateau_divisor=4.0,
        init_range=0.1,
        test_size=10**9,  # all of the text
        eval_every=text_iterations(1, TOKENS, 20, length),
        source=RECIPE,
    )


def _unitary(length: int) -> Setting:
    return _word_lm(length).changed(
        unitary_optimizer=Optimizer("sgd", lr=2.0),
        source=f"{RECIPE}; that of the exponential update, from 2 on, is this project's",
    )


ACTIVATIONS = ("relu", "identity", "leaky_relu")
BPTT = (35, 150)
RNN, URNN, GRU, UGRU = ("rnn",), ("lie_exp",), ("gru",), ("lie_exp",)

PAPER = Paper(
    cite="Lin & Wang 2019 (CS224N)",
    title="A poster of the course CS224N on unitary recurrent networks",
    code="none released",
    trainings=(
        Training("first_term", (20, 50, 100), URNN, RECALL),
        Training("first_term", (20, 50, 100), ("tanh_rnn",), RECALL_RNN),
        Training("kth_highest", (100, 200, 400), URNN, RECALL),
        Training("kth_highest", (100, 200, 400), ("tanh_rnn",), RECALL_RNN),
        *(
            Training("word_lm", (35,), models, setting.changed(nonlinearity=name), ("ptb",))
            for name in ACTIVATIONS
            for models, setting in ((RNN, _word_lm(35)), (URNN, _unitary(35)))
        ),
        *(
            Training("word_lm", (length,), models, setting, ("ptb",))
            for length in BPTT
            for models, setting in (
                (GRU, _word_lm(length)),
                (UGRU, _unitary(length).changed(layer="gru")),
            )
        ),
    ),
    remarks=(
        "Its bound on the gradients is in eigenvalues, for every diagonalizable W; that holds for "
        "normal W, and in general with singular values in their place.",
    ),
    remarks_on={
        "first_term": (
            "Vocabulary and sizes are not stated. 0.936 % at length 100, as printed, is chance for "
            "about 100 classes, or a misprint of 9.36.",
        ),
        "kth_highest": ("k, vocabulary and sizes are not stated; its example has k = 3.",),
        "word_lm": (
            "It prints pairs of perplexities and does not say what the two are; the lower one is "
            "taken for that of the test set.",
            "The BPTT length of the table by activation is not stated; 35 is taken.",
            "Which matrices of the uGRU are unitary is not specified.",
        ),
    },
)
