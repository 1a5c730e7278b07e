"""Tables that fit a terminal."""

import io

import pytest
from rich.console import Console

from comparisons.cli.terminal_table import Column, print_table

COLUMNS = (
    Column("model", ("scaled_cayley_unitary", "gru"), numbers=False),
    Column("test loss", ("0.00194 ± 0.00086", "123,456"), numbers=True),
    Column("comment", ("some words that may be wrapped", "none"), numbers=False),
    Column("parameters (W)", ("50,817 (49,152)", "1"), numbers=True),
)


def printed(width, columns=COLUMNS, **options):
    file = io.StringIO()
    print_table(Console(file=file, width=width), "a title", columns, **options)
    lines = file.getvalue().splitlines()
    assert lines[0] == "a title"
    assert max(map(len, lines)) <= width
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("width", "shown"), [(40, 2), (57, 2), (58, 3), (74, 3), (75, 4), (200, 4)]
)
def test_print_table_leaves_out_whole_columns_from_the_end(width, shown):
    text = printed(width)
    names = ("model", "loss", "comment", "(W)")
    table, _, rest = text.partition("not shown: ")
    rest = " ".join(rest.split())
    assert [name in table for name in names] == [place < shown for place in range(4)]
    left_out = [column.name for column in COLUMNS[shown:]]
    assert rest.partition(";")[0].split(", ") == (left_out or [""])
    if left_out:
        assert "a terminal with 75 columns" in rest


@pytest.mark.parametrize("width", range(30, 90, 5))
def test_print_table_breaks_no_number(width):
    text = printed(width)
    assert "0.00194 ± 0.00086" in text
    assert "123,456" in text
    assert ("50,817 (49,152)" in text) == ("(W)" in text.partition("not shown")[0])


def test_print_table_breaks_words_only_where_two_columns_do_not_fit():
    assert "scaled_cayley_unitary" in printed(40)
    narrow = printed(30)
    assert "scaled_cayley_unitary" not in narrow
    broken = "".join(line[:11].strip() for line in narrow.splitlines())
    assert "scaled_cayley_unitary" in broken


def test_print_table_reads_no_markup_and_needs_no_lines():
    column = Column("[red]", ("[bold]x", "y"), numbers=False)
    text = printed(40, [column], styles=["dim", ""])
    assert "[red]" in text
    assert "[bold]x" in text
    assert "[red]" in printed(40, [Column("[red]", (), numbers=False)])
