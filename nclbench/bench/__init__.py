"""Our stages timed on this machine, against its limits and, where they are installed, against others.

`threads.settle` comes first: libraries read their number of threads when they are loaded, so nothing is imported here.
"""
