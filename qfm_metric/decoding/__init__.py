"""What `qfm_metric.images` needs to know of single formats of files, and of what is none."""
