"""When the garbage collector runs in the supervisor: at the end of each load.

A plan refers to itself in many ways, so only a collection frees one that is not used any more. Left to itself the
collector comes late or never: what starts it is a count of new objects, and most are made at once by a load, which
it interrupts again and again to look at a plan of which nothing is free yet.

So it is held back during a load, and then called: `free_replaced` before new workers are forked, or they would
inherit the plan that was replaced, and `free_failed` when it is the new plan that is not used.

A collection writes to every object that it looks at, which ends the sharing of that memory between supervisor and
workers. `freeze` takes what there is out of its sight: in the supervisor the modules, before the first plan is read,
and in a worker the plan as well.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


def freeze() -> None:
    """Let no collection look at what there is now."""
    gc.freeze()


def unfreeze() -> None:
    """Let the next collection look at everything. With `master_process off` a plan that is replaced was frozen too."""
    gc.unfreeze()


@contextmanager
def held_back() -> Iterator[None]:
    """Let no collection begin by itself in a `with` block."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def free_replaced() -> None:
    """Free the plan that another one has replaced. Nothing may refer to it any more, no local variable either."""
    gc.collect()


def free_failed() -> None:
    """Free what a load has left that failed within the same `held_back`: no older object is looked at."""
    gc.collect(0)
