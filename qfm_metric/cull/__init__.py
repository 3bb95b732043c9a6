"""From scores to decisions about files: which pictures to keep, and moving the others in a way that can be undone."""
