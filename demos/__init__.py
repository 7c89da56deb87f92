"""Demonstrations; each writes a picture, most of them a table, under ``results/``: ``python -m demos.NAME``."""
