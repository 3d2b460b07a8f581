"""Runs: experiments that live in a run directory."""
