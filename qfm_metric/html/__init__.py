"""Self-contained pages of pictures and scores."""
