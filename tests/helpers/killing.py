"""Ending a function anywhere, as SIGKILL does: in a copy of this process, at a chosen line of its code."""

import os
import signal
import sys


def killed_at(line, function, package):
    """Run `function` in a fork, killed before the `line`-th line that is executed in files whose path has `package`.

    Returns:
        Whether it was killed; it may have ended before. What it raises is an error here.
    """
    child = os.fork()
    if not child:
        left = line

        def trace(frame, event, argument):
            nonlocal left
            if package not in frame.f_code.co_filename:
                return None
            if event == "line":
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        status = 1
        try:
            sys.settrace(trace)
            function()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False
