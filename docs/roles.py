"""Show the roles of docstrings, as in :math:`x^2` and :func:`name`, in Markdown: a mkdocs hook.

Formulas become MathML while the site is built, so that pages load no script to show them.
"""

import re
from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.util import AtomicString

# Before Markdown's own patterns for backslashes and backticks, which have 190 and less.
PRIORITY = 200


class Role(InlineProcessor):
    """One role: a formula, or the name of something."""

    # Markdown's InlineProcessor itself has one argument more here than the Pattern it derives from.
    def handleMatch(  # type: ignore[override]
        self, match: re.Match[str], data: str
    ) -> tuple[Element | str, int, int]:
        """The element for a match, and where the match was."""
        role, text = match[1], " ".join(match[2].split())
        if role == "math":
            # Markdown would take a formula without the span out of its paragraph, which scrolls.
            formula = f"<span>{convert(text)}</span>"
            return self.md.htmlStash.store(formula), match.start(), match.end()
        code = Element("code")
        code.text = AtomicString(text.rpartition("~")[2])
        return code, match.start(), match.end()


class Roles(Extension):
    """The Markdown extension that shows the roles of the docstrings."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Add the pattern."""
        pattern = r":(math|func|class|meth|attr|mod|data):`([^`]+)`"
        md.inlinePatterns.register(Role(pattern, md), "roles", PRIORITY)


def on_config(config: Any, **_: Any) -> Any:
    """Add the extension for pages and docstrings; mkdocs calls it with its settings."""
    config.markdown_extensions.append(Roles())
    return config
