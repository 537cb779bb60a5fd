"""What the program knows of medicine, and nothing else in the program does.

`text/` reads charts: sections, sentences, what the words around a mention say, where words stand. `lexica/` has names.
`entities/` has a file for each kind of finding. `free_answers.py` reads answers that nobody held to a format.
"""
