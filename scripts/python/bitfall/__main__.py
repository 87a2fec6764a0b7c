"""python -m bitfall: the program."""

from .program import main

main()
