"""The pricing of the demo fleet."""
