"""Every edge: anything through which the outside world speaks to the engine, or the engine to it.

`OWNER` is a sentinel: another distribution on the public index also installs a
package called `adapters`, and installers overwrite silently. The composition
root refuses to start where the sentinel is missing.
"""

OWNER = "spir-suite"
