"""Nguyen-Duy, Pham and Nguyen (2023): asRNN, between saturated and orthogonal; numbers alone."""

from comparisons.papers import Paper, PublishedResult, Source, mnist_accuracy

BITS = (
    ("LSTM 475", ("lstm",), 475, (1.41, 1.43)),
    ("asRNN 1024", (), 1024, (1.46, 1.49)),
    ("expRNN 1386", ("expm",), 1386, (1.49, 1.52)),
)
"""Bits per character on the test text, with BPTT lengths 150 and 300."""

PAPER = Paper(
    cite="Nguyen-Duy et al. 2023",
    title="Adaptive-saturated RNN: Remember more with less instability",
    code="ndminhkhoi46/asRNN",
    outcomes=(
        *mnist_accuracy("asRNN", (), 122, 98.89, 95.41, Source.PRINTED),
        *mnist_accuracy("asRNN", (), 257, 99.21, 96.88, Source.PRINTED),
        *mnist_accuracy("asRNN", (), 364, 99.3, 96.96, Source.PRINTED),
        *(
            PublishedResult(
                "char_lm", (length,), name, ours, f"{value:g} bits", Source.PRINTED, size, "ptb", value
            )
            for name, ours, size, values in BITS
            for length, value in zip((150, 300), values, strict=True)
        ),
    ),
    remarks=("There is no asRNN in this comparison: its recurrent matrix is not unitary.",),
)  # fmt: skip
