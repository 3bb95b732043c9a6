"""The commands of `python -m qfm_metric.train`: options only."""
