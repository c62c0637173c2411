"""One file per experiment; docstrings give command, run time and expected score."""
