"""What a process that `multiprocessing` spawns for a library runs first, see `processes.children_import_us`.

Empty: importing its package installs the socket guard and keeps libraries quiet (`chartdistill/__init__.py`).
"""
