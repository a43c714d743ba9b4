"""The real rules against a simulated world, in virtual time. The world itself is in tests/helpers/simulated_*.py."""
