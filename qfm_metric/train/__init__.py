"""Training: optional (`pip install qfm-metric[train]`), never imported by inference.

datasets -> material (distortions, frozen layers) -> loop (step, losses) -> calibrate -> evaluate -> release;
`python -m qfm_metric.train --help`, or `student.train_student`.
"""
