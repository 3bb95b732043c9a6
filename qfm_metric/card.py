"""Model card: the README that goes beside saved or published weights, made from their manifest entry."""

import json
import re
from collections.abc import Mapping
from typing import Any

# Names of our figures -> the Hub's metric ids; other figures appear in the table only.
HUB_METRICS = {"srcc": "spearmanr", "plcc": "pearsonr", "krcc": "kendalltau", "rmse": "rmse"}
LIBRARY = "qfm_metric"
TAGS = ["image-quality-assessment", "no-reference", "blind-iqa", "metric", "safetensors", "pytorch"]


def model_card(name: str, entry: Mapping[str, Any] | None, source: str | None = None) -> str:
    """The card as Markdown with YAML front matter.

    Args:
        name: Id of the weights.
        entry: Their manifest entry; None: weights that were not released by us, of which nothing is claimed.
        source: What to pass to `from_pretrained`; default: the folder that the card lies in.
    """
    load = json.dumps(source) if source else '"path/of/this/folder"'
    body = f"""# {name}

Weights of [qfm_metric](https://pypi.org/project/qfm-metric/): no-reference image quality as a number from 0 (bad) to 1
(excellent).

```python
from qfm_metric import QFMScore, load_image

score = QFMScore.from_pretrained({load})
print(score(load_image("photo.jpg")))
```

`qfm_metric` is an independent reconstruction of QFM-IQM (arXiv 2312.06158): it follows the paper's idea, shares no code
or weights with its authors, and its figures are its own.
"""
    body += (
        _facts(entry)
        if entry
        else "\nThese weights are not a release of qfm_metric; no figures are claimed for them.\n"
    )
    return f"---\n{_front_matter(name, entry)}\n---\n\n{body}"


def _facts(entry: Mapping[str, Any]) -> str:
    data = "\n".join(f"- **{part['name']}**: {part['terms']}" for part in entry["training_data"])
    rows = [
        f"| {part} | {figure} | {value} |"
        for part, figures in _parts(entry).items()
        for figure, value in figures.items()
    ]
    table = "\n".join(["| data | figure | value |", "|---|---|---|", *rows])
    return f"""
## Figures

Measured with `{entry["figures"]["command"]}`:

{table}

## Training data and its terms

{data}

The weights are under {entry["licence"]}; whether the terms of the data bind you as well is for you to judge.

## Limits

The score estimates what a panel of viewers would say about the technical quality of a photograph. It is no judge of
content or truth, and it is not made for medical, satellite or synthetic test images.

## Verify

SHA-256 `{entry["sha256"]}`, {entry["bytes"]} bytes.
"""


def _parts(entry: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Figures by the data they were measured on."""
    return {part: figures for part, figures in entry["figures"].items() if isinstance(figures, dict)}


def _front_matter(name: str, entry: Mapping[str, Any] | None) -> str:
    from huggingface_hub import EvalResult, ModelCardData  # not needed to score

    if entry is None:
        return ModelCardData(library_name=LIBRARY, tags=TAGS).to_yaml()
    licence = entry["licence"]
    known = re.fullmatch(r"[A-Za-z0-9.-]+", licence)
    results = [
        EvalResult(
            task_type="image-quality-assessment",
            task_name="No-reference image quality assessment",
            dataset_type=part.split()[0],
            dataset_name=part,
            dataset_config=part,  # by this, not by their names, parts are told apart
            metric_type=HUB_METRICS[figure],
            metric_name=figure.upper(),
            metric_value=value,
        )
        for part, figures in _parts(entry).items()
        for figure, value in figures.items()
        if figure in HUB_METRICS
    ]
    return ModelCardData(
        license=licence.lower() if known else "other",
        license_name=None if known else licence,
        library_name=LIBRARY,
        tags=TAGS,
        datasets=[part["name"] for part in entry["training_data"]],
        metrics=list(dict.fromkeys(result.metric_type for result in results)),
        model_name=name,
        eval_results=results,
    ).to_yaml()
