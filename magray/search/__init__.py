"""Search for the cheapest set of training scales that is good enough at all test scales, by Ray Tune."""
