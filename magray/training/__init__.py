"""Fit networks to views of films, on one device or on several by Ray Train."""
