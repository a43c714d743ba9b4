"""Other supervisors, as their packages bring them."""
