"""Taking a patient out of run folders, and proving that it is done. The verb is erase.py.

targets.py finds what a name stands for, elsewhere.py what stands in files of no stage; traces.py knows what is left of
it; cleaning.py takes it out of files; manifests.py brings counts in line; search.py looks through every file; plan.py
lets a killed call go on.
"""
