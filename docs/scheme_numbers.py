"""What a scheme cost and reached, as recorded: sections of its page."""

import statistics
from pathlib import Path

from recorded import (
    HERE,
    Row,
    best_by_place,
    exported,
    interval,
    made_by_benchmark,
    made_by_runs,
    measured,
    metric,
    place,
    span,
    table,
    where,
)

from comparisons.results.intervals import LEVEL
from comparisons.results.summary import SOLVED, solvable
from comparisons.results.text import NONE, format_cell, markdown_table
from comparisons.tasks import TASKS

PRESET = "quick"
PEER = "tanh_rnn"
"""The model that is PyTorch's nn.RNN."""

# --------------------------------------------------------------------------- trainings of a preset


def reached(name: str, docs: Path = HERE) -> str:
    """What a scheme reached on each task of the preset; "" if nothing is recorded."""
    found = exported(PRESET, docs)
    own = [run for run in found["runs"] if run["model"] == name] if found else []
    if not own:
        return ""
    best = best_by_place(PRESET, docs)
    among = [name in best[place(run)] if best[place(run)] else None for run in own]
    lines = [_task_line(run, tied) for run, tied in zip(own, among, strict=True)]
    columns = ["task", "metric", "value", "solved", "seconds to there", "among the best"]
    seeds = {run["seeds"] for run in own}
    words = [
        f"Mean over the seeds ({', '.join(map(str, sorted(seeds)))}), and its interval of "
        f"confidence {LEVEL:.0%}."
        if max(seeds) > 1
        else "Of a single seed, which has no interval and no order.",
        f"A task is *solved* when the test loss falls below {SOLVED:g} of the loss without memory "
        "(both counted from the optimum, where it is known); the seconds are those of the training "
        "steps up to there, and their median over the seeds that solve it.",
        "*Among the best* is the model of the least loss, and every one that its seeds cannot tell "
        "from that." * (max(seeds) > 1),
    ]
    shown = [
        _in_short(own, among),
        markdown_table(columns, lines, columns[4:5]),
        " ".join(words).strip(),
    ]
    return "\n\n".join([*filter(None, shown), made_by_runs(own)])


def _task_line(run: Row, tied: bool | None) -> list[str]:
    seconds = [solution[1] for solution in run.get("solved", ())]
    return [
        where(run),
        run["metric_name"],
        interval(metric(run)),
        f"{len(seconds)} of {run['seeds']} seeds" if _counts(run) else NONE,
        # The median: one seed of which another program took the processor would move the mean.
        format_cell(statistics.median(seconds)) if seconds else NONE,
        format_cell(tied),
    ]


def _counts(run: Row) -> bool:
    """Whether "solved" means something on the task of a record, and is recorded."""
    return "solved" in run and solvable(TASKS.get(run["task"])(run["T"], run["variant"]))


def _in_short(own: list[Row], among: list[bool | None]) -> str:
    """A sentence on all tasks; "" where the seeds are not recorded."""
    counted = [run for run in own if _counts(run)]
    if not counted:
        return ""
    solved = sum(len(run["solved"]) == run["seeds"] for run in counted)
    text = f"It solved {solved} of {len(counted)} tasks with every seed"
    if None in among:
        return f"{text}."
    count = sum(map(bool, among))
    return f"{text}, and on {count} of {len(among)} no model was better, as far as seeds can tell."


# ------------------------------------------------------------------------------------------- cost

COSTS = ("field", "n", "parameters", "build_ms", "step_ms", "apply_ms", "dense_ratio", "drift")
SIZES = ("field", "n", "map_mb", "saved_mb", "dense_matrix_mb")


def cost(name: str, docs: Path = HERE) -> str:
    """What W costs, how its condition is, and how long a training step takes beside nn.RNN's."""
    found = measured("scheme_speed", docs)
    shown = [beside_the_peer(name, docs)]
    if found:
        for key, columns in (("schemes", COSTS), ("memory", SIZES)):
            rows = [row for row in found.get(key, ()) if row["scheme"].split("(")[0] == name]
            if rows:
                variants = {row["scheme"] for row in rows}
                columns = (*["options"] * (len(variants) > 1), *columns)
                shown.append(table([_columns(row, name, columns) for row in rows]))
        shown[-1] += f"\n\n{made_by_benchmark(found)}"
    return "\n\n".join(filter(None, [*shown, condition(name, docs)]))


def _columns(row: Row, name: str, columns: tuple[str, ...]) -> Row:
    options = row["scheme"].removeprefix(name).strip("()")
    known = {"options": options or "default", **row}
    return {key: known[key] for key in columns if key in known}


def beside_the_peer(name: str, docs: Path) -> str:
    """The time of a training step as a multiple of that of nn.RNN; "" if it is not recorded."""
    found = exported(PRESET, docs)
    times: dict[str, dict[tuple[str, str, str, int], float]] = {name: {}, PEER: {}}
    for run in found["runs"] if found else ():
        if run["model"] in times and run.get("seconds"):
            times[run["model"]][place(run)] = run["seconds"] / run["iterations"]
    ratios = [time / times[PEER][at] for at, time in times[name].items() if at in times[PEER]]
    if not ratios:
        return ""
    median = f"{statistics.median(ratios):.2f}"
    return (
        f"A training step of the tasks above took {median} times as long as one with "
        f"PyTorch's `nn.RNN` on the same task (median of {len(ratios)} tasks; {span(ratios)}). "
        "W alone costs, with the columns that "
        "[Which scheme should I take?](../choosing.md#what-do-the-columns-mean) explains:"
    )


def condition(name: str, docs: Path) -> str:
    """How unevenly one learning rate moves W, over each field; "" if it is not recorded."""
    found = measured("gradient_condition", docs)
    rows = [row for row in found["conditions"] if row["scheme"] == name] if found else []
    if not found or not rows:
        return ""
    parts = [
        f"{format_cell(row['median'])} over the {row['field']} field "
        f"({span([row['least'], row['most']])})"
        for row in rows
    ]
    return (
        f"The [condition](../choosing.md#measured-the-conditions) of dW/dθ at {rows[0]['starts']} "
        f"fresh starts is {', and '.join(parts)}: the median, and the least and the largest. 1 "
        f"means that one learning rate moves W evenly in all directions. "
        f"{made_by_benchmark(found)}"
    )
