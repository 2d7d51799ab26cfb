"""Measurements: each module prints a table for people, then one line of JSON."""
