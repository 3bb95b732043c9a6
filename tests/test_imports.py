"""Who may import whom: a table over the source, and a process that looks at what `import qfm_metric` loads."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import qfm_metric

PACKAGE = Path(qfm_metric.__file__).parent
MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}

# Siblings that a module may import when it is loaded, and those that it may import later, inside a function. `__init__`
# is the package itself. A module that is not listed fails: think about where it stands first.
SIBLINGS = {
    "cli_compare": ({"cli_scan", "compare", "compare_page", "page", "results", "score", "weights"}, {"files"}),
    "cli_report": ({"report", "results"}, set()),
    # files and loss are for type checkers; see the process below
    "__init__": ({"assessment", "files", "guard", "images", "job", "loss", "score", "weights"}, set()),
    "__main__": ({"cli"}, set()),
    "cli": (
        {"__init__", "cli_output", "cli_scan", "export", "files", "images", "job", "onnx", "report", "results", "rows"}
        | {"score", "weights"},
        set(),
    ),
    "cli_output": ({"job", "rows"}, set()),
    "cli_scan": ({"images"}, set()),
    "cli_ray": ({"cli_scan", "files", "job", "rows", "score", "uris"}, {"ray"}),
    "cli_weights": ({"hub", "weights"}, set()),
    "score": ({"assessment", "card", "hub", "inputs", "model", "weights"}, {"__init__"}),
    "assessment": ({"bands", "percentiles"}, set()),
    "bands": (set(), set()),
    "cli_export": ({"export", "score", "weights"}, set()),
    "export": ({"model", "score"}, set()),
    "onnx": ({"export", "model", "score"}, set()),
    "card": (set(), set()),
    "compare": (set(), set()),
    "compare_page": ({"compare", "images", "page", "thumbnails"}, set()),
    "hub": ({"weights"}, set()),
    "files": ({"job", "score"}, set()),
    "guard": ({"score"}, set()),
    "job": ({"images", "model", "overlay", "score", "strips"}, set()),
    "images": (set(), set()),
    "loss": ({"guard", "inputs", "score"}, set()),
    "page": ({"bands"}, set()),
    "report": ({"bands", "images", "overlay", "page", "thumbnails"}, set()),
    "ray": ({"files", "job", "rows", "score", "uris"}, set()),
    "results": ({"rows"}, set()),
    "thumbnails": ({"images"}, set()),
    "inputs": (set(), set()),
    "model": (set(), set()),
    "overlay": (set(), set()),
    "percentiles": (set(), set()),
    "rows": (set(), set()),
    "strips": ({"images", "model"}, set()),
    "uris": ({"images"}, set()),
    "weights": (set(), set()),
    "adapters.__init__": (set(), set()),
    "adapters.evaluate": ({"__init__", "adapters"}, set()),
    "adapters.lightning": ({"adapters", "score"}, set()),
    "adapters.pyiqa": ({"adapters", "score"}, set()),
    "adapters.torchmetrics": ({"adapters", "score"}, set()),
}
# Each adapter loads the packages of its extra, which nothing else does; pyiqa's waits for register().
EXTRAS = {
    "adapters.evaluate": {"datasets", "evaluate"},
    "adapters.lightning": {"lightning"},
    "adapters.torchmetrics": {"torchmetrics"},
}
RUNTIME = {"torch", "numpy", "PIL", "safetensors"}  # timm, huggingface_hub and extras are imported where they are used


def imports(name):
    """The absolute names that a module of the package imports: when it is loaded, and later, inside functions."""
    path = MODULES[name]
    package = ["qfm_metric", *path.relative_to(PACKAGE).parent.parts]
    found = (set(), set())

    def visit(node, later):
        later = later or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.Import):
            found[later].update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = package[: len(package) + 1 - node.level] if node.level else []
            origin = [*origin, node.module] if node.module else origin
            found[later].update(".".join([*origin, alias.name]) for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child, later)

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return found


def siblings(names):
    """The second part of `qfm_metric.x...`; what is no module is a name in `__init__`."""
    parts = {([*name.split("."), ""])[1] for name in names if name.split(".")[0] == "qfm_metric"}
    return {part if any(f"{name}.".startswith(f"{part}.") for name in MODULES) else "__init__" for part in parts}


def others(names):
    return {name.split(".")[0] for name in names} - {"qfm_metric"} - sys.stdlib_module_names


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith("train.")])
def test_inference_modules_import_as_the_table_says(name):
    at_load, later = imports(name)
    may_at_load, may_later = SIBLINGS[name]
    assert siblings(at_load) <= may_at_load
    assert siblings(later) <= may_at_load | may_later
    assert others(at_load) <= RUNTIME | EXTRAS.get(name, set())


def test_the_table_lists_what_there_is():
    assert {name for name in MODULES if not name.startswith("train.")} == set(SIBLINGS)
    assert siblings(imports("assessment")[0]) == {"bands", "percentiles"}  # the reader of imports sees something
    assert siblings(imports("score")[1]) == {"__init__"}
    assert siblings(imports("train.cli_student")[0]) >= {"model", "score", "train"}


def test_importing_the_package_loads_nothing_slow():
    """timm alone takes longer to import than torch; scipy is an extra; training is never part of inference."""
    script = "import json, sys, qfm_metric; print(json.dumps([qfm_metric.__file__, *sys.modules]))"
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    output = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=True, timeout=300
    )
    file, *loaded = json.loads(output.stdout)
    assert Path(file).parent == PACKAGE
    assert output.stderr == b""
    assert {"qfm_metric.score", "torch", "numpy"} <= set(loaded)
    unwanted = (
        "timm",
        "huggingface_hub",
        "scipy",
        "torchvision",
        "pillow_heif",
        "qfm_metric.train",
        "qfm_metric.cli",
        "qfm_metric.loss",
        "qfm_metric.files",
        "qfm_metric.guard",
    )
    assert [name for name in loaded if any(f"{name}.".startswith(f"{slow}.") for slow in unwanted)] == []


@pytest.mark.parametrize("name", qfm_metric.__all__)
def test_public_names_are_documented(name):
    public = getattr(qfm_metric, name)
    assert public.__doc__.strip()  # None, not the parent's, for a class without one
    methods = [value for key, value in vars(public).items() if callable(value) and not key.startswith("_")]
    undocumented = {method.__qualname__ for method in methods if not method.__doc__}
    assert undocumented <= {f"{name}.extra_repr"}  # does what torch.nn.Module says


@pytest.mark.parametrize("name", MODULES)
def test_modules_say_what_they_are(name):
    assert ast.get_docstring(ast.parse(MODULES[name].read_text(encoding="utf-8"))).strip()
