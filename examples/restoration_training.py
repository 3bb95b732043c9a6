"""The network of `restoration_loss.py`, what is added to its L1 loss, and the runs that compare."""

import argparse
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from restoration_judges import find_judges, judge
from restoration_pictures import centre, choose_pictures, degrade, draw_batch, load_pictures, to_bytes
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from qfm_metric import GuardedScore, QFMLoss, QFMScore
from qfm_metric.config import QFMConfig
from qfm_metric.train.start import build

RATIO_STEPS = 5
JITTER = 0.05
HELD_OUT_SEED = 10**6  # of the degradations of held-out pictures; no run has it

Term = Callable[[Tensor, Tensor], Tensor]  # restored and clean crops to a number that L1 is added to


class Restorer(nn.Module):
    """Degraded to restored images, `(N, 3, H, W)`; what to add is found at a half and a quarter of the size."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(12, width, 3, padding=1)
        self.fine = nn.Sequential(Block(width), Block(width))
        self.down = nn.Conv2d(width, 2 * width, 2, stride=2)
        self.coarse = nn.Sequential(*(Block(2 * width) for _ in range(depth)))
        self.up = nn.Sequential(nn.Conv2d(2 * width, 4 * width, 1), nn.PixelShuffle(2))
        self.merge = nn.Sequential(Block(width), Block(width))
        self.leave = nn.Conv2d(width, 12, 3, padding=1)
        nn.init.zeros_(self.leave.weight)  # starts as the identity
        nn.init.zeros_(self.leave.bias)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % 4, 0, -height % 4), mode="replicate")
        fine = self.fine(self.enter(F.pixel_unshuffle(padded, 2)))
        merged = self.merge(fine + self.up(self.coarse(self.down(fine))))
        return images + F.pixel_shuffle(self.leave(merged), 2)[..., :height, :width]


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features)


def perceptual_distance(source: str, device: str) -> Term:
    """A distance of deep features: `lpips` (its package and its downloads), `timm` (a download) or a file of
    `tf_efficientnet_lite0`, whose channels are scaled to length 1 and count alike.
    """
    if source == "lpips":
        import lpips

        peer = lpips.LPIPS(net="vgg", verbose=False).to(device).requires_grad_(False)
        return lambda restored, clean: peer(restored, clean, normalize=True).mean()
    net = build(QFMConfig(), source).to(device).requires_grad_(False).eval()

    def distance(restored: Tensor, clean: Tensor) -> Tensor:
        pairs = zip(*(net.pyramid(net.preprocess(images)) for images in (restored, clean)), strict=True)
        apart = [(F.normalize(one, dim=1) - F.normalize(two, dim=1)).square().sum(1).mean() for one, two in pairs]
        return torch.stack(apart).sum()

    return distance


class Experiment:
    """Trains and judges a network per loss and seed; whatever lies below `--out` already is taken from there."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.metric = QFMScore.from_pretrained(args.weights_id).to(args.device)
        self.guarded = GuardedScore(self.metric).to(args.device) if args.guarded_weights else None
        self.perceptual = perceptual_distance(args.perceptual, args.device) if args.perceptual else None
        self.judges = find_judges()
        limits = (args.train_pictures, args.held_out_pictures)
        train, kept = choose_pictures(args.images, args.held_out, limits, args.min_mos)
        self.train_pictures = load_pictures(train, args.crop)
        self.train_digest = digest(self.train_pictures)
        self.clean = {name: centre(picture, args.view) for name, picture in load_pictures(kept, args.crop).items()}
        self.degraded = {
            name: to_bytes(degrade(picture / 255, np.random.default_rng([HELD_OUT_SEED, i])))
            for i, (name, picture) in enumerate(self.clean.items())
        }
        (args.out / "runs").mkdir(parents=True, exist_ok=True)

    def run(self, kind: str, weight: float, seed: int) -> dict[str, Any]:
        """Train with L1 and the term `kind` (QFM, QFMLoss, guarded, perceptual or none), and judge the pictures."""
        network = self.trained(kind, weight, seed)
        file = network.with_suffix(".json")
        judged_by = [self.metric.weights_sha256, digest(self.degraded), *self.judges]
        if file.is_file():
            found = json.loads(file.read_text())
            if found["judged_by"] == judged_by:
                return found
        net = self.restorer(network)
        restored = {name: self.restore(net, picture) for name, picture in self.degraded.items()}
        result = {"loss": kind, "weight": weight, "seed": seed, "network": str(network), "judged_by": judged_by}
        result["pictures"] = self.judge_all(restored)
        file.write_text(json.dumps(result, indent=1))
        return result

    def judge_all(self, pictures: Mapping[str, Tensor]) -> dict[str, dict[str, float]]:
        return {name: judge(pictures[name], clean, self.metric, self.judges) for name, clean in self.clean.items()}

    @torch.inference_mode()
    def restore(self, net: nn.Module, picture: Tensor) -> Tensor:
        """`(3, H, W)` uint8 to `(3, H, W)` uint8."""
        return to_bytes(net(picture[None].to(self.args.device) / 255)[0]).cpu()

    def restorer(self, file: Path) -> Restorer:
        net = Restorer(self.args.width, self.args.depth)
        net.load_state_dict(load_file(file))
        return net.to(self.args.device)

    def trained(self, kind: str, weight: float, seed: int) -> Path:
        """The file of the network that was trained so."""
        ours = self.metric.weights_sha256
        held = (guard.robust.weights_sha256, guard.extra_repr()) if (guard := self.guarded) else ()
        sources = {"QFM": ours, "QFMLoss": ours, "guarded": [ours, *held], "perceptual": self.args.perceptual, "": ""}
        file = self.file(f"{kind or 'L1'}-{weight:g}", seed, [sources[kind]])
        if not file.is_file():
            net, optimizer = self.start(seed)
            print(f"{kind or 'L1'} {weight:g}, seed {seed}: steps {self.args.warmup} to {self.args.steps}")
            with torch.random.fork_rng():
                torch.manual_seed(seed)  # of QFMLoss's jitter
                self.train(net, optimizer, range(self.args.warmup, self.args.steps), self.term(kind, weight), seed)
            _write(file, lambda path: save_file(net.state_dict(), path))
        return file

    def start(self, seed: int) -> tuple[Restorer, torch.optim.Optimizer]:
        """Network and optimizer after the steps with L1 alone, which all losses of a seed share."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = Restorer(self.args.width, self.args.depth).to(self.args.device)
        optimizer = torch.optim.AdamW(net.parameters(), lr=self.args.rate, weight_decay=0.0)
        file = self.file("start", seed, []).with_suffix(".pt")
        if file.is_file():
            state = torch.load(file, map_location=self.args.device, weights_only=True)
            net.load_state_dict(state["net"])
            optimizer.load_state_dict(state["optimizer"])
        elif self.args.warmup:
            print(f"L1, seed {seed}: steps 0 to {self.args.warmup}")
            self.train(net, optimizer, range(self.args.warmup), None, seed)
            state = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
            _write(file, lambda path: torch.save(state, path))
        return net, optimizer

    def train(
        self, net: nn.Module, optimizer: torch.optim.Optimizer, steps: range, term: Term | None, seed: int
    ) -> None:
        args = self.args
        for step in steps:
            clean, degraded = self.batch(seed, step)
            restored = net(degraded)
            loss = F.l1_loss(restored, clean)
            if term:
                loss = loss + term(restored, clean)
            optimizer.zero_grad()
            loss.backward()
            for group in optimizer.param_groups:
                group["lr"] = args.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / args.steps)))
            optimizer.step()

    def batch(self, seed: int, step: int) -> tuple[Tensor, Tensor]:
        crops = draw_batch(list(self.train_pictures.values()), self.args.batch, self.args.crop, seed, step)
        return crops[0].to(self.args.device), crops[1].to(self.args.device)

    def gradient_ratio(self) -> float:
        """Norm of 1 - QFM's gradient over the parameters, in those of L1's, where the losses part: a median."""
        net, _ = self.start(self.args.seeds[0])
        ratios = []
        for step in range(self.args.steps, self.args.steps + RATIO_STEPS):  # crops that no run trains on
            clean, degraded = self.batch(self.args.seeds[0], step)
            restored = net(degraded)
            losses = (1 - self.metric(restored)).mean(), F.l1_loss(restored, clean)
            gradients = [torch.autograd.grad(loss, list(net.parameters()), retain_graph=True) for loss in losses]
            ours, plain = (torch.cat([part.flatten() for part in parts]).norm() for parts in gradients)
            ratios.append((ours / plain).item())
        return float(np.median(ratios))

    def term(self, kind: str, weight: float) -> Term | None:
        if kind == "QFM":
            return lambda restored, clean: weight * (1 - self.metric(restored)).mean()
        if kind in ("QFMLoss", "guarded"):
            loss = QFMLoss(jitter=JITTER, metric=self.metric if kind == "QFMLoss" else self.guarded)
            return lambda restored, clean: weight * loss(restored, target=loss.metric(clean))
        if kind == "perceptual" and (distance := self.perceptual):
            return lambda restored, clean: weight * distance(restored, clean)
        return None

    def file(self, name: str, seed: int, more: list[Any]) -> Path:
        """Where a run is kept: whatever decides its network is in the name."""
        fixed = ("warmup", "steps", "batch", "crop", "width", "depth", "rate")
        decides = [*(getattr(self.args, key) for key in fixed), self.train_digest, *more]
        key = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:10]
        return self.args.out / "runs" / f"{name}-seed{seed}-{key}.safetensors"


def digest(pictures: Mapping[str, Tensor]) -> str:
    """SHA-256 of the pixels and their order."""
    sha256 = hashlib.sha256()
    for picture in pictures.values():
        sha256.update(str(tuple(picture.shape)).encode() + picture.numpy().tobytes())
    return sha256.hexdigest()


def _write(path: Path, save: Callable[[Path], object]) -> None:
    """A file that is there is whole, even if the command was stopped."""
    part = path.with_name(path.name + ".part")
    save(part)
    part.replace(path)
