"""How fast the project is on the machine at hand, each number beside what it is compared with, in one run."""
