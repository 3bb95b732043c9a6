"""Small networks of other designs, trained on the same pictures: whom `attack.py` sets beside QFMScore.

    python benchmarks/peer_networks.py --data DATA/all.csv --backbone tf_efficientnet_lite0.safetensors --out runs/peers

    brisque  natural scene statistics after BRISQUE (Mittal, Moorthy & Bovik, IEEE TIP 2012): the moments behind its
             parameters at two scales, differentiable, and a small perceptron in the place of its support vectors
    cnniqa   Kang, Ye, Li & Doermann, CVPR 2014: normalised grey patches of 32 px, one convolution, max and min pooling
    probe    ImageNet features of tf_efficientnet_lite0, averaged, frozen, and a linear layer

They train on the table's training part alone; validation chooses the epoch. Weights go to OUT/NAME.safetensors with
their validation SRCC; a file that is there is kept. They are peers in design, not the published weights: pictures are
of `--side` px, because so they are attacked. Needs `qfm-metric[train]`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from qfm_metric.train.agreement import srcc
from qfm_metric.train.datasets.table import DataError, Decoded, Row, decode, read_table
from qfm_metric.train.material import to_tensor

PATCH = 32
PATCHES = 4  # of a picture in a round


def grey(images: Tensor) -> Tensor:
    """`(N, 3, H, W)` to luma `(N, 1, H, W)` (BT.601)."""
    return (images * images.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(dim=1, keepdim=True)


def normalise(luma: Tensor, constant: float = 1 / 255) -> Tensor:
    """Mean-subtracted, contrast-normalised (MSCN) luma: a 7 x 7 Gaussian of 7/6 px, as BRISQUE has it."""
    line = torch.exp(-0.5 * (torch.arange(-3.0, 4.0) / (7 / 6)).square()).to(luma)
    window = torch.outer(line, line)[None, None] / line.sum().square()
    mean, square = (F.conv2d(F.pad(x, (3, 3, 3, 3), mode="replicate"), window) for x in (luma, luma.square()))
    # The floor keeps the root's gradient finite where a picture is flat.
    return (luma - mean) / ((square - mean.square()).clamp(min=1e-7).sqrt() + constant)


class Brisque(nn.Module):
    """BRISQUE's statistics `(N, 36)` and a perceptron."""

    rounds, rate = 200, 2e-3

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.BatchNorm1d(36), nn.Linear(36, 64), nn.GELU(), nn.Dropout(0.2), nn.Linear(64, 1))

    def features(self, images: Tensor) -> Tensor:
        luma = grey(images)
        return torch.cat([self._moments(normalise(luma)), self._moments(normalise(F.avg_pool2d(luma, 2)))], dim=1)

    def _moments(self, mscn: Tensor) -> Tensor:
        """Where BRISQUE inverts moments to a generalised Gaussian's parameters, the moments stay as they are."""
        found = [*_shape(mscn)]
        right, down = mscn[..., :, 1:] * mscn[..., :, :-1], mscn[..., 1:, :] * mscn[..., :-1, :]
        falling, rising = mscn[..., 1:, 1:] * mscn[..., :-1, :-1], mscn[..., 1:, :-1] * mscn[..., :-1, 1:]
        for product in (right, down, falling, rising):
            above, below = product.clamp(min=0), product.clamp(max=0)
            found += [_shape(product)[1], product.mean(dim=(1, 2, 3)), _shape(above)[0], _shape(below)[0]]
        return torch.stack(found, dim=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images)).squeeze(1)


def _shape(values: Tensor) -> tuple[Tensor, Tensor]:
    """Log power, and `E|x|^2 / E x^2`, which determines a generalised Gaussian's shape."""
    power = values.square().mean(dim=(1, 2, 3)) + 1e-6
    return power.log(), values.abs().mean(dim=(1, 2, 3)).square() / power


