"""`python -m agentd`, and the first file that runs of agentd.pyz. Python 3.6 has to understand it, to be told no."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("agentd needs Python 3.11 or later; this is %s (%s)" % (sys.version.split()[0], sys.executable))  # noqa: UP031

from agentd.cli import main

sys.exit(main(sys.argv[1:]))
