"""`qfm-metric weights COMMAND`: which weights there are, where they lie, and whether they are what was released.

Results go to standard output, a tab-separated row per id; messages to standard error. Exit status: 0 fine, 1 missing,
damaged or out of reach, 2 wrong usage.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from ..folder.file_names import printable
from ..hub import find_weights
from ..weights import EMBEDDED, WeightsError, local_file, read_manifest, read_weights
from .parser import Parser, warn


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args))
    except WeightsError as error:
        warn(str(error))
        return 1


def build_parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="qfm-metric weights", description="Look at weights, fetch and verify them.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: Any, source: str | None) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=run.__doc__, description=run.__doc__)
        sub.set_defaults(run=run)
        sub.add_argument(
            "--cache-dir", metavar="DIR", help="where downloads are kept (default: the Hub client's cache)"
        )
        if source:
            sub.add_argument("sources", nargs="*", metavar=source, help="default: the default id")
        return sub

    command("list", list_weights, None)
    sub = command("download", download, "ID|ORG/NAME[@REVISION]")
    sub.add_argument("--use-token", action="store_true", help="send the token that `hf auth login` saved, or HF_TOKEN")
    command("verify", verify, "ID|PATH|ORG/NAME[@REVISION]")
    command("path", path, "ID|PATH|ORG/NAME[@REVISION]")
    return parser


def list_weights(args: argparse.Namespace) -> int:
    """One row per id of the manifest: id, where it is, bytes, licence, SHA-256; the default comes first."""
    manifest = read_manifest()
    for name in sorted(manifest["weights"], key=lambda name: name != manifest["default"]):
        entry = manifest["weights"][name]
        print(name, _place(name, args.cache_dir), entry["bytes"], entry["licence"], entry["sha256"], sep="\t")
    return 0


def download(args: argparse.Namespace) -> int:
    """Fetch weights into the cache unless they are in the package, verify them, and print their paths."""
    for source in args.sources or [None]:
        found = find_weights(source, cache_dir=args.cache_dir, token=args.use_token)
        read_weights(found)
        print(found.path)
    return 0


def verify(args: argparse.Namespace) -> int:
    """Compare files on this machine with what was released; without network. Default: every id that is here."""
    here = [name for name in read_manifest()["weights"] if _place(name, args.cache_dir) not in ("hub", "absent")]
    failed = 0
    for source in args.sources or here:
        try:
            found = find_weights(source, cache_dir=args.cache_dir, local_files_only=True)
            sha256 = read_weights(found).sha256
            known = [name for name, entry in read_manifest()["weights"].items() if entry["sha256"] == sha256]
            state, name = "ok" if known or found.sha256 else "unknown", known[0] if known else "-"
            print(state, printable(source), name, sha256, sep="\t")
        except WeightsError as error:
            print("error", printable(source), printable(str(error)), sep="\t")
            failed += 1
    return 1 if failed else 0


def path(args: argparse.Namespace) -> int:
    """Print where the file is on this machine; without network."""
    for source in args.sources or [None]:
        print(find_weights(source, cache_dir=args.cache_dir, local_files_only=True).path)
    return 0


def _place(name: str, cache_dir: str | None) -> str:
    """`package`, `checkout`, `cache`, `hub` (can be downloaded) or `absent` (known by its hash only)."""
    entry = read_manifest()["weights"][name]
    if path := local_file(entry):
        return "package" if path.parent == EMBEDDED else "checkout"
    if not entry.get("repo_id"):
        return "absent"
    try:
        find_weights(name, cache_dir=cache_dir, local_files_only=True)
    except WeightsError:
        return "hub"
    return "cache"
