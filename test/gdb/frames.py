# For gdb: the frames of every thread, as its own unwinder has them.
import gdb

class Frames(gdb.Command):
    """Prints for each thread its number and the addresses of its frames, innermost first."""
    def __init__(self):
        super().__init__("klpemu-frames", gdb.COMMAND_USER)

    def invoke(self, arg, from_tty):
        # It has gdb ask which threads there are: some have ended since it last did.
        gdb.execute("info threads", to_string=True)
        chosen = gdb.selected_thread()
        for thread in sorted(gdb.selected_inferior().threads(), key=lambda one: one.ptid[1]):
            thread.switch()
            found = []
            try:
                frame = gdb.newest_frame()
                while frame is not None:
                    found.append("%x" % frame.pc())
                    frame = frame.older()
            except gdb.error:
                # A task that has ended, and whose stack was given back, has no registers.
                pass
            print("%d %s" % (thread.ptid[1] or thread.ptid[2], " ".join(found)))
        chosen.switch()

Frames()
