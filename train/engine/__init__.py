"""The training of one run: epochs, optimiser, devices, what is saved and what is shown."""
