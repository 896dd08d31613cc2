"""Starts the agent."""

import os
import sys

from agent.command_line import flush_and_exit, main

flush_and_exit(main(sys.argv[1:], os.environ))
