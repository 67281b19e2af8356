"""config.pbtxt files read as Triton's server reads them, with the position of everything and all problems at once.

`reader.read` is the way in. What is accepted, and what it means, follows protobuf's C++ parser, which the server has;
where Python's own `text_format` differs, the module at hand says so. Both were compared with a live server of 24.10.
"""