class CNNIQA(nn.Module):
    """The mean over patches of 32 x 32 px, which do not overlap."""

    rounds, rate = 15, 1e-3

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 50, 7)
        self.head = nn.Sequential(nn.Linear(100, 800), nn.ReLU(), nn.Linear(800, 800), nn.ReLU(), nn.Dropout(0.5))
        self.score = nn.Linear(800, 1)

    def patches(self, patches: Tensor) -> Tensor:
        maps = self.convolution(patches)
        return self.score(self.head(torch.cat([maps.amax(dim=(2, 3)), maps.amin(dim=(2, 3))], dim=1))).squeeze(1)

    def forward(self, images: Tensor) -> Tensor:
        cut = F.unfold(normalise(grey(images), 10 / 255), PATCH, stride=PATCH)  # (N, 32 * 32, L)
        patches = cut.transpose(1, 2).reshape(-1, 1, PATCH, PATCH)
        return self.patches(patches).view(len(images), -1).mean(dim=1)


class Probe(nn.Module):
    """A linear layer on averaged ImageNet features."""

    rounds, rate = 100, 2e-3

    def __init__(self, backbone: Path | None = None) -> None:
        super().__init__()
        self.backbone = timm.create_model("tf_efficientnet_lite0", num_classes=0)
        if backbone:
            stored, wanted = load_file(backbone), self.backbone.state_dict()
            self.backbone.load_state_dict({name: stored.get(name, value) for name, value in wanted.items()})
        self.head = nn.Sequential(nn.BatchNorm1d(1280), nn.Dropout(0.5), nn.Linear(1280, 1))

    def features(self, images: Tensor) -> Tensor:
        return self.backbone(2 * images - 1)  # type: ignore[no-any-return]

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images)).squeeze(1)


NETWORKS: dict[str, type[nn.Module]] = {"brisque": Brisque, "cnniqa": CNNIQA, "probe": Probe}


def load_peer(path: Path) -> nn.Module:
    """A trained peer, frozen; `about(path)` says what it is.

    Raises:
        ValueError: no such file, or not one that this script wrote.
    """
    network = NETWORKS[about(path)["network"]]()
    network.load_state_dict(load_file(path))
    return network.eval().requires_grad_(False)


def about(path: Path) -> dict[str, str]:
    """What `train` wrote beside the weights: network, side, training pictures, validation SRCC."""
    try:
        with safe_open(path, "pt") as file:
            found: dict[str, str] = file.metadata() or {}
    except Exception as error:
        raise ValueError(f"{path}: no readable peer ({error}); train one with peer_networks.py") from error
    if found.get("network") not in NETWORKS:
        raise ValueError(f"{path}: not written by peer_networks.py; expected one of {', '.join(NETWORKS)}")
    return found


def evenly(rows: Sequence[Row], count: int) -> list[Row]:
    """Pictures spread evenly over the order of their MOS: a small sample that has the whole's distribution."""
    ordered = sorted(rows, key=lambda row: (row.mos, row.image))
    count = min(count, len(ordered))
    return [ordered[int((i + 0.5) * len(ordered) / count)] for i in range(count)]


def pictures(table: Path, side: int, parts: dict[str, int], folder: Path) -> Decoded:
    """`parts[split]` pictures of each split, reduced and cut to `side` px; decoded once.

    Raises:
        DataError: no such table, or a part without pictures.
    """
    rows = read_table(table)
    found = [row for split, count in parts.items() for row in evenly([r for r in rows if r.split == split], count)]
    if missing := set(parts) - {row.split for row in found}:
        raise DataError(f"{table}: no pictures with split {', '.join(sorted(missing))}; run `prepare` first")
    name = f"pictures-{side}-{'-'.join(f'{split}{count}' for split, count in parts.items())}"
    return decoded_once(found, folder / name, side)


def decoded_once(rows: list[Row], target: Path, side: int) -> Decoded:
    """`rows`, reduced and cut to `side` px, in the folder `target`; unreadable and small ones are left out."""
    if not (target / "table.csv").is_file():  # written last
        print(f"reading {len(rows)} pictures", file=sys.stderr, flush=True)
        for failure in decode(rows, target, side):
            print(failure, file=sys.stderr)
    return Decoded.open(target)


