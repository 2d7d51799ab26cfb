"""Recipes that train what ships under `models/`; never imported by the product."""
