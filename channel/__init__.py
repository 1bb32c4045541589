"""Messages between the processes of the control plane: length-prefixed msgpack frames, request and reply.

What may enter: framing and sockets.  What must never enter: any knowledge of what the messages mean.
"""
