"""Remake all that was computed with the default weights, and note which weights it was made with.

    python benchmarks/remake.py --list                     # what there is, what makes it, and what is stale
    python benchmarks/remake.py                            # all that needs nothing but the weights
    python benchmarks/remake.py pictures docs/culling.md   # by group, name or file
    python benchmarks/remake.py severity --data DATA --severity distortion-severity.csv
    python benchmarks/remake.py quantiles --data DATA --old OLD.safetensors

`claims` runs each document's blocks and writes what they print now behind `# <-` and into the blocks of output. Studies
take pictures, and some take hours: they run when they are named, and their documents name the weights they are of.
Those without a script that writes print their command instead; when the document is up to date, `--record` notes it.
"""

import argparse
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from artefacts import ARTEFACTS, Artefact, Made, default_weights, read_record, write_record
from old_to_new import old_to_new

from qfm_metric.weights import read_manifest

OPTIONS = {
    "data": "folder that `prepare biq2021` wrote",
    "severity": "CSV of human means per type and level of distortion",
    "backbone": "tf_efficientnet_lite0.safetensors, for peers",
    "photographs": "folder of photographs that may be shown",
    "old": "for `quantiles`: the weights before, an id or a file",
}
QUANTILES = "quantiles"


def stale(artefacts: Sequence[Artefact], record: Mapping[str, Made], manifest: Mapping[str, Any]) -> list[str]:
    """Names of those that were made with other weights than the manifest's default, or nobody knows with which."""
    now = default_weights(manifest)
    return [artefact.name for artefact in artefacts if artefact.files and record.get(artefact.name) != now]


def unnamed(artefacts: Sequence[Artefact], record: Mapping[str, Made], root: Path) -> list[str]:
    """Documents that do not name the weights that their figures are of."""
    return [
        f"{file}: {artefact.name}"
        for artefact in artefacts
        for file in artefact.files
        if file.endswith(".md")
        and not re.search(
            rf"(?<![\w-]){re.escape(record[artefact.name]['weights'])}(?![\w-])",
            (root / file).read_text(encoding="utf-8"),
        )
    ]


def choose(names: Sequence[str]) -> list[Artefact]:
    """Artefacts by name, group or file; without names those that need nothing but the weights.

    Raises:
        ValueError: nothing is called that.
    """
    known = {name for artefact in ARTEFACTS for name in (artefact.name, artefact.group, *artefact.files)}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{', '.join(unknown)}: expected a name, a group or a file of --list")
    return [
        artefact
        for artefact in ARTEFACTS
        if (artefact.group != "studies" if not names else {artefact.name, artefact.group, *artefact.files} & {*names})
    ]


def show(artefacts: Sequence[Artefact], record: Mapping[str, Made], manifest: Mapping[str, Any]) -> None:
    old = stale(artefacts, record, manifest)
    for artefact in artefacts:
        made = record.get(artefact.name, {"weights": "unknown weights"})["weights"] if artefact.files else ""
        state = f"stale: {made}" if artefact.name in old else made
        needs = " ".join(f"--{name}" for name in artefact.needs) or (
            artefact.command and "by hand: " + artefact.command
        )
        print(f"{artefact.group:9} {artefact.name:16} {state:28} {' '.join(artefact.files)}{needs and '; ' + needs}")


def processor_seconds() -> float:
    """Of this process and those that it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of artefacts, groups or files, or `{QUANTILES}`")
    parser.add_argument("--list", action="store_true", help="remake nothing")
    parser.add_argument("--record", action="store_true", help="note what was made by hand with the default weights")
    parser.add_argument("--workers", type=int, default=2, help="processes, of studies")
    for name, text in OPTIONS.items():
        parser.add_argument(f"--{name}", type=str if name == "old" else Path, help=text)
    args = parser.parse_args(argv)
    if args.names == [QUANTILES]:
        args.chosen, needed = [], ["data", "old"]
    else:
        try:
            args.chosen = choose(args.names)
        except ValueError as error:
            parser.error(str(error))
        needed = [] if args.list or args.record else [name for artefact in args.chosen for name in artefact.needs]
    if args.record and not args.names:
        parser.error("--record: expected the names of what was made")
    if missing := [f"--{name}" for name in dict.fromkeys(needed) if getattr(args, name) is None]:
        parser.error(f"expected {' and '.join(missing)} for {', '.join(args.names)}")
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse(argv)
    manifest, record = read_manifest(), read_record()
    if args.names == [QUANTILES]:
        print(old_to_new(args.data, args.old, manifest["default"]))
        return
    for artefact in [] if args.list else args.chosen:
        if artefact.make and not args.record:
            print(f"{artefact.name} ...", flush=True)
            start = processor_seconds()
            artefact.make(args)
            print(f"{artefact.name}: {processor_seconds() - start:.0f} s of processor time", flush=True)
        elif not args.record:
            print(f"{artefact.name}, by hand: python {artefact.command}\nthen --record {shlex.quote(artefact.name)}")
            continue
        if artefact.files:
            record[artefact.name] = default_weights(manifest)
            write_record(record)
    if args.list:
        show(args.chosen if args.names else ARTEFACTS, record, manifest)


if __name__ == "__main__":
    main()
