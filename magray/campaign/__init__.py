"""Simulate a campaign's films in Ray actors that hold a warm solver, and commit them to a store."""
