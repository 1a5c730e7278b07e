"""The experiments: every scheme and the usual baselines on the long-dependency tasks.

Data goes one way, ``arguments -> plan -> execution -> training -> results -> report``, and only
files on disk stand between the runs and the report. Only two modules import the library's linear
algebra; ``unitary_zoo`` knows no task.
"""
