"""Attacks as values: frozen specs that make ART's attack objects."""
