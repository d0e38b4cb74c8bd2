"""The schema of params.yaml, its file, its mistakes in words, and -S."""
