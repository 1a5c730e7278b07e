"""The experiments: every scheme and the usual baselines on the long-dependency tasks.

Data goes one way, ``grid -> executors -> train -> store -> report``, and only files on disk stand
between ``store`` and ``report``. Nothing here knows linear algebra; ``unitary_zoo`` knows no task.
"""
