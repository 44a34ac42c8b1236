"""Networks that return their named layers."""
