"""Who may import whom: a table over the source, and a process that looks at what `import qfm_metric` loads."""

import ast
import json
import os
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import qfm_metric
from qfm_metric.cli import COMMANDS

PACKAGE = Path(qfm_metric.__file__).parent
MODULES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}

# What the modules of a folder, or one that is in none, may import when they are loaded, and what they may import later,
# inside a function; always what is in their own folder. `__init__` is the package itself. What is not listed fails:
# think about where it stands first. Training may import everything, and nothing imports training.
MAY_IMPORT = {
    "__init__": (
        set(),
        {"assessment", "facts", "folder", "guard", "images", "loss", "panorama", "reference"}
        | {"score", "video", "weights"},
    ),
    "__main__": (set(), {"cli"}),
    "cli": (
        {"__init__", "atomic", "compare", "compiled", "cull", "decoding", "defects", "folder", "html", "hub", "images"}
        | {"own_files", "rating", "ratings", "requirements", "score", "video", "weights"},
        {"adapters", "export", "reference"},
    ),
    "adapters": ({"__init__", "folder", "images", "inputs", "rating", "reference", "score", "torch_defaults"}, set()),
    "cull": ({"atomic", "decoding", "folder", "own_files", "requirements", "scale"}, set()),
    "ratings": ({"atomic", "decoding", "folder", "scale", "xmp_packet"}, set()),
    "html": (
        {"atomic", "compare", "cull", "decoding", "defects", "folder", "own_files", "scale"},
        {"images", "overlay"},
    ),
    "video": ({"decoding", "folder", "images", "rating", "score", "torch_defaults"}, set()),
    "folder": (
        {"atomic", "decoding", "defects", "facts", "images", "overlay", "own_files", "panorama", "rating", "score"}
        | {"torch_defaults"},
        set(),
    ),
    "panorama": ({"decoding", "images", "inputs", "rating", "score", "torch_defaults", "xmp_packet"}, set()),
    "facts": ({"decoding"}, {"images"}),
    "compiled": (
        {"atomic", "backbone", "export", "folder", "geometry", "images", "model", "rating", "score"}
        | {"torch_defaults"},
        {"__init__"},
    ),
    "export": ({"atomic", "backbone", "decoding", "geometry", "model", "own_files", "score", "torch_defaults"}, set()),
    "loss": ({"guard", "inputs", "score", "torch_defaults"}, set()),
    "guard": ({"images", "inputs", "rating", "score"}, set()),
    "inputs": ({"images"}, set()),
    "score": (
        {"assessment", "config", "defects", "geometry", "hub", "images", "inputs", "model", "pretrained", "rating"}
        | {"torch_defaults", "views", "weights"},
        {"__init__"},
    ),
    "pretrained": ({"atomic", "card", "config", "decoding", "model", "own_files", "torch_defaults", "weights"}, set()),
    "rating": ({"decoding", "images"}, set()),
    "reference": ({"hub", "inputs", "score", "torch_defaults", "weights"}, set()),
    "model": ({"backbone", "cells", "config", "geometry", "reference_head", "statistics_head"}, set()),
    "statistics_head": ({"cells"}, set()),
    "config": ({"geometry"}, set()),
    "views": ({"geometry", "images"}, set()),
    "hub": ({"weights"}, set()),
    "weights": ({"atomic", "decoding", "own_files"}, {"torch_defaults"}),
    "images": ({"decoding"}, set()),
    "overlay": ({"own_files", "scale"}, set()),
    "assessment": ({"defects", "scale"}, set()),
}
MAY_IMPORT |= dict.fromkeys(
    (
        *("atomic", "backbone", "card", "cells", "compare", "decoding", "defects", "geometry"),
        *("own_files", "reference_head", "requirements", "scale", "torch_defaults", "xmp_packet"),
    ),
    (set(), set()),
)
# Modules that import what a variable names, and which of ours that may be.
BY_VARIABLE = {
    "__init__": {f"qfm_metric.{module}" for module in qfm_metric._MODULES.values()},
    "cli.__init__": {f"qfm_metric.cli.{command}" for command in (*COMMANDS, "score", "video")},
    "export": set(),
}
# Each adapter loads the packages of its extra, which nothing else does; pyiqa's waits for register().
EXTRAS = {
    "adapters.evaluate": {"datasets", "evaluate"},
    "adapters.lightning": {"lightning"},
    "adapters.torchmetrics": {"torchmetrics"},
}
RUNTIME = {"torch", "numpy", "PIL", "safetensors"}  # timm, huggingface_hub and extras are imported where they are used


