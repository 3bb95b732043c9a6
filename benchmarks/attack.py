"""How far can a score be moved by changes that nobody sees? QFMScore and peers under attack.

    python benchmarks/peer_networks.py --data DATA/all.csv --backbone tf_efficientnet_lite0.safetensors
    python benchmarks/attack.py --data DATA/all.csv --peers runs/peers/*.safetensors --write

Held-out photographs (the table's part `val`) are attacked on every network: APGD within 1, 2 and 4 grey levels, and
gradient ascent without a bound; then every network scores the pictures made on the others. docs/attacks.md explains the
figures. `--guarded` adds, for each of `--weights`, a GuardedScore of it, and pictures that are made to raise both of
its networks at once, which is what somebody would do who knows that it is a guarded one.

The tables go to stdout; what it will cost, and progress, to stderr. Attacked pictures and scores are kept in `--work`:
the same command again, with more weights or after a break, does only what is missing.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import attack_report
import peer_networks
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from qfm_metric import GuardedScore, QFMScore, WeightsError
from qfm_metric.train.attacks import ScoreFn, apgd, ascend, value_and_gradient
from qfm_metric.train.datasets.table import Decoded, Row
from qfm_metric.train.material import to_tensor
from qfm_metric.weights import read_manifest

ROOT = Path(__file__).parent.parent
SHOWN = ("astronaut", "coffee", "chelsea")


@dataclass(frozen=True)
class Attack:
    """APGD within `eps` grey levels, or ascent without a bound where `eps` is 0; by picture of `(1, 3, H, W)`."""

    eps: int
    steps: int
    restarts: int = 1
    direction: int = 1

    @property
    def name(self) -> str:
        bound = f"eps {self.eps}/255" if self.eps else "ascent"
        return bound if self.direction == 1 else f"{bound}, down"

    @property
    def gradients(self) -> int:
        return self.steps * self.restarts

    def __call__(self, score: ScoreFn, image: Tensor) -> Tensor:
        if not self.eps:
            return ascend(score, image, self.steps, direction=self.direction)
        return apgd(score, image, self.eps / 255, self.steps, self.restarts, self.direction)


@dataclass(frozen=True)
class Network:
    """A frozen score by name; `digest` changes with its weights."""

    name: str
    score: ScoreFn
    digest: str


class Store:
    """What was computed, in a folder: an attacked picture a file, scores in one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "scores.json"
        folder.mkdir(parents=True, exist_ok=True)
        self.known: dict[str, list[float]] = json.loads(self.file.read_text()) if self.file.is_file() else {}

    def has(self, key: str) -> bool:
        return self._path(key).is_file()

    def picture(self, key: str) -> Tensor:
        return load_file(self._path(key))["picture"]

    def keep(self, key: str, picture: Tensor) -> None:
        self._replace(self._path(key), lambda path: save_file({"picture": picture.contiguous()}, path))

    def scores(self, key: str, make: Callable[[], list[float]]) -> list[float]:
        if key not in self.known:
            self.known[key] = make()
            self._replace(self.file, lambda path: path.write_text(json.dumps(self.known)))
        return self.known[key]

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    @staticmethod
    def _replace(path: Path, write: Callable[[Path], object]) -> None:
        part = path.with_name(f"{path.name}.part")  # a file that is there is whole
        write(part)
        part.replace(path)


def load_networks(
    weights: Sequence[str], peers: Sequence[Path], guarded: str = "", margin: Sequence[float] = ()
) -> list[Network]:
    """QFMScore's and peers' networks, and each of `weights` guarded by the weights `guarded`, if given.

    Raises:
        ValueError: unknown weights, no peer's file, or two of the same name.
    """
    found, options = [], {"margin": margin} if margin else {}
    robust = _metric(guarded) if guarded else None
    for source in weights:
        metric = _metric(source)
        name = Path(source).stem if Path(source).exists() else source
        found.append(Network(name, metric, _digest(metric.net)))
        if robust is not None:
            guard = GuardedScore(metric, robust, **options)
            digest = _digest(guard)
            found.append(Network(f"{name}, guarded", guard, f"{digest} {guard.extra_repr()}"))
            found.append(Network(f"{name} + robust", _both(metric, robust), digest))
    for path in peers:
        peer = peer_networks.load_peer(path)
        found.append(Network(path.stem, peer, _digest(peer)))
    names = [network.name for network in found]
    if len(set(names)) < len(names):
        raise ValueError(f"networks are told apart by name, got {', '.join(names)}; rename a file")
    return found


def _metric(source: str) -> QFMScore:
    try:
        return QFMScore.from_pretrained(source)
    except WeightsError as error:
        raise ValueError(str(error)) from error


def _both(metric: QFMScore, robust: QFMScore) -> ScoreFn:
    """Their mean: where a guarded score holds one of them, it has a gradient in the other alone."""
    return lambda image: (metric(image) + robust(image)) / 2


def _digest(network: nn.Module) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        found.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return found.hexdigest()[:12]


