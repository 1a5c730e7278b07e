"""The legend of the tables of a report."""

from __future__ import annotations

from comparisons.report.overview_tables import BEST
from comparisons.results.intervals import LEVEL
from comparisons.results.summary import SOLVED, STOPPED

LEGEND = (
    (
        "solved",
        f"all seeds have an evaluation with a test loss below {100 * SOLVED:g} % of the memoryless "
        "baseline (counted from the optimum, where one is known). It means nothing on a text, "
        "whose optimum is not known.",
    ),
    (
        f"mean [interval of {100 * LEVEL:g} %]",
        "the mean over the seeds and Student's interval for it, without what no result can reach. "
        "A single seed has no interval.",
    ),
    (
        "score",
        "the share of the way from the memoryless baseline (0) to the optimum, or to a loss of 0 "
        "where none is known (1); on a text, to the least mean loss. It is the mean over the "
        "seeds; in a mean over tasks, scores below 0 count as 0.",
    ),
    (
        BEST,
        "this model may have the least loss. A model is not marked if a Welch test of the "
        "logarithms of the losses shows another one with a smaller loss; its level is "
        f"{100 * (1 - LEVEL):.0f} % for all comparisons of a model together (Bonferroni). Nothing "
        "is marked where a model has a single seed, and where only one model was trained.",
    ),
    (
        "fastest solver, smallest solver",
        "of the models that solve the task, by the training seconds up to the evaluation that "
        "solves it, as a mean over the seeds, and by the trainable parameters of the whole model. "
        "No test stands behind the order of times.",
    ),
    (
        "several configurations of a model",
        "such as sizes: the overview shows the one of which most seeds solve the task, then the "
        "one with the least mean test loss.",
    ),
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
        "the first evaluated iteration that solves the task, as a mean over the seeds that do.",
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
    "In the tables of the tasks, several seeds: mean ± standard deviation. A table in which every "
    "model has several seeds is sorted by test loss, and the baselines and the optimum stand where "
    "they fall. Any other is sorted by name: another seed alone moves a loss by a factor of up to "
    "5 (on copying), so the order of single seeds means nothing."
)
