"""Faults on purpose, on small data: what they may cost is time, and nothing else.

    PYTHONPATH=tests python -m faults [--seed N] [--only KIND]... [--share PART] [--write PAGE]

Injects every kind of fault at random moments into copies of a small project, lets each go on
undisturbed, compares everything with a project that was never disturbed, and prints a Markdown
table. Ends with 1 if anything differed.

Every copy starts where a whole set of parameters, A, is recorded and committed, and params.yaml
asks for another, B, that changes the result of every stage: so an output that is left over, or
half of each, shows.

A new kind is a module with a function that returns its cases, and a line in kinds.py.
"""
