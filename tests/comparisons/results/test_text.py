from comparisons.results.text import format_cell, markdown_table


def test_format_cell_rounds_to_significant_digits():
    values = [None, True, False, "a", 3, 16384, 0.0, 0.12345, 2.0, 0.0000123456, 1234.5, 12345.6]
    assert [format_cell(value) for value in values] == [
        "–", "yes", "no", "a", "3", "16384", "0", "0.123", "2", "1.23e-05", "1,234", "12,346",
    ]  # fmt: skip
    assert format_cell(98.9649, 4) == "98.96"


def test_markdown_table_aligns_numbers_and_escapes_bars():
    table = markdown_table(["a", "b"], [["x|y", "1"], ["`x|y`\nz", "2"]], numbers=["b"])
    assert table.splitlines() == ["| a | b |", "| --- | --: |", "| x\\|y | 1 |", "| `x|y` z | 2 |"]
