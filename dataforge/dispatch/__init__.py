"""Handing out work: who may run which partition now, once and no more."""
