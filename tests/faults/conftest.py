"""What is not even looked at without being asked for."""

import os

collect_ignore = [] if "AGENTD_FAULTS" in os.environ else ["test_all_attacks.py"]  # it takes minutes
