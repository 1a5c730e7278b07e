"""Packed texts, and the scripts and style sheets of the page."""

import base64
import gzip
import json
import re

import pytest

from comparisons.report.page.html import LIBRARIES
from comparisons.report.page.packing import (
    STATIC,
    import_map,
    packed,
    packed_library,
    style_sheet,
)


def test_packed_is_opened_by_gzip_and_is_the_same_again():
    data = b"abc" * 1000
    assert gzip.decompress(base64.b64decode(packed(data))) == data
    assert packed(data) == packed(data)
    assert len(packed(data)) < 100


@pytest.mark.parametrize("name", LIBRARIES)
def test_packed_library_is_that_of_the_package(name):
    text = gzip.decompress(base64.b64decode(packed_library(*LIBRARIES[name]))).decode("utf-8")
    assert {"plotly": "plotly.js", "datatables": "DataTable"}[name] in text


def test_packed_library_names_the_remedy_where_it_is_missing():
    with pytest.raises(ModuleNotFoundError, match=r"needs no_such_package; pip install"):
        packed_library("no_such_package", "file.js")


def test_import_map_holds_every_module_that_a_script_imports():
    modules = json.loads(import_map())["imports"]
    texts = {
        name: base64.b64decode(address.partition(",")[2]).decode("utf-8")
        for name, address in modules.items()
    }
    assert len(texts) == len(list(STATIC.glob("*.js")))
    for name, text in texts.items():
        imported = re.findall(r'^import .* from "([^"]+)";', text, re.MULTILINE)
        assert set(imported) <= set(modules), name
        assert len(imported) == text.count("\nimport ") + text.startswith("import ")


def test_style_sheet_ends_no_element_and_loads_nothing():
    assert "</" not in style_sheet()
    assert "url(" not in style_sheet()
    assert "@import" not in style_sheet()
    assert style_sheet().rstrip().endswith("}")
