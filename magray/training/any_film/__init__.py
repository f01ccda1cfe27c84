"""Train the any-film estimator: films of every perpendicular material, on one device, shown in ever new views."""
