"""Plots and the HTML page: reads run records and metrics, never models."""
