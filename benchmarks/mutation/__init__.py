"""Rules broken on purpose, one at a time: whether the tests catch each of them."""