class Benchmark:
    """The pictures, the attacks and what is known so far."""

    def __init__(self, decoded: Decoded, count: int, attacks: list[Attack], store: Store, threads: int) -> None:
        self.rows = peer_networks.evenly(decoded.rows, count)
        self.attacks, self.store, self.threads = attacks, store, threads
        self.sample = [to_tensor(pixels)[None] for pixels in decoded.pixels]
        self.sample_mos = decoded.mos
        place = {row.image: i for i, row in enumerate(decoded.rows)}
        self.clean = torch.cat([self.sample[place[row.image]] for row in self.rows])
        self.of_sample = _short_hash(decoded.pixels.tobytes())
        self.of_clean = [_short_hash(image.numpy().tobytes()) for image in self.clean]

    def key(self, network: Network, attack: Attack, i: int) -> str:
        """Names the attacked picture `i`; another one as soon as weights, settings or pixels differ."""
        settings = f"{network.digest} {self.of_clean[i]} {attack}"
        return f"{network.name}-{attack.name}-{_short_hash(settings.encode())}".replace("/255", "").replace(", ", "-")

    def missing(self, network: Network) -> list[tuple[Attack, int]]:
        jobs = [(attack, i) for attack in self.attacks for i in range(len(self.clean))]
        return [job for job in jobs if not self.store.has(self.key(network, *job))]

    def seconds_a_gradient(self, network: Network) -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(lambda i: value_and_gradient(network.score, self.clean[:1]), range(2 * self.threads)))
        return (time.perf_counter() - start) / (2 * self.threads)

    def work(self, network: Network, done: Callable[[Attack], None]) -> None:
        """Attack what is missing, a picture on each thread, and keep each at once."""

        def one(job: tuple[Attack, int]) -> None:
            attack, i = job
            self.store.keep(self.key(network, attack, i), attack(network.score, self.clean[i : i + 1])[0])
            done(attack)

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(one, self.missing(network)))

    def attacked(self, network: Network, attack: Attack) -> Tensor:
        """What `work` kept: `(N, 3, H, W)`."""
        return torch.stack([self.store.picture(self.key(network, attack, i)) for i in range(len(self.clean))])

    def scores(self, network: Network, pictures: Sequence[Tensor], key: str) -> list[float]:
        """Scores of `(1, 3, H, W)` pictures; `key` says which ones they are."""

        def make() -> list[float]:
            with ThreadPoolExecutor(self.threads) as pool, torch.no_grad():
                return list(pool.map(lambda image: _without_gradient(network.score, image), pictures))

        return self.store.scores(f"{network.digest} {key}", make)

    def results(self, networks: Sequence[Network]) -> dict[str, object]:
        """All scores as plain lists: `clean`, `sample`, and `attacked[attack][made on][scored by]`."""
        attacked: dict[str, dict[str, dict[str, list[float]]]] = {attack.name: {} for attack in self.attacks}
        psnr: dict[str, dict[str, list[float]]] = {attack.name: {} for attack in self.attacks}
        for source in [network for network in networks if not self.missing(network)]:
            for attack in self.attacks:
                pictures = self.attacked(source, attack)
                error = (pictures - self.clean).square().mean(dim=(1, 2, 3)).clamp(min=1e-10)
                psnr[attack.name][source.name] = (-10 * error.log10()).tolist()
                key = " ".join(self.key(source, attack, i) for i in range(len(self.clean)))
                judged = {judge.name: self.scores(judge, pictures.split(1), key) for judge in networks}
                attacked[attack.name][source.name] = judged
        return {
            "pictures": [{"image": Path(row.image).name, "mos": row.mos} for row in self.rows],
            "clean": {n.name: self.scores(n, self.clean.split(1), " ".join(self.of_clean)) for n in networks},
            "sample": {n.name: self.scores(n, self.sample, self.of_sample) for n in networks},
            "sample_mos": self.sample_mos.tolist(),
            "attacked": attacked,
            "psnr": psnr,
        }


def _short_hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def _without_gradient(score: ScoreFn, image: Tensor) -> float:
    with torch.no_grad():  # a thread has its own mode
        return score(image).item()


def run(benchmark: Benchmark, networks: Sequence[Network], save: Callable[[], None]) -> None:
    """All missing attacks, with what they will cost and how far they are; `save` after each network."""
    wanted = {n.name: sum(attack.gradients for attack, _ in benchmark.missing(n)) for n in networks}
    costs = {n.name: wanted[n.name] * benchmark.seconds_a_gradient(n) for n in networks if wanted[n.name]}
    for name in wanted:
        _say(f"{name}: about {costs[name] / 60:.1f} min" if name in costs else f"{name}: all attacks are kept")
    _say(f"together about {sum(costs.values()) / 60:.1f} min on {benchmark.threads} threads, and scoring")
    for network in networks:
        benchmark.work(network, Progress(network.name, wanted[network.name]).add)
        save()


