"""DataForge: what may run, what is missing, and what breaks, across every data platform at once."""

__version__ = "0.1.0"
