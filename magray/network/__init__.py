"""The convolutional networks, and the ways to run them on a device."""
