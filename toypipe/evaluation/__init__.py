"""Metrics, statistics and drawings."""
