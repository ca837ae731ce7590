"""The truth test: captured events of real platforms against what those platforms themselves recorded."""
