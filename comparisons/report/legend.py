"""The legend of the tables of a report."""

from comparisons.results.summary import SOLVED, STOPPED

LEGEND = (
    (
        "constant baseline",
        "the loss of the best answer that is the same for every sequence.",
    ),
    (
        "memoryless baseline",
        "the loss of the best predictor from the step and its input alone, which a network without "
        "memory can learn: only a loss below it shows that something was remembered.",
    ),
    (
        "solved at",
        f"the first evaluated iteration with a test loss below {100 * SOLVED:g} % of the "
        "memoryless baseline (counted from the optimum, where one is known).",
    ),
    (
        "ms / step",
        "median wall time of forward, backward and optimizer; evaluation and data generation are "
        "not counted.",
    ),
    (
        "peak MB",
        "rise of the process's resident memory, what torch loads on first use included (on a GPU, "
        "the allocator's peak).",
    ),
    (
        "defect",
        "‖WᴴW − I‖₂ of the recurrent matrix before and after training; a dash for models that do "
        "not claim to be unitary.",
    ),
    (
        "validation",
        "where a task has a validation set, the test values are those of the evaluation with the "
        "least validation loss (best at that iteration), and of the last evaluation elsewhere, "
        "unless a setting follows its paper in taking the least test loss.",
    ),
    (
        STOPPED,
        "a seed ended early, as its setting asks: its curve ends there, the lines of the figures "
        "are means of the seeds that came so far, and its test values are chosen from the "
        "evaluations that it has.",
    ),
)
"""Lines and columns of the tables and what they mean."""

LEGEND_END = (
    "Several seeds: mean ± standard deviation. A table in which every model has several seeds is "
    "sorted by test loss, and the baselines and the optimum stand where they fall. Any other is "
    "sorted by name: another seed alone moves a loss by a factor of up to 5 (on copying), so "
    "the order of single seeds means nothing."
)
