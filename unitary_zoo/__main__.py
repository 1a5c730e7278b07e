"""``python -m unitary_zoo``: the schemes as a table, and the checks of one of them."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import io
import os
import pkgutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unitary_zoo.base import Parametrization, SchemeInfo, UnknownSchemeError
from unitary_zoo.testing import yield_checks
from unitary_zoo.testing.subject import Subject

EXAMPLES = """\
examples:
  python -m unitary_zoo                                   the schemes
  python -m unitary_zoo list --field complex --n 64       those that serve complex matrices
  python -m unitary_zoo check cayley                      every check of a scheme of the library
  python -m unitary_zoo check my_package.schemes:Mine     of a class in a module
  python -m unitary_zoo check mine.py:Mine --option k=3   of a class in a file, with an option

exit codes of check: 0 all checks pass, 1 some fail, 2 there is no such class or option
"""


class UsageError(ValueError):
    """The command line asks for something that does not exist; the message is one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every encoding has the signs of a claim
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help")):
        given.insert(0, "list")
    parser = _parser()
    options = parser.parse_args(given)
    try:
        return int(options.run(options))
    except UsageError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m unitary_zoo",
        description="List the schemes, or check one.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    listing = commands.add_parser("list", help="the table of schemes (the default)")
    listing.add_argument("--field", choices=("real", "complex"), help="only schemes that serve it")
    listing.add_argument("--family", choices=("static", "rebased", "projected"))
    listing.add_argument("--n", type=_size, default=128, help="size at which to count dimensions")
    listing.set_defaults(run=_list)
    check = commands.add_parser("check", help="run the checks of a scheme, not those of its layers")
    check.add_argument("scheme", help="registered name, package.module:Class or file.py:Class")
    help_ = "an option of the scheme; VALUE is a Python literal, or else text"
    check.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help=help_)
    check.set_defaults(run=_check)
    return parser


def _size(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return int(text)


def _widths(rows: Iterable[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(map(str.ljust, cells, widths)).rstrip()


# ---------------------------------------------------------------------------------------- list


def _list(options: argparse.Namespace) -> int:
    filters = {"fields": options.field, "family": options.family}
    names = Parametrization.names(**{key: value for key, value in filters.items() if value})
    header = ("scheme", "W", "family", "field", "group", f"dimension, n={options.n}", "cost")
    rows: list[tuple[str, ...]] = [(*header, "unitary")]
    for name in names:
        info = Parametrization.get(name).info
        # The default field comes first.
        for field in sorted(info.fields, key=lambda field: field != info.field):
            if options.field in (None, field):
                rows.append(_row(replace(info, field=field), options.n))
    widths = _widths(rows)
    for row in rows:
        print(_line(row, widths))
    return 0


def _row(info: SchemeInfo, n: int) -> tuple[str, ...]:
    size = next((k for k in range(n, 4 * n + 1) if info.accepts(k)), None)
    dimension = "-" if size is None else str(info.dimension(size))
    if size not in (n, None):
        dimension += f" (n={size})"
    unitary = info.deviation or "yes"
    return info.name, info.title, info.family, info.field, info.reach, dimension, info.cost, unitary


# --------------------------------------------------------------------------------------- check


def _check(options: argparse.Namespace) -> int:
    scheme, given = _find(options.scheme), dict(map(_keyword, options.option))
    subject = Subject(scheme, given)
    try:
        subject.build(subject.sizes()[-1], given.get("field"))
    except Exception as error:
        # The checks report a scheme that cannot be built without options. A missing package or a
        # wrong option is no fault of the scheme.
        if given or isinstance(error, ImportError):
            with_options = f" with {given}" if given else ""
            message = f"cannot build {scheme.__name__}{with_options}: {_one_line(error)}"
            raise UsageError(message) from None
    checks = list(yield_checks(scheme, **given))
    header = ("check", "status", "residual", "tolerance", "seconds")
    widths = _widths([header, *((name, "expected failure", "", "", "") for name, _ in checks)])
    print(_line(header, widths))
    failed = 0
    for _, run in checks:
        result = run()
        numbers = f"{result.residual:.2e}", f"{result.tolerance:.2e}", f"{result.seconds:.2f}"
        print(_line((result.check, result.status, *numbers), widths))
        if result.status != "passed":
            print(f"    {result.message}")
        sys.stdout.flush()
        failed += result.status == "failed"
    print(f"{scheme.__name__}: {failed} of {len(checks)} checks failed")
    return 1 if failed else 0


def _find(name: str) -> type[Parametrization]:
    """Return the class of a registered name, ``package.module:Class`` or ``file.py:Class``."""
    where, colon, attribute = name.rpartition(":")
    if not colon:
        try:
            return Parametrization.get(name)
        except UnknownSchemeError as error:
            raise UsageError(f"{error} (a class is given as module:Class)") from None
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = _run_file(Path(where)) if where.endswith(".py") else pkgutil.resolve_name(where)
    except Exception as error:  # a module can raise anything, and then has no class
        raise UsageError(f"cannot import {where!r}: {_one_line(error)}") from None
    schemes = {key: x for key, x in vars(module).items() if _is_scheme(x)}
    if attribute not in schemes:
        own = [key for key, x in schemes.items() if x.__module__ == module.__name__]
        known = ", ".join(own) or "none"
        raise UsageError(f"{where} has no Parametrization called {attribute!r}; it has {known}")
    if not isinstance(getattr(schemes[attribute], "info", None), SchemeInfo):
        raise UsageError(f"{attribute} states no info; set info = SchemeInfo(...)")
    return schemes[attribute]


def _is_scheme(x: object) -> bool:
    return isinstance(x, type) and issubclass(x, Parametrization)


def _run_file(path: Path) -> Any:
    name = f"checked_{path.stem}" if path.stem in sys.modules else path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickle finds classes by the name of their module
    spec.loader.exec_module(module)
    return module


def _keyword(pair: str) -> tuple[str, Any]:
    key, equals, text = pair.partition("=")
    if not (equals and key.isidentifier()):
        raise UsageError(f"--option {pair!r} is not KEY=VALUE")
    try:
        return key, ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return key, text


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


if __name__ == "__main__":
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as head, has closed the pipe; Python would flush once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)