def train(network: nn.Module, decoded: Decoded, say: Callable[[str], None], rounds: int | None = None) -> float:
    """Train in place; the validation SRCC of the epoch that is kept."""
    network.requires_grad_(True)
    split = {part: decoded.select(part) for part in ("train", "val")}
    mos = torch.from_numpy(decoded.mos)
    if isinstance(network, CNNIQA):
        data = {part: _over(lambda x: normalise(grey(x), 10 / 255), decoded, split[part], say) for part in split}
        trained, validate = network, lambda: _patch_scores(network, data["val"])
    else:
        features = network.eval().features  # type: ignore[operator]
        data = {part: _over(features, decoded, split[part], say) for part in split}
        trained, validate = network.head, lambda: network.head(data["val"]).squeeze(1)  # type: ignore[operator]
    rounds = rounds or network.rounds  # type: ignore[assignment]
    optimizer = torch.optim.AdamW(trained.parameters(), lr=network.rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rounds)
    best, kept = -2.0, {}
    for turn in range(rounds):
        trained.train()
        for chosen in torch.randperm(len(split["train"])).split(64):
            values, wanted = data["train"][chosen], mos[split["train"][chosen.numpy()]]
            if isinstance(network, CNNIQA):
                values, wanted = _random_patches(values, PATCHES), wanted.repeat_interleave(PATCHES)
                scores = network.patches(values)
            else:
                scores = trained(values).squeeze(1)
            optimizer.zero_grad()
            F.l1_loss(scores, wanted).backward()
            optimizer.step()
        schedule.step()
        trained.eval()
        with torch.no_grad():
            found = srcc(validate().numpy(), decoded.mos[split["val"]])
        if found > best:
            best, kept = found, {name: tensor.clone() for name, tensor in network.state_dict().items()}
        if turn % max(1, rounds // 10) == 0:
            say(f"round {turn + 1} of {rounds}: validation SRCC {found:.3f}")
    network.load_state_dict(kept)
    network.eval().requires_grad_(False)
    return best


def _over(
    function: Callable[[Tensor], Tensor], decoded: Decoded, chosen: np.ndarray, say: Callable[[str], None]
) -> Tensor:
    found = []
    with torch.no_grad():
        for part in np.array_split(chosen, max(1, len(chosen) // 16)):
            found.append(function(torch.stack([to_tensor(decoded.pixels[i]) for i in part])))
    say(f"{len(chosen)} pictures seen")
    return torch.cat(found)


def _patch_scores(network: CNNIQA, normalised: Tensor) -> Tensor:
    scores = []
    for part in normalised.split(16):
        patches = F.unfold(part, PATCH, stride=PATCH).transpose(1, 2).reshape(-1, 1, PATCH, PATCH)
        scores.append(network.patches(patches).view(len(part), -1).mean(dim=1))
    return torch.cat(scores)


def _random_patches(normalised: Tensor, count: int) -> Tensor:
    """`count` patches of each `(N, 1, side, side)`: `(N * count, 1, 32, 32)`."""
    places = torch.randint(0, normalised.shape[-1] - PATCH + 1, (len(normalised), count, 2)).tolist()
    cut = [
        picture[:, top : top + PATCH, left : left + PATCH]
        for picture, corners in zip(normalised, places, strict=True)
        for top, left in corners
    ]
    return torch.stack(cut)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="table with the columns image, mos, split")
    parser.add_argument("--backbone", type=Path, required=True, help="ImageNet weights for `probe`, in timm's names")
    parser.add_argument("--out", type=Path, default=Path("runs/peers"))
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--side", type=int, default=256, help="px; use that of the attack")
    parser.add_argument("--pictures", type=int, default=4000, help="of the training part")
    parser.add_argument("--validation", type=int, default=800, help="pictures of the validation part")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    decoded = pictures(args.data, args.side, {"train": args.pictures, "val": args.validation}, args.out)
    for name in args.networks:
        target, start = args.out / f"{name}.safetensors", time.monotonic()
        if target.is_file():
            print(f"{target} is there and is kept")
            continue
        torch.manual_seed(args.seed)
        network = Probe(args.backbone) if name == "probe" else NETWORKS[name]()
        found = train(network, decoded, lambda text, name=name: print(f"{name}: {text}", file=sys.stderr, flush=True))
        facts = {"network": name, "side": args.side, "pictures": args.pictures, "validation_srcc": f"{found:.4f}"}
        save_file(network.state_dict(), target, {key: str(value) for key, value in facts.items()})
        print(json.dumps(facts | {"seconds": round(time.monotonic() - start)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
