"""Measurements: each prints its figures beside the floor it is compared with, and appends them to results/."""
