"""Speed and memory of the library against its peers; each benchmark checks correctness first."""

from comparisons.results.text import format_cell as text  # old name: remove at integration

__all__ = ["text"]
