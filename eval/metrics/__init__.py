"""Numbers: how often a network is right, how well its maps cover the action units, and how sure that is."""
