"""The QFM student network, in the order an image travels.

    images (N, 3, H, W)
      -> preprocess        the whole picture reduced, and crops of more detail   (N, V, 3, h, w)
      -> pyramid           backbone maps at several depths
      -> tokens            one per 32 x 32 px cell, and one per view's mean cell (N, L, D)
      == the seam: training adds a matched image's tokens here ==
      -> decoder           learned queries attend to the tokens                  (N, Q, D)
      -> head              the readers' logits, averaged                         (N,)
      -> calibration       monotone map to the MOS scale                         (N,) in (0, 1)
      (-> uncertainty      how far the MOS may be from the score, if trained     (N,) in units of the MOS)
      (-> defects          what each named defect costs, if trained              (N, K) in [0, 1])
      (-> photograph       is it a photograph at all, if trained                 (N,) logits)
      (cells -> reference  how near to a reference is it, if trained             (N,) in (0, 1])

What is unusual: besides the reduced picture the network sees a crop of it with more detail, where focus, noise and
compression show; views are never upscaled; a token holds the mean and the spread of each depth inside its cell, so that
fine-grained loss (noise, blocking, blur) reaches the decoder without passing through the deep layers; beside the
decoder two other readers have a say: a plain linear map of the views' mean cells, because it memorises less, and two
layers that see the mean and the spread over each view, because a mean forgets contrast and damage in one place. What
the worst named defect leaves counts, too: the head that names defects knows best how people mind each of them.

Source: features -> seam -> transformer decoder follow QFM-IQM (arXiv 2312.06158) and its baseline DEIQT; the backbone,
the tokens, the views and the calibration are ours. Tensors in, tensors out: nothing here checks its input.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import build_backbone
from .cells import Standardize, around, pool_cells, statistics
from .config import QFMConfig
from .geometry import native_pieces, resize, view_size, working_size
from .reference_head import ReferenceHead
from .statistics_head import statistics_head

SAY = {1: (1.0,), 2: (0.5, 0.5), 3: (0.25, 0.25, 0.5)}  # of each of so many readers


def semantic_descriptor(deepest: Tensor) -> Tensor:
    """Unit-length summary `(N, C)` of a picture's content, from the deepest map `(N, C, h, w)`.

    Training finds partners of unlike content by it (QFM-IQM, Sec. 3.5), and `qfm_metric.folder.groups` pictures of like
    content; taking the pooled deepest map is ours.
    """
    return F.normalize(deepest.mean(dim=(-2, -1)), dim=1)


class Decoder(nn.Module):
    """Queries attend to the tokens: `(N, L, D)` tokens to `(N, Q, D)` answers.

    One pre-norm transformer decoder layer. As in DEIQT several learned queries look at the same tokens; the mean token,
    which plays its CLS token's part, is added to each. Before that tokens may attend to each other (ours): what a cell
    shows is seen against the rest of the picture.
    """

    def __init__(self, dim: int, queries: int, heads: int, mixers: int = 0, dropout: float = 0.1) -> None:
        super().__init__()
        self.mixers = nn.Sequential()
        if mixers:
            from timm.models.vision_transformer import Block  # takes longer to import than torch itself

            for _ in range(mixers):
                self.mixers.append(Block(dim, heads, mlp_ratio=2, qkv_bias=True, proj_drop=dropout))
        self.queries = nn.Parameter(nn.init.normal_(torch.empty(queries, dim), std=0.5))
        self.norm_tokens = nn.LayerNorm(dim)
        self.norm_queries = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = self.norm_tokens(self.mixers(tokens))
        asked = self.queries + tokens.mean(dim=1, keepdim=True)  # (N, Q, D)
        found = asked + self.attention(self.norm_queries(asked), tokens, tokens, need_weights=False)[0]
        return found + self.mlp(self.norm_mlp(found))  # type: ignore[no-any-return]


class Calibration(nn.Module):
    """Strictly increasing map from logits to the MOS scale: `sigmoid(slope * logit + offset)`, `slope > 0`.

    The two numbers are fitted on validation after training (Platt scaling); they never change an order.
    """

    slope: Tensor
    offset: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("slope", torch.tensor(1.0))
        self.register_buffer("offset", torch.tensor(0.0))

    def forward(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(self.slope * logits + self.offset)


class Judgement(NamedTuple):
    """What the network says of N pictures.

    Attributes:
        scores: `(N,)` in (0, 1).
        stds: `(N,)`, expected standard deviation of the MOS about the score; None without `config.uncertainty`.
        defects: `(N, K, 2)` in (0, 1), what each of `config.defects` costs of the quality, and the expected standard
            deviation of that; None if there are none.
        photographs: `(N,)` logits, above 0 for what is a photograph; None without `config.photograph`.
        maps: `(N, 1, rows, columns)`, local quality in (0, 1); None unless asked for.
        defect_maps: `(N, K, rows, columns)` in (0, 1), what each defect costs where; None unless asked for.
        descriptors: `(N, C)` of unit length, what the pictures show; None unless asked for.
    """

    scores: Tensor
    stds: Tensor | None
    defects: Tensor | None
    photographs: Tensor | None
    maps: Tensor | None
    defect_maps: Tensor | None
    descriptors: Tensor | None


class QFMNet(nn.Module):
    """Images in [0, 1] to scores in (0, 1); higher is better.

    Args:
        config: Shape and preprocessing.
        pretrained: Start the backbone from timm's own ImageNet weights (downloads); inference never does.
    """

    mean: Tensor
    std: Tensor
    backbone: Any  # ours, or timm's, which have no useful type
    uncertainty: nn.Sequential
    standardize_context: Standardize
    project_context: nn.Sequential
    standardize_means: Standardize
    project_means: nn.Sequential
    kinds: nn.Parameter
    means: nn.Linear
    spread: nn.Sequential
    defects: nn.Sequential
    photograph: nn.Linear
    reference: ReferenceHead

    def __init__(self, config: QFMConfig, *, pretrained: bool = False) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(config.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(3, 1, 1), persistent=False)
        self.backbone = build_backbone(config.backbone, config.depths, pretrained=pretrained)
        *shallow, deepest = self.backbone.feature_info.channels()
        channels = 2 * sum(shallow) + deepest
        self.standardize = Standardize(channels)
        self.project = nn.Linear(channels, config.dim)
        if config.context:
            # Views differ less than cells do: against the spread of cells a colour cast would hardly be seen.
            self.standardize_context = Standardize(channels)
            layers = nn.Linear(channels, config.context), nn.GELU(), nn.Linear(config.context, config.dim)
            self.project_context = nn.Sequential(*layers)
        views = 1 + config.native_views
        if config.mean_tokens:
            self.standardize_means = Standardize(channels)
            self.project_means = nn.Sequential(nn.Dropout(0.2), nn.Linear(channels, config.dim))
            self.kinds = nn.Parameter(torch.zeros(views, config.dim))
            self.means = nn.Linear(views * config.dim, 1)
        self.decoder = Decoder(config.dim, config.queries, config.heads, config.mixers)
        self.head = nn.Sequential(nn.LayerNorm(config.dim), nn.Linear(config.dim, 1))
        self.calibration = Calibration()
        if config.uncertainty:
            self.uncertainty = nn.Sequential(nn.LayerNorm(config.dim), nn.Linear(config.dim, 1))
        if config.spread_width:
            self.spread = statistics_head(2 * views * channels, config.spread_width, 1)
        if config.defects and config.defect_width:
            self.defects = statistics_head(2 * views * channels, config.defect_width, 2 * len(config.defects))
        elif config.defects:
            layers = (
                nn.Linear(views * config.dim, config.dim),
                nn.GELU(),
                nn.Linear(config.dim, 2 * len(config.defects)),
            )
            self.defects = nn.Sequential(*layers)
        if config.photograph:
            self.photograph = nn.Linear(views * config.dim, 1)
        if config.reference:
            self.reference = ReferenceHead(channels, views)

    def forward(self, images: Tensor) -> Tensor:
        """`(N, 3, H, W)` in [0, 1] to calibrated scores `(N,)` in (0, 1)."""
        # Tokens that are there twice change neither the attention nor the mean, so one copy of a view is enough.
        return self.score_views(self.distinct_views(images))

    def score_views(self, views: Tensor) -> Tensor:
        """`(N, V, 3, h, w)` views to calibrated scores `(N,)`."""
        logits = self.forward_cells(self.cells(self.pyramid(views)), views.shape[0])  # tracers take a len() as fixed
        return self.calibration(logits)  # type: ignore[no-any-return]

    def judge_views(self, views: Tensor, maps: bool = False, descriptors: bool = False) -> Judgement:
        """All that is known of `(N, V, 3, h, w)` views from one pass; the scores are `score_views`'s.

        Args:
            maps: Also the maps of local quality and of what each defect costs where.
            descriptors: Also what the pictures show, as `semantic_descriptor` of the whole views.
        """
        pyramid = self.pyramid(views)
        cells = self.cells(pyramid)
        tokens, seen = self.embed(cells, n=len(views)), self.statistics(cells, n=len(views))
        answers = self.decoder(tokens)
        logits = self.forward_logits(answers, tokens, seen)
        whole = torch.unflatten(cells, 0, views.shape[:2])[:, 0]  # the first view
        return Judgement(
            self.calibration(logits),
            self.forward_std(answers) if self.config.uncertainty else None,
            self.forward_defects(tokens, seen) if self.config.defects else None,
            self.forward_photograph(tokens) if self.config.photograph else None,
            self.calibration(self.forward_local(whole, logits)) if maps else None,
            self.forward_local_defects(whole) if maps and self.config.defects else None,
            semantic_descriptor(torch.unflatten(pyramid[-1], 0, views.shape[:2])[:, 0]) if descriptors else None,
        )

    def preprocess(self, images: Tensor) -> Tensor:
        """`(N, 3, H, W)` in [0, 1] to normalised views `(N, V, 3, h, w)`, differentiable.

        The first view is the whole picture; the others are crops of it at `working_size`, of the same shape. A
        picture that fits into a view has no more to show: all its views are the whole.
        """
        return self.distinct_views(images).expand(-1, 1 + self.config.native_views, -1, -1, -1)

    def distinct_views(self, images: Tensor) -> Tensor:
        """As `preprocess`, without repetition: of pictures that fit into a view there is one, `V = 1`."""
        working = working_size(images.shape[-2], images.shape[-1], self.config.working_pixels)
        return self.views_of(resize(images, working))

    def views_of(self, working: Tensor) -> Tensor:
        """`(N, 3, H, W)` in [0, 1] at `working_size` to normalised views `(N, V, 3, h, w)`."""
        size = view_size(working.shape[-2], working.shape[-1], self.config.view_pixels)
        pieces = native_pieces(working, size, self.config.native_views)
        return (torch.stack([resize(working, size), *pieces], dim=1) - self.mean) / self.std

    def pyramid(self, views: Tensor) -> list[Tensor]:
        """`(N, V, 3, h, w)` views to backbone maps `(N * V, C_d, h_d, w_d)`, shallow to deep."""
        return self.backbone(views.flatten(0, 1))  # type: ignore[no-any-return]

    def cells(self, maps: Sequence[Tensor]) -> Tensor:
        """Backbone maps to statistics `(N * V, C, rows, columns)` per cell of the deepest map's grid."""
        grid = (maps[-1].shape[-2], maps[-1].shape[-1])
        return torch.cat([pool_cells(features, grid) for features in maps], dim=1)

    def embed(self, cells: Tensor, n: int) -> Tensor:
        """Cell statistics of `n` pictures to tokens `(n, L, D)`: those of all cells, then one of each view's mean.

        Where there is one view, the others are like it.
        """
        flat = cells.flatten(2).transpose(1, 2)  # (N * V, C, rows, columns) -> (N * V, cells, C)
        tokens = self.project(self.standardize(flat))
        if self.config.context:
            tokens = tokens + self.project_context(self.standardize_context(flat.mean(dim=1, keepdim=True)))
        if not self.config.mean_tokens:
            return tokens.reshape(n, -1, self.config.dim)  # type: ignore[no-any-return]
        means = self.project_means(self.standardize_means(flat.mean(dim=1, keepdim=True)))
        seen = torch.cat([tokens, means], dim=1).reshape(n, -1, flat.shape[1] + 1, self.config.dim)
        kinds = torch.arange(len(self.kinds), device=seen.device).clamp(max=seen.shape[1] - 1)
        seen = seen[:, kinds] + self.kinds[:, None]
        return torch.cat([seen[:, :, :-1].flatten(1, 2), seen[:, :, -1]], dim=1)

    def statistics(self, cells: Tensor, n: int) -> Tensor:
        """Cell statistics of `n` pictures to their mean and spread over each view, `(n, (1 + native_views) * 2C)`."""
        # No unflatten: tracers would take its number of views as fixed.
        return self.of_all_views(statistics(cells).reshape(n, -1, 2 * cells.shape[1]))

    def forward_cells(self, cells: Tensor, n: int) -> Tensor:
        """Cell statistics of `n` pictures to logits `(n,)`."""
        return self.forward_head(self.embed(cells, n), self.statistics(cells, n))

    def forward_head(self, tokens: Tensor, seen: Tensor | None = None) -> Tensor:
        """Tokens `(N, L, D)` to logits `(N,)`; a third reader needs `statistics` `(N, F)`, too."""
        return self.forward_logits(self.decoder(tokens), tokens, seen)

    def forward_logits(self, answers: Tensor, tokens: Tensor, seen: Tensor | None = None) -> Tensor:
        """What the readers say together, and what the worst defect leaves, `(N,)`."""
        say = SAY[1 + self.config.mean_tokens + (self.config.spread_width > 0)]
        readers = self.forward_readers(answers, tokens, seen).unbind(1)
        logits = torch.stack([share * logit for share, logit in zip(say, readers, strict=True)]).sum(dim=0)
        if not self.config.worst_defect:
            return logits
        worst = self.name_defects(tokens, seen)[..., 0].amax(dim=1)
        return logits - self.config.worst_defect * F.softplus(worst)  # log(1 - sigmoid(x)) is -softplus(x)

    def forward_readers(self, answers: Tensor, tokens: Tensor, seen: Tensor | None = None) -> Tensor:
        """Logits of each reader that the config has, `(N, 1 to 3)`. Ours.

        The first reads the decoder's answers `(N, Q, D)`, the second the mean tokens, the third `statistics` `(N, F)`.
        """
        logits = [self.head(answers).mean(dim=1)]
        if self.config.mean_tokens:
            logits.append(self.means(self.view_means(tokens)))
        if self.config.spread_width:
            logits.append(self.spread(seen))
        return torch.cat(logits, dim=1)

    def forward_defects(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """What each of `config.defects` costs, and its deviation: `(N, K, 2)` in (0, 1), see `name_defects`."""
        return torch.sigmoid(self.name_defects(tokens, seen))

    def name_defects(self, tokens: Tensor, seen: Tensor | None) -> Tensor:
        """Logits of what each of `config.defects` costs, and of its deviation, `(N, K, 2)`.

        Args:
            tokens: `(N, L, D)`; what is told from if `config.defect_width` is 0.
            seen: `statistics` `(N, F)`; what is told from otherwise.
        """
        told: Tensor = self.defects(seen if self.config.defect_width else self.view_means(tokens))
        return told.view(told.shape[0], -1, 2)

    def of_all_views(self, known: Tensor) -> Tensor:
        """What is known of V views, `(N, V, F)`, side by side, `(N, (1 + native_views) * F)`.

        Where there is one view, the others are like it.
        """
        places = torch.arange(1 + self.config.native_views, device=known.device).clamp(max=known.shape[1] - 1)
        return known[:, places].flatten(1)

    def forward_photograph(self, tokens: Tensor) -> Tensor:
        """Tokens `(N, L, D)` to logits `(N,)`, above 0 for what is a photograph. Ours."""
        return self.photograph(self.view_means(tokens)).squeeze(1)  # type: ignore[no-any-return]

    def view_means(self, tokens: Tensor) -> Tensor:
        """The tokens of the views' mean cells, side by side: `(N, L, D)` to `(N, V * D)`."""
        return tokens[:, -len(self.kinds) :].flatten(1)

    def forward_local(self, cells: Tensor, logits: Tensor) -> Tensor:
        """Cells `(N, C, rows, columns)` of whole views and the pictures' logits `(N,)` to local logits.

        `(N, 1, rows, columns)`, whose mean is `logits`. A cell counts as a picture that is everywhere like its
        neighbourhood of 3 x 3 cells. Ours.
        """
        alone = self.forward_head(*self.local(cells)).view(-1, 1, *cells.shape[-2:])
        return alone + (logits.view(-1, 1, 1, 1) - alone.mean(dim=(-2, -1), keepdim=True))

    def forward_local_defects(self, cells: Tensor) -> Tensor:
        """Cells `(N, C, rows, columns)` of whole views to what each defect costs where, `(N, K, rows, columns)`."""
        costs = self.forward_defects(*self.local(cells))[..., 0]
        return costs.view(len(cells), *cells.shape[-2:], -1).permute(0, 3, 1, 2)

    def local(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Of pictures that are everywhere like the 3 x 3 cells about each cell of `(N, C, rows, columns)`.

        Tokens `(N * rows * columns, L, D)` and `statistics` `(N * rows * columns, F)`.
        """
        seen = around(cells)
        tokens = self.embed(seen[:, : cells.shape[1], None, None], len(seen))
        return tokens, self.of_all_views(seen[:, None])

    def compare_views(self, views: Tensor, references: Tensor) -> Tensor:
        """Views `(N, V, 3, h, w)` of pictures and of their references to what is kept, `(N,)` in (0, 1]. Ours.

        Only of networks with `config.reference`. 1 where both are alike.
        """
        # One after the other: in one batch, kernels may round the two halves of a pair differently.
        seen = [self.reference_cells(self.cells(self.pyramid(both)), len(both)) for both in (views, references)]
        return self.reference(*seen)  # type: ignore[no-any-return]

    def reference_cells(self, cells: Tensor, n: int) -> Tensor:
        """Cell statistics of `n` pictures to what `ReferenceHead` compares, `(n, V, cells, C)`."""
        return self.standardize(cells.flatten(2).transpose(1, 2)).unflatten(0, (n, -1))  # type: ignore[no-any-return]

    def forward_std(self, answers: Tensor) -> Tensor:
        """The decoder's answers `(N, Q, D)` to the expected standard deviation `(N,)` of the MOS about the score.

        In units of the MOS, between .005 and 2. Only of networks with `config.uncertainty`. Ours.
        """
        raw = self.uncertainty(answers).mean(dim=(1, 2))
        return 0.1 * raw.clamp(-3, 3).exp()  # type: ignore[no-any-return]