class Progress:
    """Says how many gradients are done, and how long the rest will take at this pace."""

    def __init__(self, name: str, whole: int) -> None:
        self.name, self.whole, self.done, self.start = name, whole, 0, time.perf_counter()

    def add(self, attack: Attack) -> None:
        self.done += attack.gradients
        left = (time.perf_counter() - self.start) * (self.whole - self.done) / self.done
        _say(f"{self.name}, {attack.name}: {self.done} of {self.whole} gradients, {left / 60:.1f} min left")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")  # in one piece: several threads talk
    sys.stderr.flush()


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="table with the columns image, mos, split")
    parser.add_argument("--weights", nargs="*", default=[read_manifest()["default"]], help="ids or files")
    parser.add_argument("--peers", nargs="*", type=Path, default=[], help="files of peer_networks.py")
    parser.add_argument("--guarded", default="", help="id or file: each of --weights is also held below these")
    parser.add_argument("--margin", nargs=2, type=float, default=[], metavar="M", help="of --guarded")
    parser.add_argument("--pictures", type=int, default=20, help="attacked, spread evenly over the MOS")
    parser.add_argument("--sample", type=int, default=200, help="clean ones whose spread is the unit, and the SRCC")
    parser.add_argument("--side", type=int, default=256, help="px; larger pictures are reduced and cut")
    parser.add_argument("--eps", nargs="*", type=int, default=[1, 2, 4], help="in grey levels")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument(
        "--restarts", nargs="+", type=int, default=[3], help="starts of APGD: one for all, or one per --eps"
    )
    parser.add_argument("--ascent", type=int, default=200, help="steps; 0: none")
    parser.add_argument("--down", action="store_true", help="lower the score within --eps, too")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="a picture on each")
    parser.add_argument("--work", type=Path, default=Path("runs/attack"), help="kept pictures and scores")
    parser.add_argument("--write", action="store_true", help="the tables, figures and picture of docs/ and results/")
    args = parser.parse_args(argv)
    args.restarts = args.restarts * len(args.eps) if len(args.restarts) == 1 else args.restarts
    if len(args.restarts) != len(args.eps):
        parser.error(
            f"--restarts: expected one number, or one for each of {len(args.eps)} --eps, got {len(args.restarts)}"
        )
    numbers = {name: getattr(args, name) for name in ("pictures", "sample", "steps", "threads")}
    numbers["restarts"] = min(args.restarts, default=1)
    if wrong := [f"--{name} {value}" for name, value in numbers.items() if value < 1]:
        parser.error(f"expected at least 1, got {', '.join(wrong)}")
    if args.side < 64 or args.ascent < 0 or any(eps < 1 for eps in args.eps) or args.sample < args.pictures:
        parser.error("expected --side >= 64, --ascent >= 0, --eps >= 1 and --sample >= --pictures")
    if not args.weights and not args.peers:
        parser.error("nothing to attack; give --weights or --peers")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    torch.set_num_threads(1)
    try:
        networks = load_networks(args.weights, args.peers, args.guarded, args.margin)
        decoded = peer_networks.pictures(args.data, args.side, {"val": args.sample}, args.work)
    except ValueError as error:
        _say(f"error: {error}")
        return 2
    directions = (1, -1) if args.down else (1,)
    starts = list(zip(args.eps, args.restarts, strict=True))
    attacks = [Attack(eps, args.steps, restarts, direction) for eps, restarts in starts for direction in directions]
    attacks += [Attack(0, args.ascent)] if args.ascent else []
    benchmark = Benchmark(decoded, args.pictures, attacks, Store(args.work), args.threads)
    settings = {name: getattr(args, name) for name in ("side", "steps", "eps", "restarts", "ascent")}
    target = ROOT / "benchmarks/results/attack.json" if args.write else args.work / "attack.json"

    def save() -> None:
        target.write_text(attack_report.to_json(settings, benchmark.results(networks)))

    run(benchmark, networks, save)
    tables = attack_report.tables(json.loads(target.read_text()))
    print(tables)
    if args.write:
        attack_report.replace_section(ROOT / "docs/attacks.md", tables)
    drawing = ROOT / "docs/attack.jpg" if args.write else args.work / "attack.jpg"
    draw(networks[0], [a for a in attacks if a.direction == 1 and a.eps in (0, 2)], benchmark.store, args, drawing)
    return 0


def draw(network: Network, attacks: list[Attack], store: Store, args: argparse.Namespace, path: Path) -> None:
    """The attacks on photographs that may be shown: scikit-image's, which nobody trained on."""
    import skimage

    rows = [Row(f"{skimage.__path__[0]}/data/{name}.png", 0.0) for name in SHOWN]
    decoded = peer_networks.decoded_once(rows, args.work / f"shown-{args.side}", args.side)
    shown = Benchmark(decoded, len(rows), attacks, store, args.threads)
    _say("photographs for the picture")
    run(shown, [network], lambda: None)
    pictures = {attack.name: shown.attacked(network, attack) for attack in attacks}
    attack_report.draw(shown.results([network]), network.name, shown.clean, pictures, path)


if __name__ == "__main__":
    sys.exit(main())
