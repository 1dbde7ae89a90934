"""Simulated time and energy of rounds: links, devices, availability, radios and policies, as functions of
(seed, client, time).

Nothing is kept for a client and nothing is drawn before it is asked for, so a population of any size costs nothing
until its clients are sampled.
"""