def read_imports(source, package, by_variable):
    """The absolute names that a source imports: when it is loaded, and later, inside functions.

    Raises:
        ValueError: a variable says what is imported, and `by_variable`, the names that it may have, is None.
    """
    found = (set(), set())

    def absolute(name):
        module = name.lstrip(".")
        level = len(name) - len(module)
        return ".".join([*package[: len(package) + 1 - level], module]).rstrip(".") if level else module

    def visit(node, later):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            return
        later = later or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.Import):
            found[later].update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = absolute("." * node.level + (node.module or ""))
            found[later].update(f"{origin}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            if isinstance(node.args[0], ast.Constant):
                found[later].add(absolute(node.args[0].value))
            elif by_variable is None:
                raise ValueError(f"expected a name, got {ast.unparse(node)}; list it in BY_VARIABLE")
            else:
                found[later].update(by_variable)
        for child in ast.iter_child_nodes(node):
            visit(child, later)

    visit(ast.parse(source), False)
    return found


def imports(name):
    """Of a module of the package."""
    package = ["qfm_metric", *MODULES[name].relative_to(PACKAGE).parent.parts]
    return read_imports(MODULES[name].read_text(encoding="utf-8"), package, BY_VARIABLE.get(name))


def first(module):
    """The folder that a module is in, or the module itself if it is in none."""
    return module.split(".")[0]


def siblings(names):
    """The folders and modules that these names are in; what is in none is a name of `__init__`."""
    parts = {([*name.split("."), ""])[1] for name in names if name.split(".")[0] == "qfm_metric"}
    return {part if part in map(first, MODULES) else "__init__" for part in parts}


def others(names):
    return {name.split(".")[0] for name in names} - {"qfm_metric"} - sys.stdlib_module_names


def loads(name, targets):
    """What has to be loaded before the module `name` is, which imports these targets."""
    found = set()
    for target in targets:
        parts = target.split(".")
        known = []  # from the package down to the module itself
        for end in range(1, len(parts) + 1) if parts[0] == "qfm_metric" else ():
            path = ".".join(parts[1:end])
            known += [module for module in (path, f"{path}.__init__".lstrip(".")) if module in MODULES]
        begun = [module for module in known[:-1] if name.startswith(module.removesuffix("__init__"))]
        found |= set(known) - set(begun)  # its own folder's is being loaded, and waits for this one
    return found - {name}


@pytest.mark.parametrize("name", [name for name in MODULES if first(name) != "train"])
def test_inference_modules_import_as_the_table_says(name):
    at_load, later = imports(name)
    own, (may_at_load, may_later) = {first(name)}, MAY_IMPORT[first(name)]
    assert siblings(at_load) <= own | may_at_load
    assert siblings(later) <= own | may_at_load | may_later
    assert others(at_load) <= RUNTIME | EXTRAS.get(name, set())


def test_the_table_lists_what_there_is_and_no_more():
    assert {first(name) for name in MODULES} - {"train"} == set(MAY_IMPORT)
    for group, (may_at_load, may_later) in MAY_IMPORT.items():
        used = [imports(name) for name in MODULES if first(name) == group]
        at_load, later = (set().union(*(siblings(names[k]) for names in used)) for k in (0, 1))
        assert may_at_load <= at_load, group
        assert may_later <= later, group
    assert siblings(imports("train.start")[0]) >= {"hub", "model", "weights"}


def test_no_modules_wait_for_each_other_while_they_are_loaded():
    graph = {name: loads(name, imports(name)[0]) for name in MODULES}
    assert graph["html.document"] == {"defects", "folder.__init__", "folder.file_names", "folder.row", "scale"}
    assert graph["folder.tiles"] == {"images"}
    TopologicalSorter(graph).prepare()  # CycleError names them
    for name, target in (("images", "views.together"), ("score", "folder.stream.score_files")):
        with pytest.raises(CycleError):
            TopologicalSorter(graph | {name: loads(name, {f"qfm_metric.{target}"})}).prepare()


@pytest.mark.parametrize(
    ("source", "at_load", "later"),
    [
        ("import a.b, c", {"a.b", "c"}, set()),
        ("from a import b as c", {"a.b"}, set()),
        ("from . import b", {"qfm_metric.folder.b"}, set()),
        ("from .. import b\nfrom ..a.c import *", {"qfm_metric.b", "qfm_metric.a.c.*"}, set()),
        ("try:\n import a\nexcept E:\n with c:\n  import b\nclass X:\n import d", {"a", "b", "d"}, set()),
        ("def f():\n if x:\n  from .a import b\ng = lambda: import_module('c')", set(), {"qfm_metric.folder.a.b", "c"}),
        ("a = importlib.import_module('..b', __package__).c", {"qfm_metric.b"}, set()),
        ("async def f():\n __import__('a')\n import_module(name)", set(), {"a", "qfm_metric.x"}),
        ("if TYPE_CHECKING:\n import a\nif typing.TYPE_CHECKING:\n import b", set(), set()),
    ],
)
def test_every_import_is_seen(source, at_load, later):
    assert read_imports(source, ["qfm_metric", "folder"], {"qfm_metric.x"}) == (at_load, later)


def test_an_import_that_cannot_be_seen_is_told():
    with pytest.raises(ValueError, match=r"import_module\(name\); list it"):
        read_imports("import_module(name)", ["qfm_metric"], None)


@pytest.mark.parametrize(
    ("script", "wanted", "unwanted"),
    [
        ("import qfm_metric", {"qfm_metric"}, {"torch", "numpy", "PIL"}),
        ("import qfm_metric; qfm_metric.__version__; dir(qfm_metric)", {"qfm_metric"}, {"torch", "numpy", "PIL"}),
        (
            "from qfm_metric import QFMScore",
            {"qfm_metric.score", "torch", "numpy"},
            {"qfm_metric.loss", "qfm_metric.folder", "qfm_metric.guard"},
        ),
        ("from qfm_metric import *", {"qfm_metric.score", "qfm_metric.loss", "qfm_metric.folder"}, set()),
    ],
)
def test_importing_loads_nothing_slow_that_was_not_asked_for(script, wanted, unwanted):
    """timm alone takes longer to import than torch; scipy is an extra; training is never part of inference."""
    script = f"{script}\nimport json, sys, qfm_metric; print(json.dumps([qfm_metric.__file__, *sys.modules]))"
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    output = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=True, timeout=300
    )
    file, *loaded = json.loads(output.stdout)
    assert Path(file).parent == PACKAGE
    assert output.stderr == b""
    assert wanted <= set(loaded)
    unwanted |= {"timm", "huggingface_hub", "scipy", "torchvision", "pillow_heif", "qfm_metric.train", "qfm_metric.cli"}
    unwanted |= {"qfm_metric.html"}
    assert [name for name in loaded if any(f"{name}.".startswith(f"{slow}.") for slow in unwanted)] == []


def test_the_package_shows_exactly_its_public_names():
    assert set(dir(qfm_metric)) == {*qfm_metric.__all__, "__version__"}
    assert set(qfm_metric._MODULES) == set(qfm_metric.__all__)
    with pytest.raises(AttributeError, match="module 'qfm_metric' has no attribute 'QFMScor'"):
        _ = qfm_metric.QFMScor


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
