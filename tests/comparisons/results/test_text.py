from comparisons.results.text import enumerated, format_cell, format_seconds, markdown_table


def test_format_cell_rounds_to_significant_digits():
    values = [None, True, False, "a", 3, 16384, 0.0, 0.12345, 2.0, 0.0000123456, 1234.5, 12345.6]
    assert [format_cell(value) for value in values] == [
        "–", "yes", "no", "a", "3", "16384", "0", "0.123", "2", "1.23e-05", "1,234", "12,346",
    ]  # fmt: skip
    assert format_cell(98.9649, 4) == "98.96"


def test_markdown_table_aligns_numbers_and_escapes_bars():
    table = markdown_table(["a", "b"], [["x|y", "1"], ["`x|y`\nz", "2"]], numbers=["b"])
    assert table.splitlines() == ["| a | b |", "| --- | --: |", "| x\\|y | 1 |", "| `x|y` z | 2 |"]


def test_enumerated_counts_what_is_past_the_limit():
    assert enumerated(["a"]) == "a"
    assert enumerated(["a", "b", "c"]) == "a, b and c"
    assert enumerated(["a", "b", "c", "d", "e"], limit=3) == "a, b and 3 others"


def test_format_seconds_chooses_the_unit():
    seconds = (0.0123, 4.0, 99.0, 100.0, 5999.0, 36000.0)
    assert [format_seconds(value) for value in seconds] == [
        "0.0123 s", "4 s", "99 s", "1.67 min", "100 min", "10 h",
    ]  # fmt: skip
