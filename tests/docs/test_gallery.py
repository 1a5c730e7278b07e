"""The scripts of the gallery run, and do what their pages say."""

import importlib.util
import json
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("sklearn", reason="its digits are the data of the gallery")

DOCS = Path(__file__).parents[2] / "docs"
GALLERY = DOCS / "gallery"
NAMES = ("circuit", "fine_tuning", "flow", "lipschitz", "lstm")


@pytest.fixture(autouse=True)
def as_started_by_its_path(monkeypatch):
    monkeypatch.syspath_prepend(str(GALLERY))


@pytest.fixture
def script(request):
    """The module of the script that a test names."""
    spec = importlib.util.spec_from_file_location(request.param, GALLERY / f"{request.param}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    return module


def of(name):
    return pytest.mark.parametrize("script", [name], indirect=True)


@pytest.fixture(scope="module")
def hook():
    return runpy.run_path(str(DOCS / "gen_gallery.py"))


# ------------------------------------------------------------------------- scripts and their pages


@pytest.mark.parametrize("name", NAMES)
def test_script_trains_and_its_file_is_shown(name, hook, tmp_path, monkeypatch):
    (tmp_path / "gallery").mkdir()
    out = tmp_path / "gallery" / f"{name}.json"
    path = str(GALLERY / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [path, "--steps", "2", "--seeds", "2", "--out", str(out)])
    rates = runpy.run_path(path, run_name="__main__")["RATES"]
    found = json.loads(out.read_text(encoding="utf-8"))
    assert [t["method"] for t in found["trainings"]] == [m for m in rates for _ in range(2)]
    first, second, *_ = found["trainings"]
    assert first["values"] != second["values"]  # each seed is a training of its own
    page = hook["on_page_markdown"]((GALLERY / f"{name}.md").read_text("utf-8"), docs=tmp_path)
    assert all(f"\n| {method} | " in page for method in rates)
    assert page.count("<svg") == (name in hook["AXES"])


def test_pages_are_those_of_the_scripts():
    assert {path.stem for path in GALLERY.glob("*.md")} == {*NAMES, "index"}
    assert {path.stem for path in GALLERY.glob("*.json")} <= set(NAMES)


@pytest.mark.parametrize("name", sorted(path.stem for path in GALLERY.glob("*.json")))
def test_page_shows_the_recorded_file_of_the_script_as_it_is(name, hook):
    found = json.loads((GALLERY / f"{name}.json").read_text(encoding="utf-8"))
    rates = runpy.run_path(str(GALLERY / f"{name}.py"))["RATES"]
    recorded = {training["method"]: training["rate"] for training in found["trainings"]}
    assert rates.items() <= recorded.items()
    assert found["setting"][0]["seeds"] >= 3
    assert f"docs/gallery/{name}.py" in found["command"]
    page = hook["on_page_markdown"]((GALLERY / f"{name}.md").read_text("utf-8"))
    assert "<!--" not in page
    assert found["command"] in page


@pytest.mark.parametrize("name", NAMES)
def test_page_shows_code_of_the_script_only(name):
    text = (GALLERY / f"{name}.md").read_text(encoding="utf-8")
    source = (GALLERY / f"{name}.py").read_text(encoding="utf-8")
    shown = re.findall(r'^```python title="([^"\n]*)"\n(.*?)^```$', text, re.MULTILINE | re.DOTALL)
    assert len(shown) == text.count("```") // 2 > 0
    for title, code in shown:
        assert title == f"from docs/gallery/{name}.py"
        part = re.fullmatch(rf'--8<-- "gallery/{name}\.py:(\w+)"\n', code)[1]
        assert re.search(rf"\[start:{part}\]\n.*\[end:{part}\]\n", source, re.DOTALL)


def test_hook_names_the_command_that_makes_a_missing_file(hook, tmp_path):
    page = hook["on_page_markdown"]("<!-- gallery: lstm -->", docs=tmp_path)
    assert "`python docs/gallery/lstm.py --out docs/gallery/lstm.json`" in page


# -------------------------------------------------------------------------------------- their ideas


@of("lstm")
def test_gates_are_orthogonal_after_training_only_if_constrained(script):
    defects = [script.train(m, 0.03, 5, 0).values["‖WᵀW − I‖"] for m in script.RATES]
    assert defects[0] < 1e-4
    assert min(defects[1:]) > 0.01


@of("lipschitz")
def test_certificate_is_the_distance_to_the_boundary_of_one_layer(script):
    layer = script.orthogonal(nn.Linear(64, 10), "weight", "expm").double()
    x = torch.randn(200, 64, dtype=torch.double)
    y = layer(x).argmax(1)
    w = layer.weight
    # The distance to the plane on which two logits are equal, for every other class.
    gaps = (layer(x).gather(1, y[:, None]) - layer(x)) / torch.cdist(w, w)[y]
    exact = gaps.masked_fill(nn.functional.one_hot(y, 10).bool(), torch.inf).amin(1)
    assert torch.allclose(script.certified(nn.Sequential(layer), x, y), exact, atol=1e-6)


@of("lipschitz")
def test_certified_accuracy_is_below_the_attacked_one_at_every_radius(script):
    outcome = script.train("orthogonal", 0.03, 60, 0)
    assert outcome.values["Lipschitz bound"] == pytest.approx(1, abs=1e-4)
    assert outcome.values["certified at 0.5"] > 0.2
    for (_, safe), (_, withstood) in zip(*outcome.curves.values(), strict=True):
        assert safe <= withstood


@of("lipschitz")
def test_network_stretches_no_distance(script):
    model = script.network("orthogonal").double()
    x = torch.randn(500, 64, dtype=torch.double)
    y = x + 0.1 * torch.randn(500, 64, dtype=torch.double)
    assert ((model(x) - model(y)).norm(dim=1) <= (x - y).norm(dim=1) * (1 + 1e-6)).all()


def rotations(count, size):
    a = torch.randn(count, size, size)
    return torch.linalg.matrix_exp((a - a.mT) / 4)


@of("fine_tuning")
def test_rotated_weight_is_that_of_the_dense_rotation(script):
    adapter, weight = script.Rotated(32), torch.randn(24, 32)
    assert torch.allclose(adapter(weight), weight, atol=1e-5)  # training starts where it was
    blocks = rotations(4, 8)
    adapter.blocks = blocks
    changed = adapter(weight)
    assert torch.allclose(changed, weight @ torch.block_diag(*blocks).T, atol=1e-4)
    assert torch.allclose(changed @ changed.T, weight @ weight.T, atol=1e-3)  # norms and angles


@of("fine_tuning")
def test_all_adapters_start_from_the_trained_model(script):
    start, x = script.Transformer(), torch.randn(3, 8, 8)
    for method in script.RATES:
        assert torch.allclose(script.adapt(start, method)(x), start(x), atol=1e-4)


@of("fine_tuning")
def test_rotations_change_a_layer_as_those_of_peft(script):
    pytest.importorskip("peft", reason="the peer, which no extra installs")
    start, x = script.Transformer(), torch.randn(3, 8, 8)
    peer, ours = (script.adapt(start, method) for method in (script.PEFT, "OFT"))
    layers = [(m, ours.get_submodule(p)) for p, m in peer.named_modules() if hasattr(m, "oft_R")]
    assert len(layers) == 12
    for theirs, layer in layers:
        blocks = rotations(layer.in_features // script.BLOCK, script.BLOCK)
        layer.parametrizations.weight[0].blocks = blocks
        # peft holds the entries above the diagonal of A, and multiplies by (I - A)(I + A)^-1.
        one = torch.eye(script.BLOCK)
        a = torch.linalg.solve(one + blocks, one - blocks)
        rows, columns = torch.triu_indices(script.BLOCK, script.BLOCK, 1)
        theirs.oft_R["default"].weight.data = a[:, rows, columns]
        theirs.merge()
        assert torch.allclose(layer.weight, theirs.get_base_layer().weight, atol=1e-5)
    assert torch.allclose(ours(x), peer(x), atol=1e-4)


@of("flow")
@pytest.mark.parametrize("method", ["rotations", "any matrices", "permutations"])
def test_volume_is_the_determinant_of_the_jacobian(script, method):
    flow = script.Flow(method, 8).double()
    with torch.no_grad():  # away from the orthogonal start
        for p in flow.parameters():
            p.add_(0.1 * torch.randn_like(p) * p.requires_grad)  # a permutation stays one
    x = torch.randn(1, 8, dtype=torch.double)
    jacobian = torch.autograd.functional.jacobian(lambda x: flow(x)[0][0], x)[:, 0]
    assert flow(x)[1].item() == pytest.approx(torch.linalg.slogdet(jacobian)[1].item(), abs=1e-5)


@of("circuit")
def test_gates_are_kronecker_products_and_unitary_together(script):
    circuit = script.Gates()
    one = torch.eye(8, dtype=torch.cfloat)
    dense = one
    for place, gate in zip(circuit.places, circuit.gates, strict=True):
        idle = torch.eye(2, dtype=torch.cfloat)
        w = gate.matrix()
        dense = (torch.kron(w, idle) if place == 0 else torch.kron(idle, w)) @ dense
    states = script.product_states(5)
    assert torch.allclose(states.norm(dim=1), torch.ones(5))
    assert torch.allclose(circuit(states), states @ dense.T, atol=1e-5)
    assert torch.allclose(dense.mH @ dense, one, atol=1e-5)


@of("circuit")
def test_gates_find_the_circuit_and_a_free_matrix_does_not(script, monkeypatch):
    monkeypatch.setattr(script, "STARTS", 1)
    gates, matrix = (
        script.train(method, script.RATES[method], 60, 0).values["fidelity of the outcomes"]
        for method in ("gates of two qubits", "any matrix")
    )
    assert gates > 0.95 > 0.9 > matrix
