"""The manifest against its schema, and the schema against the checks that loading makes without it."""

import copy
import json
from pathlib import Path

import jsonschema
import pytest

from qfm_metric import WeightsError, weights
from qfm_metric.weights import check_manifest, read_manifest

SCHEMA = json.loads(Path(weights.__file__).with_name("weights_manifest.schema.json").read_text(encoding="utf-8"))
CHECK = jsonschema.Draft202012Validator(SCHEMA)
DROP = object()


@pytest.fixture
def manifest():
    return copy.deepcopy(read_manifest())


def test_the_manifest_follows_its_schema(manifest):
    CHECK.check_schema(SCHEMA)
    CHECK.validate(manifest)
    assert manifest["default"] in manifest["weights"]  # which the schema cannot say
    for entry in manifest["weights"].values():
        entry |= {"repo_id": "org/name", "revision": "0" * 40, "filename": "model.safetensors", "file": None}
    CHECK.validate(manifest)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sha256", "abc"),
        ("sha256", DROP),
        ("bytes", 0),
        ("bytes", 1.5),
        ("file", "../up.safetensors"),
        ("file", "model.bin"),
        ("repo_id", "org/name"),  # without a revision
        ("revision", "0" * 40),  # without a repository
        ("licence", ""),
        ("training_data", []),
        ("training_data", [{"name": "BIQ2021"}]),
        ("figures", {"BIQ2021 test": {"srcc": 0.9}}),
        ("figures", {"command": "x"}),
        ("figures", {"command": "x", "BIQ2021 test": {"srcc": "high"}}),
        ("note", "unknown key"),
    ],
)
def test_schema_refuses(manifest, key, value):
    entry = manifest["weights"][manifest["default"]]
    entry[key] = value
    if value is DROP:
        del entry[key]
    with pytest.raises(jsonschema.ValidationError):
        CHECK.validate(manifest)


@pytest.mark.parametrize(
    "damage",
    [
        {"sha256": "0"},
        {"bytes": 0},
        {"bytes": "many"},
        {"file": "../secret.safetensors"},
        {"repo_id": "org/name"},
        {"repo_id": "org/name", "revision": "main", "filename": "model.safetensors"},
    ],
)
def test_what_would_mislead_the_loader_is_refused_without_the_schema(manifest, damage):
    check_manifest(manifest)
    manifest["weights"][manifest["default"]] |= damage
    with pytest.raises(WeightsError, match=next(iter(damage))):
        check_manifest(manifest)
    assert not CHECK.is_valid(manifest)


@pytest.mark.parametrize("damage", [{"default": "none"}, {"schema_version": 2}, {"weights": []}])
def test_manifest_of_another_form_is_refused(manifest, damage):
    with pytest.raises(WeightsError, match="expected schema_version 1"):
        check_manifest(manifest | damage)
