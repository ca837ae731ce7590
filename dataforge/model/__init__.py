"""Values and pure rules: no I/O, no clock, nothing of a platform's own vocabulary but what every platform has."""
