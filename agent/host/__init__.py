"""How the node's own files are read, wherever its file systems are mounted. For collectors."""
