"""Ingest and score as tasks of a Ray cluster.

Plain tasks instead of Ray Data: what flows here are batches with their faults, rejects and marks, whose order decides what
is written, and Ray Data knows rows only. Calls are started ahead and taken in order, so memory is bounded by how many.
"""
