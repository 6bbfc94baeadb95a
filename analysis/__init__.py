"""Reads result folders and nothing else: tables, figures and words. `python -m analysis.report FOLDER`."""
