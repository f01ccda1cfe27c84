"""From films to an estimator: the paper's network, its batches, the fit on Ray Train, and the answer for a picture.

This file imports neither torch nor Ray; the modules beside it do.
"""
