"""Training: optional (`pip install qfm-metric[train]`), never imported by inference.

data -> (distortions) -> prefix -> loop with losses -> evaluate -> export; `python -m qfm_metric.train --help`.
"""
