"""The vocabulary every package shares: settings, errors, runtime. Imports none of ours."""
