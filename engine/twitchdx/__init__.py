"""Bayesian differential diagnosis of twitching, jerking, cramping and restless legs.

For research and teaching, not for care.
"""
