"""Convolutional networks and their execution on a device."""
