"""Speed and memory of the library against its peers; each script checks correctness first."""


def text(value: object) -> str:
    """A cell of a table, at a terminal or in the documentation."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    if 0 < abs(value) < 0.01:
        return f"{value:.1e}"
    digits = 3 if 0 < abs(value) < 1 else 2 if abs(value) < 100 else 0
    return f"{value:.{digits}f}"
